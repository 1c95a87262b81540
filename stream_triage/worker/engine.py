"""Messages of a topic in, durable verdicts and positions out: what a worker does, whatever brings it the messages.

    records → runs of each partition → intake (open runs, models, verdicts) → sinks → positions that may be committed

The order of `flush` is the guarantee: first what was refused, then which runs are over, then their verdicts, and only then
does the position move that a worker starts from after a crash. It always lies before the first message of every run without
a durable verdict, so the log itself is the state of open runs, and nothing of it is written anywhere else.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import InputError, StoreError, StreamTriageError, fault_place
from stream_triage.intake import Intake
from stream_triage.pipeline import Triage
from stream_triage.ports import DeadLetters, RunLog, Sink
from stream_triage.provisional.live import Live
from stream_triage.records import Chunk, ClosedRun, DeadLetter, Problem, Record, RunEnd, Tick, Verdict
from stream_triage.worker.runs import Item, PartitionRuns, RunRules, refused

__all__ = ["Engine"]

_HOUR_SECONDS = 3600.0
# Stands for no run in the run log: what was refused before its offset is kept and was counted. No message has this key.
_COUNTED = ""


class Engine:
    """Takes the messages of the partitions it is given. For one thread, but for `interrupt`."""

    def __init__(
        self,
        triage: Triage,
        sinks: Sequence[Sink],
        *,
        run_log: RunLog,
        dead_letters: DeadLetters,
        rejected: deque[DeadLetter] | None = None,
        rules: RunRules | None = None,
        dead_per_hour: int = 1000,
        clock: Clock | None = None,
        on_verdict: Callable[[Verdict], None] | None = None,
        on_problem: Callable[[Problem], None] | None = None,
        owner: Callable[[Verdict], str | None] = lambda verdict: None,
        live: Live | None = None,
    ) -> None:
        self._run_log = run_log
        self._dead_letters = dead_letters
        # Documents that a server rejected: its sink, which was made before this engine, appends them while it is flushed.
        self._rejected = rejected if rejected is not None else deque()
        self._rules = rules or RunRules()
        self._dead_per_hour = dead_per_hour
        self._clock = clock or SystemClock()
        self._partitions: dict[int, PartitionRuns] = {}
        self._counted_before: dict[int, int] = {}
        self._refusing: set[int] = set()
        self._refused: deque[float] = deque()
        self._last_refused = ""
        self._texts: dict[str, dict[str, list[bytes]]] = {}
        self._ends: deque[tuple[int, RunEnd]] = deque()
        self._unflushed = False
        self._failure = ""
        self._safe: dict[int, int] = {}
        self._interrupted = threading.Event()
        self._intake = Intake(
            triage,
            sinks,
            clock=self._clock,
            on_verdict=on_verdict,
            on_problem=on_problem,
            on_given_up=self._give_up,
            flushes=False,
            # A full disk passes and is no reason to lose a run; the worker stops and reads it again.
            costs_run=lambda error: not isinstance(error, StoreError),
            owner=owner,
            live=live,
        )
        self.errors: list[str] = []
        """What kept the last `flush` from succeeding."""

    @property
    def positions(self) -> dict[int, int]:
        """By partition, the offset to commit."""
        return dict(self._safe)

    @property
    def taken(self) -> dict[int, int]:
        """By partition, the offset behind the last message taken."""
        return {number: runs.next_offset for number, runs in self._partitions.items()}

    @property
    def open_runs(self) -> int:
        return sum(len(runs.run_ids) for runs in self._partitions.values())

    def interrupt(self) -> None:
        """Makes `handle` return before its next message; from any thread, until `revoke`."""
        self._interrupted.set()

    def handle(self, records: Iterable[Record]) -> None:
        """Takes messages, each partition's in order, and runs the models.

        Raises `StoreError` when a run's text cannot be kept, or the memory of closed runs not be read. Nothing is made
        durable after that: the messages must be read again.
        """
        with self._failing_for_good():
            for record in records:
                if self._interrupted.is_set():
                    break
                self._take(record)
            self._feed()
            self._intake.handle(Tick())

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        """Where a partition ended at a time, by `clock.monotonic`: needed to tell silence from messages not read yet."""
        if partition in self._partitions:
            self._partitions[partition].read_up_to(end_offset, asked)

    def tick(self) -> None:
        """Ends runs that have been silent or open too long. Raises as `handle` does."""
        with self._failing_for_good():
            for number, runs in self._partitions.items():
                self._pass_on(number, runs.idle(self._clock.monotonic()))
            self._feed()
            self._intake.handle(Tick())

    def flush(self) -> bool:
        """Makes everything so far durable and moves the positions; false when something could not be written yet.

        Raises `InputError` when too much was refused, all of that is durable then; `StoreError` as `handle` does.
        """
        if self._failure:
            self.errors = [self._failure]
            return False
        if self._unflushed or self._intake.unflushed:
            self._intake.tally.store_errors.clear()
            if not self._made_durable():
                self.errors = list(self._intake.tally.store_errors)
                return False
            self._unflushed = False
        self.errors = []
        for number, runs in self._partitions.items():
            self._safe[number] = runs.position
        self._check_refused()
        return True

    def revoke(self, partitions: Iterable[int]) -> None:
        """Forgets partitions that others read from now on; their open runs begin there anew."""
        for number in partitions:
            self._safe.pop(number, None)
            self._refusing.discard(number)
            if runs := self._partitions.pop(number, None):
                ended = [end.run_id for of_partition, end in self._ends if of_partition == number]
                self._intake.discard_open([*runs.run_ids, *ended])
            self._ends = deque(end for end in self._ends if end[0] != number)
        self._interrupted.clear()

    def close(self) -> None:
        """Lets go of open runs and closes the sinks."""
        self._intake.discard_open()
        self._intake.close()

    @contextmanager
    def _failing_for_good(self) -> Iterator[None]:
        """What a message brought may be half done when a step raises, and must not count as done."""
        try:
            yield
        except BaseException as error:
            self._failure = str(error) if isinstance(error, StreamTriageError) else fault_place(error)
            raise

    def _take(self, record: Record) -> None:
        runs = self._partition(record.partition)
        try:
            items = runs.take(record, self._clock.monotonic())
        except Exception as error:  # a fault of ours, at this message: the others must not suffer
            items = [refused(record, fault_place(error))]
        self._pass_on(record.partition, items, again=record.offset < self._counted_before[record.partition])

    def _partition(self, number: int) -> PartitionRuns:
        runs = self._partitions.get(number)
        if runs is None:
            closed = self._run_log.closed(number)
            self._counted_before[number] = max((run.first for run in closed if run.key == _COUNTED), default=0)
            runs = PartitionRuns(self._rules, [run for run in closed if run.key != _COUNTED])
            self._partitions[number] = runs
        return runs

    def _pass_on(self, partition: int, items: Iterable[Item], *, again: bool = False) -> None:
        """`again`: what is refused was refused before, in an earlier life."""
        for item in items:
            if isinstance(item, ClosedRun):
                self._run_log.put(partition, item)
                self._unflushed = True
            elif isinstance(item, RunEnd):  # judged in `flush`: no sink may have its verdict before the run log has its end
                self._ends.append((partition, item))
                self._unflushed = True
            elif isinstance(item, DeadLetter):
                self._keep(item)
                if not again:
                    self._count(item)
                    self._refusing.add(partition)
            elif isinstance(item, Chunk) and not item.headers:
                self._texts.setdefault(item.run_id, {}).setdefault(item.source, []).append(item.data)
            else:  # what rules see of a source's headers depends on what came before them
                self._feed()
                self._intake.handle(item)

    def _feed(self) -> None:
        """What came for a source goes on in one piece: steps for each message would cost more than its lines."""
        texts, self._texts = self._texts, {}
        for run_id, sources in texts.items():
            for source, parts in sources.items():
                self._intake.handle(Chunk(run_id, b"".join(parts), source))

    def _made_durable(self) -> bool:
        if not self._flushed(self._dead_letters):
            return False
        for number in self._refusing:
            offset = self._partitions[number].next_offset
            self._run_log.put(number, ClosedRun(_COUNTED, _COUNTED, offset, offset))
        self._refusing.clear()
        if not (self._flushed(self._run_log) and self._judged()):
            return False
        # Runs that could not be judged, and documents that a sink rejected, are further letters.
        written = self._intake.flush()
        while self._rejected:
            self._refuse(self._rejected.popleft())
        return written and self._flushed(self._dead_letters)

    def _judged(self) -> bool:
        """Gives the verdicts of the runs that are over; false when interrupted."""
        with self._failing_for_good():
            while self._ends:
                if self._interrupted.is_set():
                    return False
                self._intake.handle(self._ends.popleft()[1])
        return True

    def _refuse(self, letter: DeadLetter) -> None:
        self._keep(letter)
        self._count(letter)

    def _keep(self, letter: DeadLetter) -> None:
        self._dead_letters.put(letter)
        self._unflushed = True

    def _count(self, letter: DeadLetter) -> None:
        # The id of a run that was not judged may hold an identity.
        self._last_refused = letter.reason if letter.kind == "run" else f"{letter.reason} ({letter.origin})"
        self._refused.append(self._clock.monotonic())

    def _give_up(self, run_id: str, reason: str) -> None:
        self._refuse(DeadLetter("run", f"not judged: {reason}", run_id, run_id.encode(), None))

    def _flushed(self, keeper: DeadLetters | RunLog) -> bool:
        try:
            keeper.flush()
        except StoreError as error:
            self._intake.tally.store_errors.append(str(error))
            return False
        return True

    def _check_refused(self) -> None:
        """After a flush, so that nothing of what stopped the worker is lost."""
        now = self._clock.monotonic()
        while self._refused and now - self._refused[0] > _HOUR_SECONDS:
            self._refused.popleft()
        if len(self._refused) > self._dead_per_hour:
            raise InputError(
                f"{len(self._refused)} messages were refused within an hour, more than kafka.dead_per_hour = "
                f"{self._dead_per_hour}; the last one: {self._last_refused}. They lie in the topic of dead letters: mend "
                "what sends them, start the worker again, then `stream-triage replay-dead`"
            )
