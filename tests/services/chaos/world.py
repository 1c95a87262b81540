"""A farm while faults happen to it: runs arrive all the time, and a worker is started again whenever it ends, as by systemd.

Choices are drawn from `world.rng` alone and never depend on how fast something went, so that the same seed makes the same
faults. The exact moment of a fault is up to the machine.
"""

import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiokafka.partitioner import murmur2

from stream_triage.clients.kafka import KafkaBroker
from stream_triage.errors import StreamTriageError
from tests.services.chaos.ledger import TRAFFIC, Fate, Ledger
from tests.services.chaos.report import Broken, Report
from tests.services.dying_worker import STEPS
from tests.services.farm import PARTITIONS, ROOT, Farm, Message, TestRun, Worker, interleaved, messages_of, sample_runs
from tests.services.servers import KafkaServer, OpenSearchServer, free_port

__all__ = ["Exit", "Servers", "World"]

RUNS_A_FAULT = 3
RUNS_AT_ONCE = 12
# A worker that is to die at a step may never come to it; then it is killed all the same.
DEATH_SECONDS = 12.0
# The step between dead letters and the run log, which notes that there are dead letters.
BEFORE_LOG = "before run log"


@dataclass(frozen=True)
class Servers:
    """The real servers of all episodes."""

    kafka: KafkaServer
    opensearch: OpenSearchServer


@dataclass(frozen=True)
class Exit:
    """A worker that ended by itself."""

    kind: str
    status: int
    output: str


class World:
    """One episode: a farm with topics of its own, the runs that were sent to it, and one worker at a time.

    `patience` is how many seconds something may take that the product does not promise a time for.
    """

    def __init__(
        self, farm: Farm, servers: Servers, seed: str, faults: int, *, patience: float, silent_runs: int, report: Report
    ) -> None:
        self.farm, self.servers = farm, servers
        self.patience = patience
        self.silent_runs = silent_runs
        self.rng = random.Random(seed)
        self.ledger = Ledger()
        self.exits: list[Exit] = []
        self.broken = report.broken
        self.copies = 0
        """How often a dead letter may have been written once more, see `invariants.dead_letters`."""
        self.kind = TRAFFIC
        self.partitions = PARTITIONS
        self._partition_of: dict[bytes, int] = {}
        self._worker: Worker | None = None
        self._step = ""
        self._names = 0
        self._final: set[str] = set()
        self._traffic, self._last_messages = self._plan_traffic(seed, faults)
        self._traffic_share = len(self._traffic) // faults + 1
        self.metrics_port = free_port()
        farm.more_settings["metrics"] = {"listen": f"127.0.0.1:{self.metrics_port}"}

    # Runs and messages

    def _plan_traffic(self, seed: str, faults: int) -> tuple[list[Message], list[Message]]:
        """Messages to be sent during the faults, and those after all of them.

        A run in every other partition is open all the time: whenever a worker starts, it reads all that came after the
        beginning of this run again.
        """
        randomness = random.Random(f"{seed}/traffic")
        runs = sample_runs(max(RUNS_AT_ONCE, faults * RUNS_A_FAULT), randomness.randrange(1 << 30))
        open_runs = [replace(run, run_id=self._key_in(partition)) for partition, run in zip((0, 2), runs[:2], strict=True)]
        runs = [replace(run, run_id=f"{TRAFFIC}/{run.run_id}") for run in runs[2:]]
        for run in [*open_runs, *runs]:
            self.ledger.add(run, TRAFFIC, Fate.SAME)
        messages = [stream[0] for run in open_runs for stream in messages_of(run)]
        for start in range(0, len(runs), RUNS_AT_ONCE):
            messages += interleaved(runs[start : start + RUNS_AT_ONCE], randomness.randrange(1 << 30), lines=10)
        return messages, [message for run in open_runs for stream in messages_of(run) for message in stream[1:]]

    def _key_in(self, partition: int) -> str:
        number = 0
        while self._hash(f"open/{number}".encode()) % PARTITIONS != partition:
            number += 1
        return f"open/{number}"

    @staticmethod
    def _hash(key: bytes) -> int:
        return int(murmur2(key)) & 0x7FFFFFFF

    def new_run(
        self, fate: Fate = Fate.SAME, *, lines: int = 60, sources: int = 3, marks: bool = False, name: str = ""
    ) -> TestRun:
        """A run for the fault that happens: so many sources of so many lines, with marks in the lines if wanted."""
        self._names += 1
        sample = sample_runs(3, self.rng.randrange(1 << 30))[self._names % 3]
        cut = {source: sample.sources[source].splitlines(keepends=True)[:lines] for source in list(sample.sources)[:sources]}
        if marks:
            cut = {source: self.ledger.mark(text, self.kind) for source, text in cut.items()}
        texts = {source: b"".join(text) for source, text in cut.items()}
        return self.ledger.add(TestRun(name or f"{self.kind}/{self._names}", texts), self.kind, fate)

    def send(self, messages: Sequence[Message]) -> None:
        """Sends messages and remembers where each run began.

        The key chooses the partition, as in any producer. It stays the same when partitions are added, as with a sender
        that learns of them late: the two halves of a run would otherwise be two runs.
        """
        if not messages:
            return
        placed = [replace(message, partition=self._partition(message.key)) for message in messages]
        for message, position in zip(placed, self.farm.send(placed), strict=True):
            sent = self.ledger.runs.get((message.key or b"").decode(errors="replace"))
            if sent is not None and sent.first is None:
                sent.first = position

    def send_run(self, run: TestRun) -> None:
        """Sends all of a run, with the ends of its sources."""
        self.send(interleaved([run], self.rng.randrange(1 << 30)))

    def _partition(self, key: bytes | None) -> int | None:
        if key is None:
            return None
        return self._partition_of.setdefault(key, self._hash(key) % self.partitions)

    def partition_of(self, run_id: str) -> int:
        """The partition that the key of a new run is sent to."""
        return self._hash(run_id.encode()) % self.partitions

    def traffic(self) -> None:
        """Sends the next messages of the runs that are under way all the time."""
        part, self._traffic = self._traffic[: self._traffic_share], self._traffic[self._traffic_share :]
        self.send(part)

    def finish_traffic(self) -> None:
        """Sends the rest, and the ends of the runs that were open from the beginning."""
        self.send([*self._traffic, *self._last_messages])
        self._traffic, self._last_messages = [], []

    # Workers

    def need_worker(self, dying: float = 0.4) -> None:
        """Starts a worker if none runs. With the probability `dying` it will kill itself at one of its steps."""
        step = self.a_step() if self.rng.random() < dying else ""
        if self._worker is None or self._worker.code is not None:
            self.start_worker(step)

    def a_step(self) -> str:
        """A step of `dying_worker`, and which call of it is the last one."""
        return f"{self.rng.choice(sorted(STEPS))}:{self.rng.choice((1, 1, 2))}"

    def start_worker(self, step: str = "", instance: str | None = None) -> None:
        """Kills the worker that runs, if one does, and starts another."""
        self.kill_worker()
        self._step = step
        self._worker = self.farm.start_worker(steps=step, instance=instance)

    def kill_worker(self) -> None:
        """SIGKILL."""
        self._note_exit()
        if self._worker is not None:
            self._worker.kill()
        self._worker = None

    def kill_at(self, step: str) -> bool:
        """Starts a worker that dies at a step; returns whether it came to it."""
        self.start_worker(step)
        worker = self._worker
        assert worker is not None
        self.traffic()
        ends = time.monotonic() + DEATH_SECONDS
        while worker.code is None and time.monotonic() < ends:
            time.sleep(0.05)
        reached = worker.code == -9
        self.kill_worker()
        return reached

    def terminate_worker(self, seconds: float) -> None:
        """SIGTERM to the worker that runs: it must end with status 0 within so many seconds."""
        worker, self._worker = self._worker, None
        if worker is None or worker.code is not None:
            self._worker = worker
            self._note_exit()
            self._worker = None
            return
        began = time.monotonic()
        try:
            status = worker.stop(self.patience)
        except subprocess.TimeoutExpired:
            worker.kill()
            status = -9
        took = time.monotonic() - began
        if took > seconds or status not in (0, -9 if self._step else 0):
            self.broke("slow", f"SIGTERM: status {status} after {took:.1f} s, not 0 within {seconds:g} s")

    def _note_exit(self) -> None:
        """Remembers a worker that has ended although nobody asked it to."""
        if self._worker is not None and (status := self._worker.code) is not None:
            if self._step and status == -9:
                self.copies += self._step.startswith(BEFORE_LOG)
            else:
                self.exits.append(Exit(self.kind, status, self._worker.text()[-600:]))
            self._worker = None

    def supervise(self) -> None:
        """Starts a worker if there is none, or none any more."""
        self._note_exit()
        if self._worker is None:
            self.start_worker()

    @property
    def peak_bytes(self) -> int:
        """Peak of the memory of the worker that runs; 0 if none does."""
        with suppress(OSError, StopIteration):
            return self._worker.memory_bytes() if self._worker else 0
        return 0

    def wait(self, condition: Callable[[], bool], seconds: float, what: str, *, supervised: bool = True) -> bool:
        """Waits until something is true, while a worker is kept running; a promise is broken if it does not come true."""
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > ends:
                self.broke("slow", f"not within {seconds:g} s: {what}")
                return False
            if supervised:
                self.supervise()
            time.sleep(0.2)
        return True

    def finals(self) -> set[str]:
        """Ids of the runs that have a final verdict in the store; what was seen last if the store cannot be read now."""
        with suppress(StreamTriageError):
            self._final = self.farm.final_runs()
        return self._final

    def wait_for(self, *run_ids: str) -> bool:
        """Waits until runs have final verdicts in the store."""
        return self.wait(lambda: set(run_ids) <= self.finals(), self.patience, f"verdicts of {', '.join(run_ids)[:200]}")

    # What people and other programs do

    def command(self, *arguments: str, farm: Farm | None = None) -> "subprocess.Popen[str]":
        """Starts a command of `stream-triage` with the settings of the farm, or of another one."""
        command = [sys.executable, "-m", "stream_triage", *arguments, "-c", str((farm or self.farm).settings())]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)

    def done(self, *arguments: str, statuses: tuple[int, ...] = (0,), farm: Farm | None = None) -> str:
        """Runs a command until it ends; returns what it prints. Its status must be one of these."""
        process = self.command(*arguments, farm=farm)
        try:
            output, _ = process.communicate(timeout=self.patience)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        if process.returncode not in statuses:
            self.broke("exits", f"{' '.join(arguments)}: status {process.returncode}: {output[-300:]}")
        return output

    def kill_command(self, seconds: float, *arguments: str, farm: Farm | None = None) -> None:
        """Starts a command and kills it after so many seconds, unless it has ended by then."""
        process = self.command(*arguments, farm=farm)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=seconds)
        process.kill()
        process.communicate()

    @contextmanager
    def paused(self, what: str) -> Iterator[None]:
        """Stops the worker, the broker or OpenSearch with SIGSTOP, and continues it."""
        server = {"broker": self.servers.kafka, "opensearch": self.servers.opensearch}.get(what)
        worker = self._worker
        if server:
            server.pause()
        elif worker:
            worker.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if server:
                server.resume()
            elif worker:
                worker.signal(signal.SIGCONT)

    def side_farm(self, name: str, *, search: bool = False, **kafka: Any) -> Farm:
        """A farm beside this one, for a fault that needs other settings."""
        self._names += 1
        name = f"{name}-{self._names}"
        farm = Farm(self.farm.log_folder / name, self.servers.kafka.bootstrap, f"{self.farm.kafka.group}-{name}", **kafka)
        farm.sinks.insert(0, "archive")
        if search:
            farm.use_opensearch(self.servers.opensearch)
        return farm

    def let_live(self, farm: Farm, step: str = "", until: Callable[[], bool] | None = None) -> None:
        """A worker of another farm lives until it dies at a step, or until something is true."""
        worker = farm.start_worker(steps=step)
        ends = time.monotonic() + (DEATH_SECONDS if step else self.patience)
        try:
            while worker.code is None and time.monotonic() < ends and not (until and until()):
                time.sleep(0.1)
            if until and not until():
                self.broke("slow", f"verdicts of a farm beside: {worker.text()[-300:]}")
            if worker.code is not None and not (step and worker.code == -9):
                self.exits.append(Exit(self.kind, worker.code, worker.text()[-600:]))
        finally:
            worker.kill()

    def answer(self, path: str) -> int:
        """The status of an HTTP request to the worker; 0 if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=3) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def broke(self, promise: str, what: str, kind: str = "") -> None:
        """Notes a broken promise of the fault that happens, or of `kind`."""
        self.broken.append(Broken(promise, kind or self.kind, what))

    def check_positions(self) -> None:
        """No committed position may lie after the first message of a run that has no durable verdict."""
        committed = self.farm.committed()  # before the store: what is committed now was durable before
        final = self.finals()
        for run_id, sent in self.ledger.runs.items():
            if sent.first is None or run_id in final or sent.fate is Fate.FORGOTTEN:
                continue
            partition, offset = sent.first
            if committed.get(partition, 0) > offset:
                what = f"{run_id} begins at {partition}/{offset}, committed is {committed[partition]}, and it has no verdict"
                self.broke("passed over", what, sent.kind)

    def everything_committed(self) -> bool:
        return self.farm.committed() == self.farm.ends()

    def dead_letters(self) -> int:
        """Number of messages in the topic of dead letters."""
        with KafkaBroker(self.farm.admin) as broker:
            return sum(broker.ends(self.farm.kafka.dead_topic).values())

    @property
    def disk(self) -> Path:
        """The folder with the store, the archive and the JSON lines."""
        return self.farm.folder
