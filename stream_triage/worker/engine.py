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

Thousands of runs may end at once, when their senders fall silent together. So a flush works in parts, each in this order:
the runs of a part are judged and written, then the position moves up to the first run that is left. Between two parts the
worker can be interrupted, and shows that it is alive. A run that has no verdict yet is then left to the next worker, which
finds its end in the run log.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from stream_triage.clock import Clock, SystemClock
from stream_triage.errors import StoreError, StreamTriageError, internal_error_text
from stream_triage.intake import Intake
from stream_triage.pipeline import Triage
from stream_triage.ports import DeadLetters, RunLog, Sink
from stream_triage.provisional.live import Live
from stream_triage.records import Chunk, ClosedRun, DeadLetter, PartitionRunId, Problem, Record, RunEnd, Tick, Verdict
from stream_triage.worker.ceilings import Ceilings
from stream_triage.worker.early_budget import EarlyBudget
from stream_triage.worker.forgotten import ForgottenRuns
from stream_triage.worker.messages import RUN_FORGOTTEN, as_dead_letter
from stream_triage.worker.rejections import Rejections
from stream_triage.worker.removals import Removals
from stream_triage.worker.runs import Item, PartitionRuns, RunRules

__all__ = ["Engine"]

# A part of a flush should take about so long: a worker that is to stop waits for it.
PART_SECONDS = 1.0
# Runs of one part. The number follows how long the last part took, since servers may be slow; not below `FEWEST_PART_RUNS`,
# because some of that time is the same for any number of runs.
FEWEST_PART_RUNS, FIRST_PART_RUNS, MOST_PART_RUNS = 10, 20, 200
# A call of `flush` begins no further part after so long: the caller looks after other things and calls it again.
FLUSH_SECONDS = 3.0
# Runs that time may end in one tick; the others end in the next ticks. Before those, more messages are taken.
TICK_RUNS = 500


class Engine:
    """Takes the messages of the partitions that it is given, and judges their runs.

    One step at a time; any thread may call. `interrupt`, `positions` and `errors` may be used during a step. `dead_per_hour`
    is how many messages of a run may become dead letters within an hour; see `Ceilings`.
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
        on_part: Callable[[], None] = lambda: None,
        team_of: Callable[[Verdict], str | None] = lambda verdict: None,
        live: Live | None = None,
    ) -> None:
        """See `Intake` for `on_verdict`, `on_problem`, `team_of` and `live`.

        `rejected` is where sinks, which exist before the engine, put documents that their server rejects during a flush.
        `on_part` is called after each part of a flush.
        """
        self._run_log = run_log
        self._shown_id = triage.redactor.run_id
        self._dead_letters = dead_letters
        self._rejected = rejected if rejected is not None else deque()
        self._rules = rules or RunRules()
        self._clock = clock or SystemClock()
        self._early = EarlyBudget()
        self._partitions: dict[int, PartitionRuns] = {}
        self._newly_rejecting: set[int] = set()
        """Partitions of which messages were rejected since the last flush."""
        self._ceilings = Ceilings(
            dead_per_hour,
            self._clock,
            usable=lambda key: self._rules.reject_key(key) is None,
            warn=lambda text: self._intake.handle(Problem("worker", text)),
        )
        self._unfed: dict[tuple[int, str], dict[str, list[bytes]]] = {}
        """By partition and run, and source, text that the intake has not got yet."""
        self._unjudged: deque[tuple[int, RunEnd]] = deque()
        """Runs that have ended, with their partitions, whose verdicts the next flush gives."""
        self._part_runs = FIRST_PART_RUNS
        self._on_part = on_part
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
        """Makes `handle` return before its next message, and `flush` before it judges the next run.

        From any thread; in force until `revoke`.
        """
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
        """Ends runs that have been silent or open for too long, `TICK_RUNS` at most. Raises as `handle` does."""
        with self._failing_for_good():
            for number, runs in self._partitions.items():
                self._dispatch(number, runs.idle(self._clock.monotonic(), TICK_RUNS - len(self._unjudged)))
            self._feed()
            self._removals.look()
            self._intake.handle(Tick())

    def flush(self) -> bool:
        """Makes everything so far durable and moves the positions, part by part.

        False if it must be called again: after an error, see `errors`; at once if there are none, because more runs have
        ended than are judged in `FLUSH_SECONDS`. False also when interrupted; what is left belongs to another worker then.

        Raises:
            StoreError: as `handle` does.
        """
        if self._failure:
            self.errors = [self._failure]
            return False
        began = self._clock.monotonic()
        while True:
            if not self._flush_part():
                return False
            if not self._unjudged:
                break
            if self._interrupted.is_set() or self._clock.monotonic() - began >= FLUSH_SECONDS:
                return False
        return True

    def revoke(self, partitions: Iterable[int]) -> None:
        """Forgets partitions that other workers read from now on; their open runs are read again there, from the start."""
        for number in partitions:
            self._durable_positions.pop(number, None)
            self._newly_rejecting.discard(number)
            if runs := self._partitions.pop(number, None):
                # Ended runs go too: their verdicts were not flushed, and the other worker gives them.
                unjudged = [end.run_id for of_partition, end in self._unjudged if of_partition == number]
                self._intake.discard_open([PartitionRunId.of(number, run_id) for run_id in (*runs.run_ids, *unjudged)])
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
        except StoreError:  # a full disk: the message is read again
            raise
        except Exception as error:  # an internal error at this message: the other messages must not suffer
            items = [as_dead_letter(record, internal_error_text(error))]
        self._dispatch(record.partition, items)

    def _partition(self, number: int) -> PartitionRuns:
        """The runs of a partition; the first message of a partition reads the run log."""
        runs = self._partitions.get(number)
        if runs is None:
            logged = self._run_log.read(number)
            forgotten = ForgottenRuns(logged.forgotten, self._shown_id)
            runs = PartitionRuns(self._rules, logged.closed, self._early, Rejections(logged.rejected), forgotten)
            self._partitions[number] = runs
        return runs

    def _dispatch(self, partition: int, items: Iterable[Item]) -> None:
        """Hands each item on to where it belongs."""
        runs = self._partitions[partition]
        for item in items:
            # Nothing of a forgotten run is taken, but its end is: it must be recorded.
            forgotten = runs.forgotten.ids  # nearly always empty, so this is asked first
            if forgotten and not isinstance(item, ClosedRun | RunEnd | DeadLetter) and item.run_id in forgotten:
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
                self._unfed.setdefault((partition, item.run_id), {}).setdefault(item.source, []).append(item.data)
            else:  # rules see the headers that a source had when its text came, so the order counts
                self._feed()
                self._intake.handle(replace(item, run_id=PartitionRunId.of(partition, item.run_id or "")))

    def _feed(self) -> None:
        """Feeds the text of each source in one piece: steps for each message would cost more than its lines."""
        unfed, self._unfed = self._unfed, {}
        for run, sources in unfed.items():
            run_id = PartitionRunId.of(*run)
            for source, parts in sources.items():
                self._intake.handle(Chunk(run_id, b"".join(parts), source))

    def _flush_part(self) -> bool:
        """Judges and writes the next runs and moves the positions; false if that must be tried again."""
        began, left = self._clock.monotonic(), len(self._unjudged)
        self._intake.tally.store_errors.clear()
        waiting = self._pending or self._unjudged or self._intake.unflushed or self._removals.waiting
        done = self._make_durable() if waiting else True
        self.errors = [] if done else list(dict.fromkeys(self._intake.tally.store_errors))
        if done:
            self._move_positions()
        if judged := left - len(self._unjudged):
            fitting = judged * PART_SECONDS / max(self._clock.monotonic() - began, PART_SECONDS / MOST_PART_RUNS)
            self._part_runs = max(min(int(fitting), 2 * self._part_runs, MOST_PART_RUNS), FEWEST_PART_RUNS)
        self._on_part()
        return done

    def _move_positions(self) -> None:
        """To the first message of the first run without a durable verdict, in each partition."""
        positions = {number: runs.position for number, runs in self._partitions.items()}
        for number, end in self._unjudged:
            positions[number] = min(positions[number], end.first_offset)
        self._durable_positions.update(positions)

    def _make_durable(self) -> bool:
        """In the order that the module describes; false as soon as one step fails, and all is tried again."""
        for summary in self._ceilings.summaries():
            self._keep(summary)
        if not self._flushed(self._dead_letters):
            return False
        for number in self._newly_rejecting:
            # A worker that is started again reads the same messages: it must neither keep them again nor count them.
            self._run_log.put_rejected(number, self._partitions[number].rejections.take_new())
        self._newly_rejecting.clear()
        if not self._flushed(self._run_log):
            return False
        if not self._intake.unflushed:  # else the last part could not be written; it comes first
            self._judge_part()
        if self._unjudged and self._interrupted.is_set() and not self._intake.unflushed:
            return False
        written = self._intake.flush()
        # Documents that a server rejected. They are kept also if another sink failed: their sink does not write them again.
        while self._rejected:
            self._keep(self._rejected.popleft())
        # Also if a sink failed: OpenSearch does not take a run that was removed a moment ago, and would hold up the others.
        forgotten = self._forget(written=written)
        if not (written and self._flushed(self._dead_letters) and forgotten):
            return False
        self._pending = False
        return True

    def _forget(self, *, written: bool) -> bool:
        try:
            self._removals.finish(written=written)
        except StoreError as error:
            self._intake.tally.store_errors.append(str(error))
            return False
        return True

    def _judge_part(self) -> None:
        """Gives the verdicts of the next runs that have ended; of fewer when interrupted or slow."""
        began, judged = self._clock.monotonic(), 0
        with self._failing_for_good():
            while self._unjudged and judged < self._part_runs and not self._interrupted.is_set():
                self._removals.judge(*self._unjudged.popleft())
                judged += 1
                if self._clock.monotonic() - began >= PART_SECONDS:
                    return

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
            if self._ceilings.admits(letter):
                self._keep(letter)
            self._newly_rejecting.add(partition)
            self._pending = True

    def _keep(self, letter: DeadLetter) -> None:
        self._dead_letters.put(letter)
        self._pending = True

    def _give_up(self, run_id: str, reason: str) -> None:
        self._keep(DeadLetter("run", f"not judged: {reason}", run_id, run_id.encode(), None))
