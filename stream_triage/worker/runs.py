"""Messages of one topic partition in, in order of their offsets; chunks and ends of runs out, and what is rejected.

A run begins with the first message of its key. It ends when all its sources have ended, at a line that ends it, at a line
that starts the next one, when nothing came for a time, or at a limit; `transitions.py` has the table.

**Reading again.** The log of the partition is the only state of open runs: a worker that starts reads them again from their
first messages, and must come to the same runs. So what belongs to a run is decided by the messages and their order alone,
never by the pace at which they are read. Where a run did end by time, its end is recorded (`ClosedRun`) before its verdict
is written, and a worker that reads it again ends it there (`ended_runs.py`).
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from stream_triage.records import Chunk, ClosedRun, DeadLetter, Problem, Record, Repeats, RunEnd, split_origin
from stream_triage.stages.decode import AUTO
from stream_triage.worker.early_budget import EarlyBudget
from stream_triage.worker.ended_runs import EndedRuns
from stream_triage.worker.forgotten import ForgottenRuns
from stream_triage.worker.messages import (
    MAX_SOURCES,
    RUN_ENDED,
    Message,
    MessageReader,
    RejectedMessage,
    as_dead_letter,
    as_dead_letters,
    late_lines_as_dead_letters,
    letter_name,
    run_key,
)
from stream_triage.worker.numberings import Numbering
from stream_triage.worker.open_run import OpenRun, OpenSource
from stream_triage.worker.pieces import Cutter, Piece
from stream_triage.worker.rejections import Rejections
from stream_triage.worker.sequence import MAX_RUN_EARLY_BYTES, Arrival
from stream_triage.worker.transitions import TABLE, Action, Event, State

__all__ = ["Item", "PartitionRuns", "RunRules"]

# Text that runs held for a message before it, and that one call of `idle` passes on when they end, at most.
MAX_IDLE_BYTES: Final = 8 << 20

PARTS_BETWEEN_RUNS: Final = "it begins with a part of a message; the other parts may be missing or in another place"

Item = Chunk | Problem | Repeats | ClosedRun | RunEnd | DeadLetter


@dataclass(frozen=True)
class RunRules:
    """What a message holds and when a run is over; `run_rules` in `wiring.py` makes them from the settings of Kafka."""

    format: str = "text"
    encoding: str = AUTO
    json_text: str = "message"
    json_source: str = "source"
    json_end: str = "end"
    start_pattern: str | None = None
    end_pattern: str | None = None
    idle_seconds: float = 300.0
    end_grace_seconds: float = 0.0
    """How long a run waits for more sources once all that were seen have ended; 0 if it does not. The setting has another
    default: a run that a program feeds message by message ends at once."""
    max_run_seconds: float = 86_400.0
    max_run_bytes: int = 4 << 30
    reject_key: Callable[[str], str | None] = lambda key: None
    """Why runs must not have this key, if so."""


class _Carried(NamedTuple):
    """A message that was held when its run ended: it belongs to what comes next under the key."""

    key: str
    message: Message
    reread_from: int


class PartitionRuns:
    """The runs of one partition: `take` gets its messages, `idle` is called as time passes.

    For one thread. What it returns must be handled in order. Its memory is bounded by the number of open runs and the limits
    of `messages.py` and `sequence.py`; text is not kept, except that of messages that came before their turn.
    """

    def __init__(
        self,
        rules: RunRules,
        closed: Iterable[ClosedRun] = (),
        early: EarlyBudget | None = None,
        rejections: Rejections | None = None,
        forgotten: ForgottenRuns | None = None,
    ) -> None:
        """What workers recorded of this partition before, in any order.

        Args:
            rules: What a message holds and when a run is over.
            closed: Runs whose ends were recorded.
            early: Keeps the messages that came before their turn; without it, this partition has one of its own.
            rejections: Messages that have their dead letters already.
            forgotten: Runs that were forgotten.
        """
        self.rejections = rejections or Rejections()
        self.forgotten = forgotten or ForgottenRuns()
        self._rules = rules
        self._early = early or EarlyBudget()
        self._reader = MessageReader(rules.format, rules.json_text, rules.json_source, rules.json_end)
        self._cutter = Cutter(rules.start_pattern, rules.end_pattern, rules.encoding)
        self._open: dict[str, OpenRun] = {}
        self._ended = EndedRuns(closed)
        self._carried: deque[_Carried] = deque()
        self._key_taken = ""
        """Key of the message that is being taken, or was last."""
        self._pieces_taken: int | None = None
        """Pieces of it that were passed on, None for all: they tell where in a message a run ended."""
        self._now = 0.0
        self._reading = False
        self._first_read = 0
        """The offset from which this object has taken all messages."""
        self._pending_end: tuple[float, int] | None = None
        """A time, and the end of the partition at that time, which was not reached yet."""
        self._complete_until = -math.inf
        """All that was in the partition at this time was taken."""
        self.next_offset = 0

    @property
    def position(self) -> int:
        """Offset from which a worker must read on once all that came of the messages so far is durable."""
        return min([*(run.first_offset for run in self._open.values()), self.next_offset])

    @property
    def run_ids(self) -> list[str]:
        """Ids of the open runs."""
        return [run.run_id for run in self._open.values()]

    def take(self, record: Record, now: float) -> list[Item]:
        """What one message brings, in order. `now` is in seconds, of a clock that never jumps."""
        self._now = now
        if not self._reading:
            self._ended.begin_reading(record.offset)
            self._reading, self._first_read = True, record.offset
        elif record.offset < self.next_offset:
            return []  # the consumer was set back after a rebalance; this message was taken before it
        self.next_offset = record.offset + 1
        if self.rejections and self.rejections.was_unusable(letter_name(record)):
            return []
        try:
            key, message = self._key(record), self._reader.read(record)
        except RejectedMessage as reason:
            return [self.rejections.found_unusable(as_dead_letter(record, str(reason)))]
        tombstone = message.text is None and not message.ends_source
        if tombstone or self._ended.covers(key, record.offset):
            return []
        if message.origin and (why := self._reject_replayed(key, message)) is not None:
            return [as_dead_letter(record, why)] if why else []
        items = self._end_as_recorded(key, record.offset)  # the topic may not keep its last message any more
        self._key_taken, self._pieces_taken = key, 0
        items += self._assign(key, message, record.offset)
        items += self._assign_carried()
        self._pieces_taken = None
        return items + self._end_as_recorded(key, record.offset + 1)

    def read_up_to(self, end_offset: int, asked: float) -> None:
        """The partition ended at `end_offset` at the time `asked`: silence until then is proven once all of it was taken.

        Time that passes proves nothing: messages may be waiting in the topic while a sink is slow. One end is kept until it
        is reached. If each later one replaced it, silence would never be proven while messages come faster than they are
        read.
        """
        if self.next_offset >= end_offset:
            self._complete_until, self._pending_end = max(self._complete_until, asked), None
        elif self._pending_end is None:
            self._pending_end = asked, end_offset
        elif self.next_offset >= self._pending_end[1]:
            self._complete_until, self._pending_end = max(self._complete_until, self._pending_end[0]), None

    def idle(self, now: float, most: float = math.inf) -> list[Item]:
        """Ends runs that have been silent or open for too long. `now` as in `take`.

        When `most` runs have ended, or ended runs have passed on `MAX_IDLE_BYTES` that they held, the others are left to
        the next call: thousands of runs may fall silent together.
        """
        self._now = now
        items: list[Item] = []
        counted = ended = passed_on = 0
        for run in list(self._open.values()):
            for item in islice(items, counted, None):
                ended += isinstance(item, RunEnd)
                passed_on += len(item.data) if isinstance(item, Chunk) else 0
            counted = len(items)
            if ended >= most or passed_on >= MAX_IDLE_BYTES:
                break
            if run.recorded:  # no time ends a run that is read again: it ends where it ended
                items += self._end_as_recorded(run.key, self.next_offset)
            elif self._complete_until - run.last_message >= self._rules.idle_seconds:
                items += self._apply(Event.SILENCE, run)
            elif run.all_ended and self._complete_until - run.last_message >= self._rules.end_grace_seconds:
                items += self._apply(Event.GRACE_OVER, run)
            elif now - run.opened >= self._rules.max_run_seconds:
                items += self._apply(Event.TIME_LIMIT, run)
            items += self._assign_carried()
        return items

    def _key(self, record: Record) -> str:
        key = run_key(record)
        if key not in self._open and (reason := self._rules.reject_key(key)):
            raise RejectedMessage(reason)
        return key

    def _reject_replayed(self, key: str, message: Message) -> str | None:
        """Why a message that `replay-dead` sent is not taken, so that no line comes twice; None if it is.

        An empty reason: it certainly was taken before, so that no dead letter is needed.
        """
        record, origin = message.record, split_origin(message.origin)
        if origin is None:
            return None
        place, offset = origin
        here = place == f"{record.topic}/{record.partition}"
        if here and self.rejections.rules_out(message.origin):
            # The message was taken at its first offset: another consumer group, or a worker that died, rejected it.
            if offset >= self._first_read:
                return ""
            if (ended := self._ended.last(key)) and offset <= ended.last < record.offset:
                return RUN_ENDED
        run = self._open.get(key)
        if run and run.replayed.includes(message.origin):
            return ""
        return RUN_ENDED if self._ended.has_replayed(key, place, offset, record.offset) else None

    def belongs_to_forgotten(self, key: str) -> bool:
        """Whether the open run of this key, or else the last one, was forgotten."""
        if run := self._open.get(key):
            return run.run_id in self.forgotten.ids
        last = self._ended.last(key)
        return last is not None and self.forgotten.includes(last.run_id, last.first)

    def _state(self, key: str) -> State:
        if run := self._open.get(key):
            return State.EARLY if not run.passed_on else State.CLOSING if run.closing else State.OPEN
        if ended := self._ended.last(key):
            return State.CUT if ended.cut else State.ENDED
        return State.UNUSED

    def _action(self, event: Event, key: str) -> Action:
        return TABLE[event][self._state(key)]

    def _apply(self, event: Event, run: OpenRun, ending: str | None = None) -> list[Item]:
        """Ends or cuts the open run if the table says so. `ending` names the source whose text or end did it."""
        action = self._action(event, run.key)
        if action is Action.END:
            return self._end(run, ending)
        return self._cut(run) if action is Action.CUT else []

    def _assign(self, key: str, message: Message, reread_from: int) -> list[Item]:
        """Takes a message into the run of its key, in the order of its source.

        A worker must read from `reread_from` on to come to this message again: a run that it begins begins there.
        """
        action = self._action(Event.TEXT, key)
        if action is Action.REJECT:
            # Parts are joined within a run only: what waits between two runs is recorded nowhere.
            if message.part is not None:
                message = message._replace(doubt=message.doubt or PARTS_BETWEEN_RUNS)
            return self._pass_on(key, message, reread_from)  # a line in it may start the next run
        run = self._begin(key, message, reread_from) if action is Action.BEGIN else self._open[key]
        run.last_offset = self.next_offset - 1
        if not run.is_over_for(message):  # or a sender that goes on after its end would keep its run open
            run.last_message = self._now
        run.first_offset = min(run.first_offset, reread_from)
        source = run.source(message.source)
        if source is None:
            return self._reject(run, message, f"the run has more than {MAX_SOURCES} sources")
        run.source_count = max(run.source_count, message.sources or 0)
        if message.seq is None:
            return self._pass_on(key, message, reread_from)
        if message.part is not None:
            return self._take_part(run, source, message)
        return self._in_order(run, source, message, reread_from)

    def _take_part(self, run: OpenRun, source: OpenSource, message: Message) -> list[Item]:
        """Keeps a part of a message until all of it has come."""
        if whole := source.parts.add(message, self._early):
            return self._in_order(run, source, whole, run.first_offset)
        items = self._release_parts(run, message.source, source) if source.parts.overfull else []
        return items + self._hold_less(run)

    def _release_parts(self, run: OpenRun, name: str, source: OpenSource) -> list[Item]:
        """Stops waiting for the missing parts of messages: what came of them is put in order."""
        items: list[Item] = []
        for message in source.parts.release():
            items.append(run.problem(f"message {message.seq} came only in part", name))
            items += self._assign(run.key, message, run.first_offset)
        return items

    def _assign_carried(self) -> list[Item]:
        """What was held when its run ended belongs to the next run, or comes too late."""
        items: list[Item] = []
        while self._carried:
            items += self._assign(*self._carried.popleft())
        return items

    def _begin(self, key: str, message: Message, reread_from: int) -> OpenRun:
        offset = message.record.offset
        run_id = self._ended.free_id(key, offset)
        recorded, first = self._ended.recorded(key, run_id), min(reread_from, offset)
        self._open[key] = run = OpenRun(key, run_id, first, self.next_offset - 1, self._now, self._now, recorded)
        self.forgotten.begin(run_id, first)
        return run

    def _reject(self, run: OpenRun, message: Message, reason: str) -> list[Item]:
        """Dead letters that the verdict of an open run must tell of."""
        run.rejected[reason] = run.rejected.get(reason, 0) + 1
        return [*as_dead_letters(message, reason)]

    def _in_order(self, run: OpenRun, source: OpenSource, message: Message, reread_from: int) -> list[Item]:
        """Takes a message with a number, as far as it is its turn."""
        arrival, numbering = source.numberings.place(message)
        items: list[Item] = []
        if crowded := source.numberings.crowded():
            items += self._close_numbering(run, message.source, source, crowded)
            if self._open.get(run.key) is not run:  # an end in what was held; the message belongs to what comes next
                return items + self._assign(run.key, message, reread_from)
        if arrival is Arrival.BEFORE_FIRST:
            reason = "its sequence number is below that of the first message of its run"
            return [*items, *self._reject(run, message, reason)]
        if arrival is Arrival.GIVEN_UP:
            reason = "it came too late: the gap at its sequence number was given up"
            return [*items, *self._reject(run, message, reason)]
        if arrival is Arrival.EARLY:
            self._hold(numbering, message)
            if source.numberings.overfull:
                items += self._release_parts(run, message.source, source)
            if source.numberings.overfull and numbering.sequence.holds_early and self._open.get(run.key) is run:
                items += self._give_up_gap(run, message.source, source, numbering)
            items += self._hold_less(run)
        elif arrival is Arrival.DUE:
            items += self._pass_on_numbered(run, source, numbering, message, reread_from)
            items += self._pass_on_due(run, source, numbering)
        return items

    def _hold(self, numbering: Numbering, message: Message) -> None:
        assert message.seq is not None
        numbering.sequence.hold(message.seq, self._early.keep(message), len(message.text or b""), message.digest)

    def _hold_less(self, run: OpenRun) -> list[Item]:
        """Stops waiting in the source that holds most, as long as the run holds too much."""
        items: list[Item] = []
        while self._open.get(run.key) is run and run.early_bytes > MAX_RUN_EARLY_BYTES:
            name = max(run.sources, key=lambda other: run.sources[other].early_bytes)
            source = run.sources[name]
            if source.parts.bytes:
                items += self._release_parts(run, name, source)
            else:
                most = max(source.numberings, key=lambda numbering: numbering.sequence.early[1])
                items += self._give_up_gap(run, name, source, most)
        return items

    def _close_numbering(self, run: OpenRun, name: str, source: OpenSource, numbering: Numbering) -> list[Item]:
        items: list[Item] = []
        while numbering.sequence.holds_early and self._open.get(run.key) is run:
            items += self._give_up_gap(run, name, source, numbering)
        source.numberings.close(numbering)
        return items

    def _pass_on_numbered(
        self, run: OpenRun, source: OpenSource, numbering: Numbering, message: Message, reread_from: int
    ) -> list[Item]:
        """Passes on a message whose turn it is in its numbering, without the lines that an earlier numbering brought."""
        known = source.numberings.known(numbering, message.text)
        if not known.all:
            source.numberings.repeated_bytes += known.bytes
            return self._pass_on(run.key, message, reread_from, skip=known.bytes)
        source.numberings.drop(known.bytes)
        source.numberings.advance(message)
        self._note_progress(message, None)
        return self._end_source(run.key, message)

    def _pass_on_due(self, run: OpenRun, source: OpenSource, numbering: Numbering) -> list[Item]:
        """What was held for the message just taken. What is left when the run ends is carried over to the next one."""
        items: list[Item] = []
        while self._open.get(run.key) is run and (early := numbering.sequence.pop_due()):
            items += self._pass_on_numbered(run, source, numbering, early.message(), run.first_offset)
        return items

    def _give_up_gap(self, run: OpenRun, name: str, source: OpenSource, numbering: Numbering) -> list[Item]:
        """Stops waiting for what is missing before the first held message, and reports it."""
        items: list[Item] = []
        if gap := numbering.sequence.give_up_gap():
            one = gap.first == gap.last
            missing = f"message {gap.first} never came" if one else f"messages {gap.first} to {gap.last} never came"
            items.append(run.problem(missing, name))
        return items + self._pass_on_due(run, source, numbering)

    def _pass_on(self, key: str, message: Message, reread_from: int, skip: int = 0) -> list[Item]:
        """Passes on a message whose turn it is, piece by piece: each piece may begin a run, or end one.

        The first `skip` bytes are left out; they begin and end no run.
        """
        items: list[Item] = []
        late: list[tuple[int, bytes]] = []
        end = 0
        pieces = self._cutter.pieces(message.text)
        for number, piece in enumerate(pieces):
            end += len(piece.text or b"")
            if self._ended.covers_piece(key, message.record.offset, number):
                continue
            if skip:
                size = len(piece.text or b"")
                piece, skip = Piece((piece.text or b"")[skip:], False, piece.ends), max(0, skip - size)  # noqa: PLW2901
                if not piece.text:
                    continue
            self._note_progress(message, number)
            items += self._end_before(key, piece, message.source)
            run = self._run_of_piece(key, piece, message, reread_from)
            if run is None or run.is_over_for(message):
                late.append((end - len(piece.text or b""), piece.text or b""))
                if run is not None and message.seq is not None:
                    run.sources[message.source].numberings.advance(message)
                continue
            if piece.starts and not run.passed_on:
                # The run was open by messages that are held: it can only be read again with them.
                reread_from = min(reread_from, run.first_offset)
            self._note_progress(message, number + 1 if number + 1 < len(pieces) else None)
            items += self._add(run, message, piece.text)
            if piece.ends and self._open.get(key) is run:
                items += self._apply(Event.END_LINE, run, ending=message.source)
        self._note_progress(message, None)
        items += self._end_source(key, message)
        return items + self._reject_late(message, late, len(pieces))

    def _reject_late(self, message: Message, late: list[tuple[int, bytes]], pieces: int) -> list[Item]:
        """Of text, only the late lines are kept. JSON is kept whole: its lines cannot be cut out of the object."""
        if not any(text for _, text in late):
            return []
        if len(late) < pieces and self._rules.format == "text":
            return [*late_lines_as_dead_letters(message, RUN_ENDED, late)]
        return [*as_dead_letters(message, RUN_ENDED)]

    def _note_progress(self, message: Message, pieces: int | None) -> None:
        """Counts pieces of the message that is being taken; not of one that was held until now, which came earlier."""
        if message.record.offset == self.next_offset - 1:
            self._pieces_taken = pieces

    def _end_before(self, key: str, piece: Piece, source: str) -> list[Item]:
        """Ends the runs before a line that starts one: several, when what the first one held begins others."""
        items: list[Item] = []
        while piece.starts and self._action(Event.START_LINE, key) is Action.END:
            items += self._end(self._open[key], source)
        return items

    def _run_of_piece(self, key: str, piece: Piece, message: Message, reread_from: int) -> OpenRun | None:
        """The run that a piece belongs to, begun if need be; None if the piece comes too late."""
        action = self._action(Event.START_LINE if piece.starts else Event.TEXT, key)
        if action is Action.BEGIN:
            return self._begin(key, message, reread_from)
        return self._open[key] if action is Action.ADD else None

    def _add(self, run: OpenRun, message: Message, text: bytes | None) -> list[Item]:
        items: list[Item] = [*run.add(message, text, self.next_offset - 1)]
        if run.text_bytes >= self._rules.max_run_bytes:
            items += self._apply(Event.BYTE_LIMIT, run)
        return items

    def _end_source(self, key: str, message: Message) -> list[Item]:
        """Ends the open run if its last source ended with this message."""
        run = self._open.get(key)
        if not (run and message.ends_source and message.source in run.sources):
            return []
        run.sources[message.source].ended = True
        if not run.all_ended or (self._rules.end_grace_seconds and not run.complete):
            return []  # there may be a source whose first message has not come yet: see `idle`
        return self._apply(Event.SOURCES_ENDED, run, ending=message.source)

    def _end_as_recorded(self, key: str, before: int) -> list[Item]:
        """Ends runs that are read again as they ended the first time, once their messages before this offset are taken.

        Several, when what the first one held begins another that ended before this offset too.
        """
        items: list[Item] = []
        while (run := self._open.get(key)) and run.recorded and run.recorded.last < before:
            event = Event.RECORDED_CUT if run.recorded.cut else Event.RECORDED_END
            items += self._apply(event, run) + self._assign_carried()
        return items

    def _cut(self, run: OpenRun) -> list[Item]:
        problem = run.problem(f"cut after {run.text_bytes} bytes; what follows is another run", run.first_source)
        return [problem, *self._end(run, cut=True)]

    def _end(self, run: OpenRun, ending: str | None = None, *, cut: bool = False) -> list[Item]:
        """Ends a run. What its sources hold is passed on first, and gaps are reported.

        The source `ending`, whose text or end ended the run, is left out: what it holds comes after the end.
        """
        items: list[Item] = []
        if not run.closing:
            run.closing = True
            items += self._pass_on_held(run, ending)
            if self._open.get(run.key) is not run:
                return items  # an end in what was held has ended it
        del self._open[run.key]
        for source in run.sources.values():
            self._carried += [_Carried(run.key, message, run.first_offset) for message in source.held()]
        items += run.findings()
        if ending is None and not cut:  # by time: neither its sources nor a line ended it
            items += [run.problem(f"the log ends early: the end of {name} was never sent", name) for name in run.unended]
        if run.recorded:
            self._ended.add_again(run.recorded)
        else:
            ended = self._closed_run(run, cut)
            self._ended.add(ended)
            items.append(ended)
        return [*items, RunEnd(run.run_id, run.started, first_offset=run.first_offset)]

    def _pass_on_held(self, run: OpenRun, ending: str | None) -> list[Item]:
        items: list[Item] = []
        for name, source in list(run.sources.items()):
            if name == ending or self._open.get(run.key) is not run:
                continue
            items += self._release_parts(run, name, source)
            for numbering in source.numberings:
                while numbering.sequence.holds_early and self._open.get(run.key) is run:
                    items += self._give_up_gap(run, name, source, numbering)
        return items

    def _closed_run(self, run: OpenRun, cut: bool) -> ClosedRun:
        """What is recorded of the end. If the message being taken goes on after it, `pieces` says how far the run goes."""
        in_message = self._key_taken == run.key and run.last_offset == self.next_offset - 1
        pieces = self._pieces_taken if in_message else None
        return ClosedRun(run.key, run.run_id, run.first_offset, run.last_offset, cut, pieces, run.replayed.highest)
