"""A farm while faults happen to it: what was sent to it, its worker, its servers, and what people and senders can do.

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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stream_triage.clients.kafka import KafkaBroker
from stream_triage.errors import StreamTriageError
from tests.services.chaos.ledger import Fate, Ledger
from tests.services.chaos.report import Broken, Report
from tests.services.chaos.supervisor import DEATH_SECONDS, Exit, Supervisor
from tests.services.chaos.traffic import TRAFFIC, Traffic, partition_of
from tests.services.dying_worker import STEPS
from tests.services.farm import PARTITIONS, ROOT, Farm, Message, TestRun, interleaved, sample_runs
from tests.services.servers import KafkaServer, OpenSearchServer, free_port

__all__ = ["TERM_SECONDS", "Servers", "World"]

# From SIGTERM to the end of a worker.
TERM_SECONDS = 5.0


@dataclass(frozen=True)
class Servers:
    """The real servers of all episodes."""

    kafka: KafkaServer
    opensearch: OpenSearchServer


class World:
    """One episode: a farm with topics of its own, the runs that were sent to it, and its worker.

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
        self.worker = Supervisor(farm)
        self.broken = report.broken
        self.kind = TRAFFIC
        self.broker_deaths = 0
        self.partitions = PARTITIONS
        self._partition_of: dict[bytes, int] = {}
        self._names = 0
        self._final: set[str] = set()
        self._traffic = Traffic(seed, faults)
        for run in self._traffic.runs:
            self.ledger.add(run, TRAFFIC, Fate.SAME)
        self.metrics_port = free_port()
        farm.more_settings["metrics"] = {"listen": f"127.0.0.1:{self.metrics_port}"}

    def begin(self, kind: str, seed: str) -> None:
        """The next fault happens."""
        self.kind = self.worker.kind = kind
        self.rng = random.Random(seed)

    # Runs and messages

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
        return None if key is None else self._partition_of.setdefault(key, partition_of(key, self.partitions))

    def traffic(self) -> None:
        """Sends the next messages of the runs that are under way all the time."""
        self.send(self._traffic.share())

    def finish_traffic(self) -> None:
        """Sends the rest, and the ends of the runs that were open from the beginning."""
        self.send(self._traffic.rest())

    # Workers

    def need_worker(self, dying: float = 0.4) -> None:
        """Starts a worker if none runs. With the probability `dying` it will kill itself at one of its steps."""
        step = self.a_step() if self.rng.random() < dying else ""
        if not self.worker.runs:
            self.worker.start(step)

    def a_step(self) -> str:
        """A step of `dying_worker`, and which call of it is the last one."""
        return f"{self.rng.choice(sorted(STEPS))}:{self.rng.choice((1, 1, 2))}"

    def kill_at(self, step: str) -> None:
        """Starts a worker that dies at a step, and sends what it reads."""
        self.worker.start(step)
        self.traffic()
        self.worker.wait_for_death()

    def terminate_worker(self, *, may_be_starting: bool = False) -> None:
        """SIGTERM to the worker that runs: it must end with status 0 within `TERM_SECONDS`.

        A process that has not begun to handle signals ends by the signal itself, which supervisors take for a clean end.
        """
        if ended := self.worker.terminate(self.patience):
            status, seconds = ended
            clean = {0, -signal.SIGTERM} if may_be_starting else {0}
            if status not in clean or seconds > TERM_SECONDS:
                self.broke("slow", f"SIGTERM: status {status} after {seconds:.1f} s, not 0 within {TERM_SECONDS:g} s")

    def wait(self, condition: Callable[[], bool], seconds: float, what: str, *, supervised: bool = True) -> bool:
        """Waits until something is true, while a worker is kept running; a promise is broken if it does not come true."""
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > ends:
                self.broke("slow", f"not within {seconds:g} s: {what}")
                return False
            if supervised:
                self.worker.keep_running()
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
                self.worker.exits.append(Exit(self.kind, worker.code, worker.text()[-600:]))
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

    def dead_letters(self) -> int:
        """Number of messages in the topic of dead letters."""
        with KafkaBroker(self.farm.admin) as broker:
            return sum(broker.ends(self.farm.kafka.dead_topic).values())

    @property
    def disk(self) -> Path:
        """The folder with the store, the archive and the JSON lines."""
        return self.farm.folder
