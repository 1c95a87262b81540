"""A small test farm: runs sent to a real topic, workers as real processes, and what the sinks have in the end."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.clients.broker import Topic
from stream_triage.clients.kafka import KafkaBroker, connection
from stream_triage.settings import KafkaSettings, OpenSearchSettings
from stream_triage.setup.opensearch import set_up
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.stages.redact import Redactor
from tests.services.servers import PASSWORD, OpenSearchServer

__all__ = [
    "BUNDLE",
    "Farm",
    "Message",
    "TestRun",
    "Worker",
    "expected",
    "interleaved",
    "messages_of",
    "sample_runs",
    "until",
]

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
# The bundle of several sources, and with networks: there is more to go wrong.
BUNDLE = "oai5g"


@dataclass(frozen=True)
class TestRun:
    """A run as a farm has it: an id and the bytes of its sources."""

    __test__ = False

    run_id: str
    sources: Mapping[str, bytes]


@dataclass(frozen=True)
class Message:
    """One message to send, before it gets its topic."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, str] = field(default_factory=dict)
    timestamp_ms: int | None = None
    partition: int | None = None
    """The partition of its key if None, as the default partitioner of a producer chooses it."""


def sample_runs(count: int, seed: int = 0, bundle: str = BUNDLE) -> list[TestRun]:
    """The invented sample runs again and again, each cut off elsewhere, so that hardly two have the same verdict."""
    randomness = random.Random(seed)
    paths = sorted((ROOT / "samples" / bundle).iterdir())
    runs = []
    for number in range(count):
        path = paths[number % len(paths)]
        keep = randomness.uniform(0.3, 1.0)
        sources = {}
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            lines = file.read_bytes().splitlines(keepends=True)
            sources[file.stem] = b"".join(lines[: max(1, int(len(lines) * keep))])
        runs.append(TestRun(f"{path.stem}/{number}", sources))
    return runs


def messages_of(run: TestRun, lines: int = 20, *, end: bool = True, seq: bool = True) -> list[list[Message]]:
    """The messages of each source, in order; the last one ends the source."""
    streams = []
    for source, text in run.sources.items():
        cut = text.splitlines(keepends=True)
        values = [b"".join(cut[start : start + lines]) for start in range(0, len(cut), lines)]
        headers = [{"source": source, **({"seq": str(number)} if seq else {})} for number in range(len(values) + 1)]
        stream = [Message(run.run_id.encode(), value, pairs) for value, pairs in zip(values, headers, strict=False)]
        if end:
            stream.append(Message(run.run_id.encode(), b"", {**headers[-1], "end": "1"}))
        streams.append(stream)
    return streams


def interleaved(runs: Sequence[TestRun], seed: int = 0, **how: Any) -> list[Message]:
    """All messages of these runs, mixed at random; each source stays in order, and no source ends before all have begun."""
    randomness = random.Random(seed)
    streams = [stream for run in runs for stream in messages_of(run, **how)]
    mixed = [stream.pop(0) for stream in streams]
    while streams := [stream for stream in streams if stream]:
        mixed.append(randomness.choice(streams).pop(0))
    return mixed


def expected(runs: Sequence[TestRun], bundle: str = BUNDLE, redactor: Redactor | None = None) -> dict[str, Verdict]:
    """By run id, as the verdict has it, what the pipeline says of the same bytes without any stream."""
    triage = Triage(Bundle.open(find_bundle(bundle)), redactor=redactor)
    verdicts = {}
    for run in runs:
        session = triage.session(run.run_id)
        for source, text in run.sources.items():
            session.feed(text, source)
        verdict = session.close()
        verdicts[verdict.run_id] = verdict
        session.text.close()
    return verdicts


def until(condition: Callable[[], bool], seconds: float, what: str = "") -> float:
    """Waits for something to become true; gives the seconds it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.05)
    return time.monotonic() - began


class Farm:
    """Topics on a broker, settings for workers that read them, and access to what comes out."""

    def __init__(self, folder: Path, bootstrap: str, prefix: str, **kafka: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        names = {name: f"{prefix}.{name}" for name in ("logs", "verdicts", "provisional", "runs", "dead")}
        self.kafka = KafkaSettings(
            **{
                "servers": (bootstrap,),
                "group": prefix,
                "topic": names["logs"],
                "verdicts_topic": names["verdicts"],
                "provisional_topic": names["provisional"],
                "runs_topic": names["runs"],
                "dead_topic": names["dead"],
                "session_seconds": 6,
                "idle_seconds": 60,
                "end_grace_seconds": 0,  # all sources of a run begin before one ends
                **kafka,
            }
        )
        self.admin = KafkaSettings(servers=(bootstrap,))
        self.sinks = ["store", "jsonl", "kafka"]
        self.more_settings: dict[str, dict[str, Any]] = {}
        self.search: OpenSearchServer | None = None
        self.log_folder = folder
        self.store_path = folder / "verdicts.sqlite"
        self.jsonl_path = folder / "verdicts.jsonl"
        with KafkaBroker(self.admin) as broker:
            broker.create([Topic(name, 1 if name == names["dead"] else PARTITIONS, {}) for name in names.values()])

    def settings(self, instance: str | None = None) -> Path:
        """The settings file of the workers, or one for the worker with this `kafka.instance`, which serves no metrics."""
        kafka = json.loads(self.kafka.model_dump_json(exclude_none=True, exclude={"password"}))
        if self.kafka.password:
            kafka["password"] = self.kafka.password.get_secret_value()
        sections = {
            "store": {"path": str(self.store_path)},
            "archive": {"folder": str(self.folder / "archive")},
            "jsonl": {"path": str(self.jsonl_path)},
            "kafka": kafka,
            **self.more_settings,
        }
        if instance:
            kafka["instance"] = instance
            sections.pop("metrics", None)
        path = self.log_folder / f"settings{instance or ''}.toml"
        text = f'bundle = "{BUNDLE}"\nsinks = {json.dumps(self.sinks)}\n'
        for name, section in sections.items():
            text += f"\n[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
        path.write_text(text)
        return path

    def send(self, messages: Sequence[Message], *, transaction: bool = False) -> list[tuple[int, int]]:
        """Returns when the broker has all messages; gives the partition and the offset of each."""
        return asyncio.run(self._send(messages, transaction))

    async def _send(self, messages: Sequence[Message], transaction: bool) -> list[tuple[int, int]]:
        name = {"transactional_id": self.kafka.group} if transaction else {}
        producer = AIOKafkaProducer(**connection(self.admin), linger_ms=5, max_request_size=16 << 20, **name)
        await producer.start()
        try:
            if transaction:
                await producer.begin_transaction()
            sent = []
            for message in messages:
                headers = [(name, value.encode()) for name, value in message.headers.items()]
                more = {"headers": headers, "timestamp_ms": message.timestamp_ms, "partition": message.partition}
                sent.append(await producer.send(self.kafka.topic, message.value, message.key, **more))
            positions = [(done.partition, done.offset) for done in await asyncio.gather(*sent)]
            if transaction:
                await producer.commit_transaction()
            return positions
        finally:
            await producer.stop()

    @contextmanager
    def worker(self, *arguments: str, steps: str = "", module: str = "stream_triage") -> Iterator["Worker"]:
        """A worker process, terminated in the end; one that is to die at a step is killed, and so is what has failed."""
        started = self.start_worker(*arguments, steps=steps, module=module)
        try:
            yield started
            if not steps and started.code is None:
                started.stop()
        finally:
            started.kill()

    def start_worker(
        self, *arguments: str, steps: str = "", module: str = "stream_triage", instance: str | None = None
    ) -> "Worker":
        """A worker process that the caller stops; arguments as in `worker`, and `kafka.instance`."""
        return Worker(self, arguments, steps, module, instance)

    def stored(self) -> dict[str, Verdict]:
        """By run, the verdict in the SQLite store."""
        if not self.store_path.exists():
            return {}
        with SqliteStore(self.store_path, create=False) as store:
            return {row.run_id: store.get(row.run_id) for row in store.runs(limit=100_000)}

    def count_stored(self) -> int:
        if not self.store_path.exists():
            return 0
        with SqliteStore(self.store_path, create=False) as store:
            return len(store.runs(limit=100_000))

    def final_runs(self) -> set[str]:
        """Ids of the runs that have a final verdict in the store."""
        if not self.store_path.exists():
            return set()
        with SqliteStore(self.store_path, create=False) as store:
            return {row.run_id for row in store.runs(limit=100_000) if row.final}

    def read(self, topic: str) -> list[Any]:
        with KafkaBroker(self.admin) as broker:
            number = broker.partitions([topic])[topic]
            return [record for partition in range(number) for record in broker.read(topic, partition)]

    def topic_verdicts(self) -> dict[str, list[Verdict]]:
        """By run, all final verdicts in the topic, in their order. An empty message takes those before it back."""
        verdicts: dict[str, list[Verdict]] = {}
        for record in self.read(self.kafka.verdicts_topic):
            if record.value is None:
                verdicts.pop(record.key.decode(), None)
                continue
            verdict = Verdict.model_validate_json(record.value)
            verdicts.setdefault(verdict.run_id, []).append(verdict)
        return verdicts

    def jsonl_verdicts(self) -> dict[str, list[Verdict]]:
        verdicts: dict[str, list[Verdict]] = {}
        for line in self.jsonl_path.read_text().split("\n") if self.jsonl_path.exists() else []:
            if line:
                verdict = Verdict.model_validate_json(line)
                verdicts.setdefault(verdict.run_id, []).append(verdict)
        return verdicts

    def use_opensearch(self, server: OpenSearchServer, **settings: Any) -> None:
        """Adds OpenSearch to the sinks and sets it up."""
        self.sinks.append("opensearch")
        self.search = server
        options = {"hosts": [server.url], "index_prefix": self.kafka.group, **settings}
        if server.secure:
            options |= {"user": "admin", "password": PASSWORD, "ca_file": str(server.certificates / "ca.pem")}
        self.more_settings["opensearch"] = options
        set_up(OpenSearchSettings.model_validate(options), ("none", "0"), [])

    def indexed(self) -> dict[str, list[Verdict]]:
        """By run, the verdicts in all months."""
        if self.search is None:
            return {}
        index = f"{self.kafka.group}-verdicts-*"
        self.search.ask(f"{index}/_refresh", method="POST")
        body: dict[str, Any] = {"size": 200, "_source": ["triage.verdict"], "sort": ["triage.run.key", "_index"]}
        verdicts: dict[str, list[Verdict]] = {}
        while hits := self.search.ask(f"{index}/_search", body)["hits"]["hits"]:  # type: ignore[index]
            for hit in hits:
                verdict = Verdict.model_validate_json(hit["_source"]["triage"]["verdict"])
                verdicts.setdefault(verdict.run_id, []).append(verdict)
            body["search_after"] = hits[-1]["sort"]
        return verdicts

    def drop(self) -> None:
        """Deletes the topics and the indices, so that servers of many farms stay small."""
        asyncio.run(self._delete_topics())
        if self.search is not None:
            for path in (f"{self.kafka.group}-*", f"_index_template/{self.kafka.group}-*"):
                with suppress(OSError):  # there may be none
                    self.search.ask(path, method="DELETE")

    async def _delete_topics(self) -> None:
        kafka = self.kafka
        admin = AIOKafkaAdminClient(**connection(self.admin))
        await admin.start()
        try:
            names = [kafka.topic, kafka.verdicts_topic, kafka.provisional_topic, kafka.runs_topic, kafka.dead_topic]
            await admin.delete_topics(names)
        finally:
            await admin.close()

    def committed(self) -> dict[int, int]:
        return asyncio.run(self._committed())

    async def _committed(self) -> dict[int, int]:
        admin = AIOKafkaAdminClient(**connection(self.admin))
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(self.kafka.group)
            return {tp.partition: about.offset for tp, about in offsets.items()}
        except GroupCoordinatorNotAvailableError:  # a new broker, which knows no group yet
            return {}
        finally:
            await admin.close()

    def ends(self) -> dict[int, int]:
        """By partition, the offset after its last message; only partitions with messages."""
        with KafkaBroker(self.admin) as broker:
            return {partition: end for partition, end in broker.ends(self.kafka.topic).items() if end}

    def everything_committed(self) -> bool:
        return self.committed() == self.ends()

    def differences(self, wanted: Mapping[str, Verdict]) -> dict[str, list[str]]:
        """Runs with no verdict, two, or another than expected, by sink. Sinks that append may repeat an equal one."""
        lost, doubled, different = [], [], []
        stored = {run: [verdict] for run, verdict in self.stored().items()}
        written = {"store": stored, "jsonl": self.jsonl_verdicts(), "kafka": self.topic_verdicts()}
        written["opensearch"] = self.indexed()
        doubled += [f"opensearch:{run}" for run, verdicts in written["opensearch"].items() if len(verdicts) > 1]
        for sink, by_run in written.items():
            if sink not in self.sinks:
                continue
            doubled += [f"{sink}:{run}" for run in by_run if run not in wanted]
            for run, verdict in wanted.items():
                if run not in by_run:
                    lost.append(f"{sink}:{run}")
                changes = (difference(one, verdict) for one in by_run.get(run, []))
                different += [f"{sink}:{run}: {change}" for change in changes if change]
        return {"lost": lost, "doubled": doubled, "different": different}


def difference(one: Verdict, other: Verdict) -> str:
    """In what two verdicts differ, but for the times that the stream adds; empty if they are the same."""
    from tests.verdicts import assert_same

    one, other = undated(one), undated(other)
    if one == other:  # much faster than to compare numbers one by one
        return ""
    try:
        assert_same(one, other)
    except AssertionError as error:
        return str(error) or "they differ"
    return ""


def undated(verdict: Verdict) -> Verdict:
    """Without what the stream adds: when it was judged, and when its first message came."""
    return verdict.model_copy(update={"time": None, "started": None})


class Worker:
    """A worker process. `steps` names a step to die at, as in `run log:2`, see dying_worker.py."""

    def __init__(self, farm: Farm, arguments: Sequence[str], steps: str, module: str, instance: str | None = None) -> None:
        self.farm = farm
        module = "tests.services.dying_worker" if steps else module
        command = [
            sys.executable,
            "-m",
            module,
            *([steps] if steps else []),
            "worker",
            "-c",
            str(farm.settings(instance)),
            *arguments,
        ]
        self.log = farm.log_folder / f"worker-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit status, none while it runs."""
        return self._process.poll()

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM and its exit status."""
        self.signal(signal.SIGTERM)
        return self._process.wait(seconds)

    def memory_bytes(self) -> int:
        """Resident memory at its peak so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def shifted(messages: Sequence[Message], milliseconds: int) -> list[Message]:
    """The same messages with a sender's clock that is wrong."""
    now = int(time.time() * 1000)
    return [replace(message, timestamp_ms=now + milliseconds) for message in messages]
