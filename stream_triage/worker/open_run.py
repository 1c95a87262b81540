"""One open run: its pieces of messages go in, chunks with the headers that are new come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stream_triage.records import Chunk, ClosedRun, Problem, Repeats
from stream_triage.stages.decode import missing_line_end
from stream_triage.worker.messages import FIRST_MS, LAST_MS, MAX_HEADER_CHARACTERS, MAX_HEADERS, MAX_SOURCES, Message
from stream_triage.worker.numberings import MAX_NUMBERINGS, Numberings
from stream_triage.worker.parts import Parts
from stream_triage.worker.replayed import ReplayedOrigins

__all__ = ["OpenRun", "OpenSource"]

# Doubts about what messages mean that one verdict lists.
MAX_DOUBTS = 16


@dataclass(slots=True)
class OpenSource:
    """One source of an open run."""

    numberings: Numberings
    parts: Parts = field(default_factory=Parts)
    ended: bool = False
    numbered: bool = False
    """Its sender numbers the messages. Such a sender also sends the end of a source."""
    line_end_due: bytes = b""
    """The line end that its last message lacked. A message holds whole lines, so the next one begins a new line."""

    def held(self) -> list[Message]:
        """Messages, and parts of messages, that wait for others."""
        return [*self.numberings.held(), *self.parts.held()]

    @property
    def early_bytes(self) -> int:
        """Size of what waits."""
        return self.numberings.early_bytes + self.parts.bytes

    def findings(self) -> list[tuple[str, bool]]:
        """What the verdict must say about the numbers of this source, and whether it is a reason for a review."""
        numberings, found = self.numberings, []
        if restarts := numberings.restarts:
            times = "once" if restarts == 1 else f"{restarts} times"
            often = restarts >= MAX_NUMBERINGS
            advice = "; the header seq must count the messages of a source" if often else ""
            found.append((f"its messages were numbered anew {times}{advice}", often))
        if numberings.text_may_be_doubled:
            found.append(("numbers came again with other text: some lines may have come twice", True))
        if numberings.mixed:
            found.append(("messages of two numberings came mixed: the order of the lines is not certain", True))
        if numberings.uncompared:
            dropped = f"{numberings.uncompared} messages were dropped because their numbers came before"
            found.append((f"{dropped}; their text could not be compared any more", True))
        return found


@dataclass(slots=True)
class OpenRun:
    """What a worker keeps of a run until it ends; of its text, only how long it is."""

    key: str
    run_id: str
    first_offset: int
    """From here on a worker must read to get this run again."""
    last_offset: int
    """Of the message that was being taken when something was last added to the run."""
    opened: float
    last_message: float
    """When a message of it came last, as `opened` by a clock that never jumps."""
    recorded: ClosedRun | None = None
    """Where it ended the first time, if it is read again."""
    passed_on: bool = False
    """Something of it was passed on; until then all its messages came early and are held."""
    closing: bool = False
    """Its end is decided, and what it holds is being passed on."""
    started_ms: int | None = None
    text_bytes: int = 0
    """As passed on, line ends that were missing included."""
    sources: dict[str, OpenSource] = field(default_factory=dict)
    headers: set[str] = field(default_factory=set)
    headers_cut: bool = False
    """That headers were cut off was reported."""
    doubts: set[str] = field(default_factory=set)
    """What messages may have meant otherwise, each reported once."""
    source_count: int = 0
    """How many sources the run has by what its senders say; 0 if none says so."""
    rejected: dict[str, int] = field(default_factory=dict)
    """By reason, messages that were rejected while the run was open."""
    replayed: ReplayedOrigins = field(default_factory=ReplayedOrigins)

    @property
    def first_source(self) -> str:
        """The one that a problem of the whole run is reported for; a problem must have one."""
        return next(iter(self.sources), "")

    @property
    def started(self) -> datetime | None:
        """The lowest time that its messages carry; None if none carries a time of a test run."""
        return None if self.started_ms is None else datetime.fromtimestamp(self.started_ms / 1000, UTC)

    @property
    def missing_unlisted(self) -> int:
        """Messages that never came, beyond the gaps that were reported one by one."""
        return sum(source.numberings.unlisted for source in self.sources.values())

    @property
    def early_bytes(self) -> int:
        """Size of the messages that are held, over all sources."""
        return sum(source.early_bytes for source in self.sources.values())

    @property
    def unended(self) -> list[str]:
        """Sources whose end certainly never came: their senders number messages, and another one of them sent an end.

        A source without numbers may come from a sender that never sends an end, and so may a run without any.
        """
        numbered = {name: source for name, source in self.sources.items() if source.numbered}
        if not any(source.ended for source in numbered.values()):
            return []
        return [name for name, source in numbered.items() if not source.ended]

    def source(self, name: str) -> OpenSource | None:
        """The source of this name, new if need be; None if the run has `MAX_SOURCES` others."""
        if name not in self.sources:
            if len(self.sources) >= MAX_SOURCES:
                return None
            # The first run of a key begins with number 0. For a later one the sender may have counted on.
            self.sources[name] = OpenSource(Numberings(0 if self.run_id == self.key else None))
        return self.sources[name]

    @property
    def all_ended(self) -> bool:
        """Whether all its sources that were seen have ended."""
        return bool(self.sources) and all(source.ended for source in self.sources.values())

    @property
    def complete(self) -> bool:
        """Whether all its sources have ended, and it has no others by what its senders say."""
        return self.all_ended and 0 < self.source_count <= len(self.sources)

    def is_over_for(self, message: Message) -> bool:
        """Whether its text comes too late: all sources have ended, and only others may still join the run."""
        source = self.sources.get(message.source)
        return source is not None and source.ended and message.text is not None and self.all_ended

    def problem(self, reason: str, source: str) -> Problem:
        """Damage of this run, for its verdict."""
        return Problem(self.run_id, reason, self.run_id, source, error=False)

    def note(self, text: str, source: str) -> Problem:
        """Something that the verdict says and that is no reason for a review."""
        return Problem(self.run_id, text, self.run_id, source, error=False, note=True)

    def findings(self) -> list[Problem | Repeats]:
        """What is known at its end: repeats, new numberings and rejected messages."""
        found: list[Problem | Repeats] = []
        for name, source in self.sources.items():
            messages = source.numberings.repeated_messages + source.parts.repeated_messages
            size = source.numberings.repeated_bytes + source.parts.repeated_bytes
            if messages or size:
                found.append(Repeats(self.run_id, name, messages, size))
            found += [(self.problem if doubt else self.note)(text, name) for text, doubt in source.findings()]
        for reason, count in self.rejected.items():
            messages_were = "1 message was" if count == 1 else f"{count} messages were"
            found.append(self.problem(f"{messages_were} rejected: {reason}", self.first_source))
        if self.missing_unlisted:
            found.append(self.problem(f"{self.missing_unlisted} more messages never came", self.first_source))
        return found

    def add(self, message: Message, text: bytes | None, offset: int) -> list[Chunk | Problem]:
        """Adds a piece of a message while the message at `offset` is taken: its chunk, and what was cut off."""
        self.passed_on, self.last_offset = True, offset
        source = self.source(message.source)
        assert source is not None  # the message was rejected before if its source was one too many
        if message.origin or message.parts:
            for origin in message.origins:
                self.replayed.add(origin)
        if message.seq is not None:
            source.numbered = True
            source.numberings.advance(message)
            if text is not None:
                source.numberings.lines.add(text)
        if FIRST_MS <= message.record.timestamp_ms < LAST_MS:
            self.started_ms = min(self.started_ms or LAST_MS, message.record.timestamp_ms)
        data = b""
        if text is not None:
            data = source.line_end_due + text
            source.line_end_due = missing_line_end(text) or (b"" if text else b"\n")
            self.text_bytes += len(data)
        headers, problems = self._new_headers(message)
        if message.doubt and message.doubt not in self.doubts and len(self.doubts) < MAX_DOUBTS:
            self.doubts.add(message.doubt)
            problems.append(self.problem(message.doubt, message.source))
        return [Chunk(self.run_id, data, message.source, headers), *problems]

    def _new_headers(self, message: Message) -> tuple[Mapping[str, str], list[Problem]]:
        """Headers that the run has not had, as long as it has room for more; that some do not fit is reported once."""
        if not message.headers:
            return {}, []
        new = {name: value for name, value in message.headers.items() if name not in self.headers}
        kept = dict(list(new.items())[: MAX_HEADERS - len(self.headers)])
        self.headers.update(kept)
        if self.headers_cut or not (message.headers_cut or len(kept) < len(new)):
            return kept, []
        self.headers_cut = True
        limits = f"more than {MAX_HEADERS} headers, or one of more than {MAX_HEADER_CHARACTERS} characters"
        return kept, [self.note(f"{limits}: the rest was cut off", message.source)]
