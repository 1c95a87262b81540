"""Messages of a topic in, durable verdicts and positions out: what a worker does, whatever brings it the messages.

    records → runs of each partition → intake (open runs, models, verdicts) → sinks → positions that may be committed

The order of `flush` is the guarantee that each run gets one final verdict, whatever dies in between:

1. Dead letters. Once the position has passed a rejected message, its dead letter is all that is left of it.
2. Run log: which runs have ended, and where. A worker that reads a run again ends it there, so the log must have the end of
   a run before any sink has its verdict. Otherwise a line that comes after a crash would join the run, and the sinks would
   get a second, different verdict.
3. Verdicts, in all sinks, and the dead letters of runs and documents that could not be judged or written.
4. Marks of `forget`: what was forgotten while it was being written is removed from the sinks again, see `removals.py`.
5. Position, from which a worker reads after a crash. It lies before the first message of every run without a durable
   verdict: the topic itself is the state of open runs, and nothing of it is written anywhere else.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import InputError, StoreError, StreamTriageError, internal_error_text
from stream_triage.intake import Intake
from stream_triage.pipeline import Triage
from stream_triage.ports import DeadLetters, RunLog, Sink
from stream_triage.provisional.live import Live
from stream_triage.records import Chunk, ClosedRun, DeadLetter, Problem, Record, RunEnd, Tick, Verdict
from stream_triage.worker.forgotten import ForgottenRuns
from stream_triage.worker.messages import RUN_FORGOTTEN, as_dead_letter
from stream_triage.worker.rejections import Rejections
from stream_triage.worker.removals import Removals
from stream_triage.worker.runs import Item, PartitionRuns, RunRules

__all__ = ["Engine"]

_HOUR_SECONDS = 3600.0


class Engine:
    """Takes the messages of the partitions that it is given, and judges their runs.

    One step at a time; any thread may call. `interrupt`, `positions` and `errors` may be used during a step. `dead_per_hour`
    is how many messages may be rejected within an hour before `flush` raises: a sender that is set up wrongly must not fill
    the topic of dead letters unnoticed.
    """

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
        team_of: Callable[[Verdict], str | None] = lambda verdict: None,
        live: Live | None = None,
    ) -> None:
        """See `Intake` for `on_verdict`, `on_problem`, `team_of` and `live`.

        `rejected` is where sinks, which exist before the engine, put documents that their server rejects during a flush.
        """
        self._run_log = run_log
        self._shown_id = triage.redactor.run_id
        self._dead_letters = dead_letters
        self._rejected = rejected if rejected is not None else deque()
        self._rules = rules or RunRules()
        self._dead_per_hour = dead_per_hour
        self._clock = clock or SystemClock()
        self._partitions: dict[int, PartitionRuns] = {}
        self._newly_rejecting: set[int] = set()
        """Partitions of which messages were rejected since the last flush."""
        self._rejection_times: deque[float] = deque()
        self._last_rejection = ""
        self._unfed: dict[str, dict[str, list[bytes]]] = {}
        """By run and source, text that the intake has not got yet."""
        self._unjudged: deque[tuple[int, RunEnd]] = deque()
        """Runs that have ended, with their partitions, whose verdicts the next flush gives."""
        self._pending = False
        """Something waits for a flush: ended runs, entries of the run log, dead letters."""
        self._failure = ""
        self._durable_positions: dict[int, int] = {}
        self._interrupted = threading.Event()
        self._intake = Intake(
            triage,
            sinks,
            clock=self._clock,
            on_verdict=on_verdict,
            on_problem=on_problem,
            on_given_up=self._give_up,
            flushes=False,  # when verdicts may be written is decided here, see above
            # A full disk passes and is no reason to lose a run: the worker stops, and the next one reads the run again. An
            # internal error would come again each time, so it costs the run.
            costs_run=lambda error: not isinstance(error, StoreError),
            team_of=team_of,
            live=live,
        )
        self._removals = Removals(run_log, self._intake, self._partitions, self._clock)
        self.errors: list[str] = []
        """Why the last `flush` did not succeed."""

    @property
    def positions(self) -> dict[int, int]:
        """By partition, the offset that may be committed."""
        return dict(self._durable_positions)

    @property
    def taken(self) -> dict[int, int]:
        """By partition, the offset after the last message taken."""
        return {number: runs.next_offset for number, runs in self._partitions.items()}

    @property
    def open_runs(self) -> int:
        """How many runs are open, over all partitions."""
        return sum(len(runs.run_ids) for runs in self._partitions.values())

    def interrupt(self) -> None:
        """Makes `handle` return before its next message; from any thread, in force until `revoke`."""
        self._interrupted.set()

    def handle(self, records: Iterable[Record]) -> None:
        """Takes messages, those of one partition in order, and runs the models.

        Raises:
            StoreError: the text of a run cannot be kept, or the run log cannot be read. Nothing is made durable after that:
                the messages must be read again, by a new engine.
        """
        with self._failing_for_good():
            for record in records:
                if self._interrupted.is_set():
                    break
                self._take(record)
            self._feed()
            self._intake.handle(Tick())

    def read_up_to(self, partition: int, end_offset: int, asked: float) -> None:
        """The partition ended at `end_offset` at the time `asked`, by `clock.monotonic`: tells silence from a backlog."""
        if partition in self._partitions:
            self._partitions[partition].read_up_to(end_offset, asked)

    def tick(self) -> None:
        """Ends runs that have been silent or open for too long. Raises as `handle` does."""
        with self._failing_for_good():
            for number, runs in self._partitions.items():
                self._dispatch(number, runs.idle(self._clock.monotonic()))
            self._feed()
            self._removals.look()
            self._intake.handle(Tick())

    def flush(self) -> bool:
        """Makes everything so far durable and moves the positions; false if that must be tried again, see `errors`.

        Raises:
            InputError: too many messages were rejected within an hour. All of them are durable then.
            StoreError: as `handle` does.
        """
        if self._failure:
            self.errors = [self._failure]
            return False
        if self._pending or self._intake.unflushed or self._removals.waiting:
            self._intake.tally.store_errors.clear()
            if not self._make_durable():
                self.errors = list(self._intake.tally.store_errors)
                return False
            self._pending = False
        self.errors = []
        for number, runs in self._partitions.items():
            self._durable_positions[number] = runs.position
        self._check_rejections()
        return True

    def revoke(self, partitions: Iterable[int]) -> None:
        """Forgets partitions that other workers read from now on; their open runs are read again there, from the start."""
        for number in partitions:
            self._durable_positions.pop(number, None)
            self._newly_rejecting.discard(number)
            if runs := self._partitions.pop(number, None):
                # Ended runs go too: their verdicts were not flushed, and the other worker gives them.
                unjudged = [end.run_id for of_partition, end in self._unjudged if of_partition == number]
                self._intake.discard_open([*runs.run_ids, *unjudged])
            self._unjudged = deque(end for end in self._unjudged if end[0] != number)
            self._removals.revoke(number)
        self._interrupted.clear()

    @contextmanager
    def _failing_for_good(self) -> Iterator[None]:
        """Stops all later flushes when a step raises.

        The step may have taken a message in part. Were its runs flushed, the position would move past the other part.
        """
        try:
            yield
        except BaseException as error:
            self._failure = str(error) if isinstance(error, StreamTriageError) else internal_error_text(error)
            raise

    def _take(self, record: Record) -> None:
        runs = self._partition(record.partition)
        try:
            items = runs.take(record, self._clock.monotonic())
        except Exception as error:  # an internal error at this message: the other messages must not suffer
            items = [as_dead_letter(record, internal_error_text(error))]
        self._dispatch(record.partition, items)

    def _partition(self, number: int) -> PartitionRuns:
        """The runs of a partition; the first message of a partition reads the run log."""
        runs = self._partitions.get(number)
        if runs is None:
            logged = self._run_log.read(number)
            forgotten = ForgottenRuns(logged.forgotten, self._shown_id)
            runs = PartitionRuns(self._rules, logged.closed, Rejections(logged.rejected), forgotten)
            self._partitions[number] = runs
        return runs

    def _dispatch(self, partition: int, items: Iterable[Item]) -> None:
        """Hands each item on to where it belongs."""
        runs = self._partitions[partition]
        for item in items:
            # Nothing of a forgotten run is taken, but its end is: it must be recorded.
            if not isinstance(item, ClosedRun | RunEnd | DeadLetter) and item.run_id in runs.forgotten.ids:
                continue
            if isinstance(item, ClosedRun):
                self._run_log.put(partition, item)
                self._pending = True
            elif isinstance(item, RunEnd):
                # Judged in `flush`, not here: some sinks write at once, and none may have the verdict before the run log
                # has the end.
                self._unjudged.append((partition, item))
                self._pending = True
            elif isinstance(item, DeadLetter):
                self._reject_once(partition, item)
            elif isinstance(item, Chunk) and not item.headers:
                self._unfed.setdefault(item.run_id, {}).setdefault(item.source, []).append(item.data)
            else:  # rules see the headers that a source had when its text came, so the order counts
                self._feed()
                self._intake.handle(item)

    def _feed(self) -> None:
        """Feeds the text of each source in one piece: steps for each message would cost more than its lines."""
        unfed, self._unfed = self._unfed, {}
        for run_id, sources in unfed.items():
            for source, parts in sources.items():
                self._intake.handle(Chunk(run_id, b"".join(parts), source))

    def _make_durable(self) -> bool:
        """In the order that the module describes; false as soon as one step fails, and all is tried again."""
        if not self._flushed(self._dead_letters):
            return False
        for number in self._newly_rejecting:
            # A worker that is started again reads the same messages: it must neither keep them again, nor count them and
            # stop once more.
            self._run_log.put_rejected(number, self._partitions[number].rejections.take_new())
        self._newly_rejecting.clear()
        if not (self._flushed(self._run_log) and self._judge()):
            return False
        written = self._intake.flush()
        # Documents that a server rejected. They are kept also if another sink failed: their sink does not write them again.
        while self._rejected:
            self._reject(self._rejected.popleft())
        # Also if a sink failed: OpenSearch does not take a run that was removed a moment ago, and would hold up the others.
        forgotten = self._forget(written=written)
        return written and self._flushed(self._dead_letters) and forgotten

    def _judge(self) -> bool:
        """Gives the verdicts of the runs that have ended; false when interrupted, the rest belongs to another worker."""
        with self._failing_for_good():
            while self._unjudged:
                if self._interrupted.is_set():
                    return False
                self._removals.judge(*self._unjudged.popleft())
        return True

    def _forget(self, *, written: bool) -> bool:
        try:
            self._removals.finish(written=written)
        except StoreError as error:
            self._intake.tally.store_errors.append(str(error))
            return False
        return True

    def _flushed(self, keeper: DeadLetters | RunLog) -> bool:
        try:
            keeper.flush()
        except StoreError as error:
            self._intake.tally.store_errors.append(str(error))
            return False
        return True

    def _reject_once(self, partition: int, letter: DeadLetter) -> None:
        """A message that was rejected before has its dead letter already. Nothing of a forgotten run gets into one."""
        runs = self._partitions[partition]
        if runs.rejections.keep(letter):
            if runs.belongs_to_forgotten((letter.key or b"").decode(errors="replace")):
                letter = letter._replace(reason=RUN_FORGOTTEN, value=None, headers=())
            self._reject(letter)
            self._newly_rejecting.add(partition)

    def _reject(self, letter: DeadLetter) -> None:
        self._keep(letter)
        self._count(letter)

    def _keep(self, letter: DeadLetter) -> None:
        self._dead_letters.put(letter)
        self._pending = True

    def _count(self, letter: DeadLetter) -> None:
        # The id of a run that was not judged may contain an identity: it is not shown.
        self._last_rejection = letter.reason if letter.kind == "run" else f"{letter.reason} ({letter.origin})"
        self._rejection_times.append(self._clock.monotonic())

    def _give_up(self, run_id: str, reason: str) -> None:
        self._reject(DeadLetter("run", f"not judged: {reason}", run_id, run_id.encode(), None))

    def _check_rejections(self) -> None:
        """After a flush, so that nothing of what stops the worker is lost."""
        now = self._clock.monotonic()
        while self._rejection_times and now - self._rejection_times[0] > _HOUR_SECONDS:
            self._rejection_times.popleft()
        if len(self._rejection_times) > self._dead_per_hour:
            raise InputError(
                f"{len(self._rejection_times)} messages were rejected within an hour, more than kafka.dead_per_hour = "
                f"{self._dead_per_hour}; the last one: {self._last_rejection}. They are in the topic of dead letters: fix "
                "what sends them, start the worker again, then run `stream-triage replay-dead`"
            )
