"""What the edges owe the pipeline and each other. Each protocol has one contract test suite in tests/edges."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from stream_triage.records import ClosedRun, DeadLetter, Event, Record, Verdict

__all__ = [
    "DeadLetters",
    "Forgets",
    "Handle",
    "RecordHandler",
    "RunLog",
    "RunText",
    "Sink",
    "Source",
    "Spool",
    "Store",
    "StoredRun",
]

Handle = Callable[[Event], None]


class Source(Protocol):
    """Pushes events to `handle` until there are no more, or until interrupted."""

    def run(self, handle: Handle) -> None: ...


class RunText(Protocol):
    """Redacted lines of one run, by source and line number."""

    def sources(self) -> Sequence[str]:
        """Names of the sources, sorted."""

    def line_count(self, source: str) -> int: ...

    def read(self, source: str, first: int, last: int) -> list[str]:
        """Lines `first` to `last`, counted from 1, both included; what lies outside is left out."""

    def close(self) -> None:
        """Lets go of files and memory."""


class Spool(RunText, Protocol):
    """A run's text while the run is open: lines are appended per source and can be read back at any time."""

    def append(self, source: str, lines: Sequence[str]) -> None: ...


class Sink(Protocol):
    """Takes verdicts. A higher version never gives way to a lower one; an equal one counts as written."""

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Takes one verdict, with the text of its run where there is one. May buffer until `flush`."""

    def flush(self) -> None:
        """Returns when everything written is durable. Raises `StoreError` and keeps what it could not write."""

    def close(self) -> None:
        """Flushes and lets go; writing afterwards raises `StoreError`."""


class StoredRun(NamedTuple):
    """One row of a listing."""

    run_id: str
    time: datetime | None
    label: str
    passed: bool
    confidence: float
    needs_review: bool
    anomalous: bool
    anomaly_score: float
    lines: int
    bundle: str
    version: int
    final: bool


class Forgets(Protocol):
    """A place of verdicts or texts."""

    def forget(self, run_id: str) -> bool:
        """Removes every trace of the run (full id); false when there was none, or none can be seen."""


class Store(Sink, Forgets, Protocol):
    """A sink that can be asked."""

    def runs(
        self, *, label: str | None = None, search: str | None = None, unclean: bool = False, limit: int = 100
    ) -> list[StoredRun]:
        """Newest first. `search` finds words in the kept lines; `unclean` leaves out clean passes."""

    def get(self, run_id: str) -> Verdict:
        """The verdict of `full_id(run_id)`."""

    def find(self, run_id: str) -> StoredRun | None:
        """The stored run of this very id, if there is one."""

    def full_id(self, run_id: str) -> str:
        """The id that is meant by an id or a part of one. Raises `RunNotFound`, naming candidates."""

    def prune(self, *, before: datetime | None = None, keep: int | None = None) -> list[str]:
        """Removes runs older than `before` and all but the newest `keep`; gives their ids."""


class DeadLetters(Protocol):
    """Keeps what was refused, with the reason and as it came."""

    def put(self, letter: DeadLetter) -> None:
        """Takes one. May buffer until `flush`."""

    def flush(self) -> None:
        """Returns when everything put is durable. Raises `StoreError` and keeps what it could not write."""


class RunLog(Protocol):
    """Remembers which runs of a topic are over, so that a worker that reads messages again knows."""

    def closed(self, partition: int) -> list[ClosedRun]:
        """The remembered runs of a partition, those of other processes too."""

    def put(self, partition: int, run: ClosedRun) -> None:
        """Takes one. May buffer until `flush`."""

    def flush(self) -> None:
        """Returns when everything put is durable. Raises `StoreError` and keeps what it could not write."""


class RecordHandler(Protocol):
    """What the messages of a topic go to, step by step; `Engine` is one. Called from one thread, `interrupt` and
    `positions` from any."""

    def handle(self, records: Iterable[Record]) -> None: ...

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        """Where a partition ended at a time, by `clock.monotonic`."""

    def tick(self) -> None:
        """Ends runs that have been silent or open too long."""

    def flush(self) -> bool:
        """Makes everything so far durable; false when it must be tried again, for the `errors`."""

    def revoke(self, partitions: Iterable[int]) -> None: ...

    def interrupt(self) -> None:
        """The step under way ends before its next message."""

    @property
    def positions(self) -> dict[int, int]:
        """By partition, the offset to commit."""

    @property
    def errors(self) -> list[str]: ...
