"""What the edges owe the pipeline and each other.

Sources, sinks, stores, run logs and dead letters have contract tests in tests/edges. What a disk, a server or a lock did is
raised as `StoreError`, which names the remedy. Nothing here is thread-safe unless it says so.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from stream_triage.records import (
    ClosedRun,
    DeadLetter,
    Event,
    ForgottenRun,
    LoggedPartition,
    Record,
    RejectedMessages,
    Verdict,
)

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
    "WorkerProcess",
]

Handle = Callable[[Event], None]


class Source(Protocol):
    """Where runs come from. It pushes events, so that files, standard input and a topic look alike to what takes them."""

    def run(self, handle: Handle) -> None:
        """Calls `handle` with each event until there are no more, or until interrupted.

        The chunks of one source of a run come in order, and all of them before the `RunEnd` of the run; runs may be
        interleaved. Bytes may be cut anywhere. Input that cannot be read becomes a `Problem`, and the rest goes on.

        Raises:
            InputError: nothing can be read at all.
        """


class RunText(Protocol):
    """Redacted lines of one run, by source and line number."""

    def sources(self) -> Sequence[str]:
        """Names of the sources, sorted."""

    def line_count(self, source: str) -> int:
        """Lines of a source; 0 for one that is not known."""

    def read(self, source: str, first: int, last: int) -> list[str]:
        """Lines `first` to `last`, both included, without line ends. Numbers begin with 1; those outside are skipped."""

    def close(self) -> None:
        """Frees files and memory. Reading raises `StoreError` then; closing twice does nothing."""


class Spool(RunText, Protocol):
    """A run's text while the run is open: it grows, and what was appended can be read back at any time."""

    def append(self, source: str, lines: Sequence[str]) -> None:
        """Adds lines, without line ends, after those that the source has.

        Raises:
            StoreError: there is no space. The lines were taken all the same and can be read, so that no number shifts.
        """


class Sink(Protocol):
    """Where verdicts go. Writing may buffer; only `flush` promises that nothing is lost.

    A verdict may be written again, after a crash or a failed flush. Of two verdicts on one run the higher version counts,
    whichever comes first; an equal version counts as written and changes nothing. Sinks that can only append may repeat an
    equal verdict.
    """

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Takes one verdict, with the text of its run where there is one; the text is not closed.

        Raises:
            StoreError: the verdict was not taken. The caller writes it again, with the text.
        """

    def flush(self) -> None:
        """Returns once everything written is durable: it survives a crash of the process and of the machine.

        Raises:
            StoreError: not everything is. The sink keeps what is not and tries again with the next flush.
        """

    def close(self) -> None:
        """Flushes and frees what it holds. Writing raises `StoreError` then; closing twice does nothing."""


class StoredRun(NamedTuple):
    """One row of a listing; the fields are those of `Verdict`."""

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
    content: str = ""


class Forgets(Protocol):
    """What keeps verdicts or texts and can remove a run."""

    def forget(self, run_id: str) -> bool:
        """Removes every trace of the run, by its full id; false if there was none, or if none can be seen.

        Raises:
            StoreError: traces may be left. Forgetting again removes the rest.
        """


class Store(Sink, Forgets, Protocol):
    """A sink that can be queried. Queries see what was flushed."""

    def runs(
        self, *, label: str | None = None, search: str | None = None, unclean: bool = False, limit: int = 100
    ) -> list[StoredRun]:
        """Runs, newest first.

        Args:
            label: Only runs with this label.
            search: Only runs with a kept line that has all of these words, or words that begin with them.
            unclean: Only runs that did not pass cleanly (`Verdict.clean`).
            limit: As many at most.
        """

    def get(self, run_id: str) -> Verdict:
        """The verdict of the run `full_id(run_id)`. Raises as `full_id` does."""

    def find(self, run_id: str) -> StoredRun | None:
        """The stored run with exactly this id; None if there is none."""

    def find_content(self, path: str, content: str) -> StoredRun | None:
        """The newest run that was read from this path and has this content; None if there is none.

        Args:
            path: The part of the run id before its last `#`, so without identities.
            content: The `content` of its verdict; an empty one finds nothing.
        """

    def full_id(self, run_id: str) -> str:
        """The id of the stored run that an id, or a part of one, stands for.

        Raises:
            RunNotFound: it stands for none, or for several; the message names some of them.
        """

    def prune(self, *, before: datetime | None = None, keep: int | None = None) -> list[str]:
        """Removes runs older than `before`, and all but the newest `keep`; returns their ids."""


class DeadLetters(Protocol):
    """Keeps what was rejected, as it came, with the reason."""

    def put(self, letter: DeadLetter) -> None:
        """Takes one letter. It is durable after `flush`; after a crash it may be there twice."""

    def flush(self) -> None:
        """Returns once everything put is durable. Raises `StoreError` and keeps what is not for the next flush."""


class RunLog(Protocol):
    """Remembers what a worker that reads messages again must know.

    That is which runs have ended and where, which messages were rejected, and which runs were forgotten.
    """

    def read(self, partition: int) -> LoggedPartition:
        """What is remembered of a partition. Marks of `forget` count whichever group of workers they were made for.

        The last entry of a run id counts. Old entries may be missing: a late line of such a run begins a new one.
        """

    def new_marks(self, partitions: Collection[int]) -> dict[int, list[ForgottenRun]]:
        """Marks of `forget` that came since the last look at each of these partitions, which `read` was called for.

        All marks that were there when the call began are returned. Cheap if there are none.
        """

    def put(self, partition: int, run: ClosedRun) -> None:
        """Takes one ended run. It is durable after `flush`, and only then may a sink get the run's verdict."""

    def put_rejected(self, partition: int, rejected: RejectedMessages) -> None:
        """Takes the names of dead letters that are durable."""

    def flush(self) -> None:
        """Returns once everything put is durable. Raises `StoreError` and keeps what is not for the next flush."""


class RecordHandler(Protocol):
    """What the messages of a topic go to, step by step; `Engine` is one.

    Steps are called one after the other, from any thread; `interrupt`, `positions` and `errors` at any time. After a step
    has raised, `flush` returns false and the positions stay: the messages must be read again by a new handler.
    """

    def handle(self, records: Iterable[Record]) -> None:
        """Takes messages, those of one partition in order of their offsets. A message that was taken before is ignored.

        Raises:
            StoreError: a message could not be taken.
        """

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        """The partition ended at `end_offset` at a time, in seconds of `Clock.monotonic`.

        With it the handler can tell silence from messages that wait in the topic.
        """

    def tick(self) -> None:
        """Ends runs that have been silent or open for too long. Called about once a second."""

    def flush(self) -> bool:
        """Makes everything so far durable and moves `positions`; false if it must be called again.

        That is after an error, see `errors`, or without one at once: when much has ended together, one call makes a part of
        it durable, so that no call takes long.

        Raises:
            InputError: too much was rejected; the worker must stop.
        """

    def revoke(self, partitions: Iterable[int]) -> None:
        """Forgets partitions that other workers read from now on, with their open runs and positions."""

    def interrupt(self) -> None:
        """Ends the step under way before its next message, and all further ones at once, until `revoke`."""

    @property
    def positions(self) -> dict[int, int]:
        """By partition, the offset to commit: everything that came of the messages before it is durable."""

    @property
    def errors(self) -> list[str]:
        """What went wrong in the last flush; empty if it was interrupted, or if there is only more to do."""


class WorkerProcess(Protocol):
    """The process around the loop that reads a topic: what it knows, and what it must be told. Any thread may call."""

    def report(self, subject: str, trouble: str) -> None:
        """What is wrong with a part of the worker, for people; empty once it is right again."""

    def kafka_answers(self) -> bool:
        """Whether the brokers answered the last time that they were asked for something else than messages."""

    def unusable(self, partitions: Collection[int]) -> dict[int, str]:
        """By partition, why its messages must not be taken yet. May ask Kafka; never raises."""

    def ending(self, reason: str, status: int) -> None:
        """The process is about to end, with this exit status; what still hangs after some seconds is left behind."""
