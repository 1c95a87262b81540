"""Messages of one topic partition in, in order of their offsets; chunks and ends of runs out, and what has to be refused.

A run begins with the first message of its key and is over when all its sources have ended, at an end pattern, at a start
pattern, when nothing came for a time, or at a limit. What is remembered of closed runs (`ClosedRun`) makes reading messages
again safe: a run whose verdict is durable is passed over, another one ends exactly where it ended before.
"""

import json
import math
import re
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from stream_triage.clients.json_fields import LABELS, as_text, look_up
from stream_triage.records import Chunk, ClosedRun, DeadLetter, Problem, Record, RunEnd

__all__ = ["Item", "PartitionRuns", "RunRules", "refused"]

Item = Chunk | Problem | ClosedRun | RunEnd | DeadLetter

MAX_KEY_BYTES = 1024
MAX_SOURCES = 256
MAX_LABELS = 64
MAX_LABEL_CHARACTERS = 1024
# Messages that came before their turn wait for those before them: so many of a source, and to the end of the run. A time
# would not do: read again, they come at another pace.
MAX_EARLY = 256
MAX_EARLY_BYTES = 8 << 20
# Of a source, told one by one; beyond them, lost messages are counted.
MAX_HOLES = 256
# Runs that are over and remembered, of one partition.
MAX_CLOSED = 50_000
# Senders' clocks may be anything; what lies outside is no time of a test run.
FIRST_MS, LAST_MS = 946_684_800_000, 4_102_444_800_000  # 2000-01-01, 2100-01-01


@dataclass(frozen=True)
class RunRules:
    """What a message holds and when a run is over; see the settings of the same names."""

    format: str = "text"
    json_text: str = "message"
    json_source: str = "source"
    json_end: str = "end"
    start_pattern: str | None = None
    end_pattern: str | None = None
    idle_seconds: float = 300.0
    max_run_seconds: float = 86_400.0
    max_run_bytes: int = 4 << 30
    refuse_key: Callable[[str], str | None] = lambda key: None
    """Why runs must not have this key, if so."""


class _Refused(Exception):
    """The message cannot be used; the text says why."""


class _Message(NamedTuple):
    """What the rules make of a record."""

    record: Record
    source: str
    text: bytes | None
    seq: int | None
    end: bool
    labels: dict[str, str]
    labels_cut: bool


@dataclass(slots=True)
class _Source:
    ended: bool = False
    newline_due: bool = False
    first_seq: int | None = 0
    """Where its numbers begin; a run under a used key learns it from the first message."""
    next_seq: int = 0
    early: dict[int, _Message] = field(default_factory=dict)
    early_bytes: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    """First and last number of what never came."""


@dataclass(slots=True)
class _Run:
    key: str
    run_id: str
    first: int
    """From here on a worker must read to come to this run again."""
    last: int
    """The last offset that was taken when something came of it."""
    opened: float
    touched: float
    recorded: ClosedRun | None = None
    """It is read again, and this is how it ended."""
    fed: bool = False
    closing: bool = False
    started_ms: int | None = None
    bytes: int = 0
    lost: int = 0
    """Messages that never came, beyond the holes that are told one by one."""
    sources: dict[str, _Source] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    labels_cut: bool = False


class PartitionRuns:
    """The runs of one partition. `take` gets its messages."""

    def __init__(self, rules: RunRules, closed: Iterable[ClosedRun] = ()) -> None:
        self._rules = rules
        self._start = re.compile(rules.start_pattern) if rules.start_pattern else None
        self._end = re.compile(rules.end_pattern) if rules.end_pattern else None
        self._open: dict[str, _Run] = {}
        self._over: dict[str, list[ClosedRun]] = {}
        self._passed: dict[str, tuple[int, float]] = {}
        self._at: tuple[str, int | None] = "", None
        self._to_reread: dict[str, list[ClosedRun]] = {}
        self._left: deque[tuple[str, _Message, int]] = deque()
        self._read_from: int | None = None
        self._asked_end: tuple[float, int] | None = None
        self._complete_until = -math.inf
        self.next_offset = 0
        # Those that ended at the same place stay in the order in which they did.
        for run in sorted(closed, key=lambda run: run.end):
            self._to_reread.setdefault(run.key, []).append(run)

    @property
    def position(self) -> int:
        """Offset from which a worker must read on once all that came of the messages so far is durable."""
        return min([*(run.first for run in self._open.values()), self.next_offset])

    @property
    def run_ids(self) -> list[str]:
        """Open runs that are being judged."""
        return [run.run_id for run in self._open.values()]

    def take(self, record: Record, now: float) -> list[Item]:
        """What one message brings. `now` is in seconds of a clock that never jumps."""
        if self._read_from is None:
            self._begin_reading(record.offset)
        elif record.offset < self.next_offset:
            return []  # the consumer was set back; this one was taken already
        self.next_offset = record.offset + 1
        try:
            key, message = self._key(record), self._message(record)
        except _Refused as reason:
            return [refused(record, str(reason))]
        if message.text is None and not message.end:
            return []  # a tombstone
        if (record.offset, math.inf) <= self._passed.get(key, (-1, 0)):
            return []  # of a run whose verdict is durable, or refused because of it
        items = self._end_again(key, record.offset, now)  # its last message is not kept any more
        self._at = key, 0
        items += self._place(key, message, record.offset, now)
        items += self._place_left(now)
        self._at = key, None
        return items + self._end_again(key, record.offset + 1, now)

    def read_up_to(self, end_offset: int, asked: float) -> None:
        """Where the partition ended at a time. Once all that is taken, silence until then was silence indeed."""
        if self.next_offset >= end_offset:
            self._complete_until, self._asked_end = max(self._complete_until, asked), None
        elif self._asked_end is None:
            self._asked_end = asked, end_offset
        elif self.next_offset >= self._asked_end[1]:
            self._complete_until, self._asked_end = max(self._complete_until, self._asked_end[0]), None

    def idle(self, now: float) -> list[Item]:
        """Ends runs that have been silent or open for too long."""
        items: list[Item] = []
        for run in list(self._open.values()):
            if run.recorded:
                items += self._end_again(run.key, self.next_offset, now)
            elif self._complete_until - run.touched >= self._rules.idle_seconds:
                items += self._close(run, now)
            elif now - run.opened >= self._rules.max_run_seconds:
                items += self._cut(run, now)
            items += self._place_left(now)
        return items

    def _begin_reading(self, offset: int) -> None:
        """Runs that began before are over, and their verdicts durable: positions never pass the first message of others."""
        self._read_from = offset
        for key in list(self._to_reread):
            over, self._to_reread[key] = _parted(self._to_reread[key], lambda run: run.first < offset)
            for run in over:
                self._remember(run)
                if run.last >= offset:
                    self._passed[key] = run.end
            if not self._to_reread[key]:
                del self._to_reread[key]

    def _key(self, record: Record) -> str:
        if not record.key:
            raise _Refused("no key: the key of a message is the id of its run")
        if len(record.key) > MAX_KEY_BYTES:
            raise _Refused(f"the key is longer than {MAX_KEY_BYTES} bytes")
        try:
            key = record.key.decode()
        except UnicodeDecodeError:
            raise _Refused("the key is not UTF-8") from None
        if not key.isprintable():
            raise _Refused("the key holds control characters")
        if key not in self._open and (reason := self._rules.refuse_key(key)):
            raise _Refused(reason)
        return key

    def _message(self, record: Record) -> _Message:
        labels: dict[str, str] = {}
        for name, raw in record.headers:
            labels.setdefault(name, (raw or b"").decode(errors="replace"))
        seq = _number(labels.pop("seq", None))
        source, end = labels.pop("source", ""), labels.pop("end", "") == "1"
        text = None if end and not record.value else record.value
        if text is not None and self._rules.format == "json":
            fields = _json_object(text)
            text = self._json_text(fields)
            source = source or as_text(look_up(fields, self._rules.json_source))
            end = end or look_up(fields, self._rules.json_end) in (True, 1, "1", "true")
            for name in LABELS:
                if value := as_text(look_up(fields, name)):
                    labels.setdefault(name, value)
            if text is None and not end:
                raise _Refused(f"the JSON object has no field {self._rules.json_text}; kafka.json_text names it")
        if len(source) > MAX_LABEL_CHARACTERS:
            raise _Refused(f"the name of its source is longer than {MAX_LABEL_CHARACTERS} characters")
        kept = (
            {name[:MAX_LABEL_CHARACTERS]: value[:MAX_LABEL_CHARACTERS] for name, value in labels.items()}
            if labels
            else labels
        )
        return _Message(record, source, text, seq, end, kept, kept != labels)

    def _json_text(self, fields: Mapping[str, Any]) -> bytes | None:
        found = look_up(fields, self._rules.json_text)
        if found is None:
            return None
        if not isinstance(found, str):
            raise _Refused(f"the JSON field {self._rules.json_text} is no text")
        return found.encode(errors="replace")

    def _place(self, key: str, message: _Message, held: int, now: float) -> list[Item]:
        """Takes a message into the run of its key, in the order of its source. A run it begins is held from `held` on."""
        run = self._open.get(key) or self._begin(key, message, held, now, starts=False)
        if run is None:
            return self._feed(key, message, held, now)
        run.touched, run.last, run.first = now, self.next_offset - 1, min(run.first, held)
        source = self._source(run, message.source)
        if source is None:
            return [refused(message.record, f"the run has more than {MAX_SOURCES} sources")]
        if message.seq is None:
            return self._feed(key, message, held, now)
        return self._in_order(run, source, message, message.seq, held, now)

    def _place_left(self, now: float) -> list[Item]:
        """What still waited behind the end of a run belongs to the next one, or comes too late."""
        items: list[Item] = []
        while self._left:
            key, message, held = self._left.popleft()
            items += self._place(key, message, held, now)
        return items

    def _begin(self, key: str, message: _Message, held: int, now: float, *, starts: bool) -> _Run | None:
        """The run that text belongs to when none is open under its key; none when its run is over."""
        offset, earlier = message.record.offset, self._over.get(key, [])
        if earlier and not (starts or earlier[-1].cut):
            return None
        run_id = _free_id(key, offset, {run.run_id for run in earlier})
        recorded = next((run for run in self._to_reread.get(key, []) if run.run_id == run_id), None)
        self._open[key] = run = _Run(key, run_id, min(held, offset), self.next_offset - 1, now, now, recorded)
        return run

    def _in_order(self, run: _Run, source: _Source, message: _Message, seq: int, held: int, now: float) -> list[Item]:
        """By sequence number: repeats are dropped, early ones wait."""
        if source.first_seq is None:
            source.first_seq = source.next_seq = seq
        if seq < source.first_seq:
            return [refused(message.record, "by its number it came before the first message of its run")]
        if seq < source.next_seq:
            given_up = any(first <= seq <= last for first, last in source.holes)
            return [refused(message.record, "it came after its place in the run was given up")] if given_up else []
        if seq > source.next_seq:
            return self._wait(run, source, message, seq, now)
        return self._feed(run.key, message, held, now) + self._follow_up(run, source, now)

    def _wait(self, run: _Run, source: _Source, message: _Message, seq: int, now: float) -> list[Item]:
        if seq not in source.early:
            source.early[seq] = message
            source.early_bytes += len(message.text or b"")
        if len(source.early) > MAX_EARLY or source.early_bytes > MAX_EARLY_BYTES:
            return self._release(run, message.source, source, now)
        return []

    def _follow_up(self, run: _Run, source: _Source, now: float) -> list[Item]:
        """What waited for the message just taken."""
        items: list[Item] = []
        while self._open.get(run.key) is run and source.next_seq in source.early:
            message = source.early.pop(source.next_seq)
            source.early_bytes -= len(message.text or b"")
            items += self._feed(run.key, message, run.first, now)
        return items

    def _release(self, run: _Run, name: str, source: _Source, now: float) -> list[Item]:
        """Gives up waiting: what is missing before the next early message is a hole."""
        first, last = source.next_seq, min(source.early) - 1
        source.next_seq = last + 1
        if len(source.holes) >= MAX_HOLES:
            run.lost += last - first + 1
            return self._follow_up(run, source, now)
        source.holes.append((first, last))
        lost = f"message {first} never came" if first == last else f"messages {first} to {last} never came"
        return [_problem(run, lost, name), *self._follow_up(run, source, now)]

    def _feed(self, key: str, message: _Message, held: int, now: float) -> list[Item]:
        """Takes a message whose turn it is, through the boundaries that lie in it."""
        items: list[Item] = []
        late: list[bytes] = []
        pieces = self._pieces(message.text)
        last, over = self._passed.get(key, (-1, 0))
        for number, piece in enumerate(pieces):
            if message.record.offset == last and number < over:
                continue
            if message.record.offset == self.next_offset - 1:
                self._at = key, number
            while piece.starts and (run := self._open.get(key)) and run.fed:
                items += self._close(run, now, ending=message.source)
            run = self._open.get(key) or self._begin(key, message, held, now, starts=piece.starts)
            if run is None:
                late.append(piece.text or b"")
                continue
            if piece.starts and not run.fed:
                held = min(held, run.first)  # it was open, by messages that wait: only with them this is its own start
            if message.record.offset == self.next_offset - 1:
                self._at = key, number + 1 if number + 1 < len(pieces) else None
            items += self._add(run, message, piece.text, now)
            if piece.ends and self._open.get(key) is run:
                items += self._close(run, now, ending=message.source)
        if message.record.offset == self.next_offset - 1:
            self._at = key, None
        run = self._open.get(key)
        if run and message.end and message.source in run.sources:
            run.sources[message.source].ended = True
            if all(source.ended for source in run.sources.values()):
                items += self._close(run, now, ending=message.source)
        if any(late):
            # In JSON, lines cannot be told apart from what stands around them.
            partly = len(late) < len(pieces) and self._rules.format == "text"
            items.append(refused(message.record, "its run is over", b"".join(late) if partly else None))
        return items

    def _pieces(self, text: bytes | None) -> list["_Piece"]:
        """The text, cut before lines that start a run and behind lines that end one."""
        if text is None or not (self._start or self._end):
            return [_Piece(text, False, False)]
        return list(self._cut_pieces(text))

    def _cut_pieces(self, text: bytes) -> Iterator["_Piece"]:
        lines: list[bytes] = []
        starts = False
        for line in text.splitlines(keepends=True) or [b""]:
            shown = line.rstrip(b"\r\n").decode(errors="replace")
            if self._start and self._start.search(shown):
                if lines:
                    yield _Piece(b"".join(lines), starts, False)
                lines, starts = [], True
            lines.append(line)
            if self._end and self._end.search(shown):
                yield _Piece(b"".join(lines), starts, True)
                lines, starts = [], False
        if lines:
            yield _Piece(b"".join(lines), starts, False)

    def _source(self, run: _Run, name: str) -> _Source | None:
        if name not in run.sources:
            if len(run.sources) >= MAX_SOURCES:
                return None
            # A sender may count on over the runs of one key; the first one begins with 0.
            run.sources[name] = _Source(first_seq=0 if run.run_id == run.key else None)
        return run.sources[name]

    def _add(self, run: _Run, message: _Message, text: bytes | None, now: float) -> list[Item]:
        run.fed, run.last = True, self.next_offset - 1
        source = self._source(run, message.source)
        assert source is not None  # the run has it by now, or is too new to have many
        if message.seq is not None:
            source.first_seq = message.seq if source.first_seq is None else source.first_seq
            source.next_seq = message.seq + 1
        if FIRST_MS <= message.record.timestamp_ms < LAST_MS:
            run.started_ms = min(run.started_ms or LAST_MS, message.record.timestamp_ms)
        data = b""
        if text is not None:
            # A message holds whole lines, the last one with or without its line end.
            data = b"\n" + text if source.newline_due else text
            source.newline_due = not text.endswith((b"\n", b"\r"))
            run.bytes += len(data)
        labels, problems = self._new_labels(run, message)
        items: list[Item] = [Chunk(run.run_id, data, message.source, labels), *problems]
        full = run.bytes >= self._rules.max_run_bytes and not run.closing
        return items + self._cut(run, now) if full else items

    def _new_labels(self, run: _Run, message: _Message) -> tuple[dict[str, str], list[Item]]:
        """Those that the run has not had, as long as it has room for more."""
        if not message.labels:
            return {}, []
        new = {name: value for name, value in message.labels.items() if name not in run.labels}
        kept = dict(list(new.items())[: MAX_LABELS - len(run.labels)])
        run.labels.update(kept)
        if run.labels_cut or not (message.labels_cut or len(kept) < len(new)):
            return kept, []
        run.labels_cut = True
        return kept, [_problem(run, f"labels beyond {MAX_LABELS}, or longer ones, were cut off", message.source)]

    def _cut(self, run: _Run, now: float) -> list[Item]:
        problem = _problem(run, f"cut after {run.bytes} bytes; its rest is a run of its own", next(iter(run.sources), ""))
        return [problem, *self._close(run, now, cut=True)]

    def _end_again(self, key: str, offset: int, now: float) -> list[Item]:
        """Ends a run as it was ended before, once all its messages before this offset are taken."""
        run = self._open.get(key)
        if not (run and run.recorded and run.recorded.last < offset):
            return []
        return (self._cut(run, now) if run.recorded.cut else self._close(run, now)) + self._place_left(now)

    def _close(self, run: _Run, now: float, *, ending: str | None = None, cut: bool = False) -> list[Item]:
        """Ends a run. What waits in its sources is taken first, holes counted, but for the source that `ending` names:

        there it lies behind the end.
        """
        items: list[Item] = []
        if not run.closing:
            run.closing = True
            for name, source in list(run.sources.items()):
                while name != ending and source.early and self._open.get(run.key) is run:
                    items += self._release(run, name, source, now)
            if self._open.get(run.key) is not run:
                return items  # it ended by what had waited
        del self._open[run.key]
        for source in run.sources.values():
            self._left += [(run.key, message, run.first) for _, message in sorted(source.early.items())]
        key, pieces = self._at
        behind = pieces if key == run.key and run.last == self.next_offset - 1 else None
        over = run.recorded or ClosedRun(run.key, run.run_id, run.first, run.last, cut, behind)
        self._remember(over)
        if run.recorded:
            self._to_reread[run.key].remove(run.recorded)
        if run.lost:
            items.append(_problem(run, f"{run.lost} more messages never came", next(iter(run.sources), "")))
        started = datetime.fromtimestamp(run.started_ms / 1000, UTC) if run.started_ms is not None else None
        return [*items, *([] if run.recorded else [over]), RunEnd(run.run_id, started)]

    def _remember(self, run: ClosedRun) -> None:
        """The last run of its key, and those that share messages with it."""
        alike = [known for known in self._over.pop(run.key, []) if known.last >= run.first]
        self._over[run.key] = [*alike, run]
        if len(self._over) > MAX_CLOSED:
            del self._over[next(iter(self._over))]


class _Piece(NamedTuple):
    """Text between two boundaries, which lines of it may be themselves."""

    text: bytes | None
    starts: bool
    ends: bool


def _problem(run: _Run, reason: str, source: str) -> Problem:
    return Problem(run.run_id, reason, run.run_id, source, error=False)


def refused(record: Record, reason: str, value: bytes | None = None) -> DeadLetter:
    """The message as a dead letter; `value` is the part of it that is meant, if not all."""
    origin = f"{record.topic}/{record.partition}/{record.offset}"
    return DeadLetter("message", reason, origin, record.key, record.value if value is None else value, record.headers)


def _free_id(key: str, offset: int, taken: Container[str]) -> str:
    """The key itself, or with the offset of its first message where it was used, or with a number too.

    >>> _free_id("a", 7, []), _free_id("a", 7, ["a"]), _free_id("a", 7, ["a", "a@7"])
    ('a', 'a@7', 'a@7.1')
    """
    if not taken:
        return key
    number, run_id = 0, f"{key}@{offset}"
    while run_id in taken:
        number += 1
        run_id = f"{key}@{offset}.{number}"
    return run_id


def _parted(runs: Iterable[ClosedRun], keeps: Callable[[ClosedRun], bool]) -> tuple[list[ClosedRun], list[ClosedRun]]:
    kept: list[ClosedRun] = []
    rest: list[ClosedRun] = []
    for run in runs:
        (kept if keeps(run) else rest).append(run)
    return kept, rest


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _Refused("the header seq is no number from 0 on")
    return int(text)


def _json_object(text: bytes) -> Mapping[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        raise _Refused("the message is not JSON; kafka.format says it should be") from None
    if not isinstance(fields, dict):
        raise _Refused("the message is no JSON object")
    return fields
