"""One open run: its pieces of messages go in, chunks with the headers that are new come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stream_triage.records import Chunk, ClosedRun, Problem
from stream_triage.stages.decode import missing_line_end
from stream_triage.worker.messages import FIRST_MS, LAST_MS, MAX_HEADER_CHARACTERS, MAX_HEADERS, MAX_SOURCES, Message
from stream_triage.worker.replayed import ReplayedOrigins
from stream_triage.worker.sequence import SourceSequence

__all__ = ["OpenRun", "OpenSource"]


@dataclass(slots=True)
class OpenSource:
    """One source of an open run."""

    sequence: SourceSequence[Message]
    ended: bool = False
    numbered: bool = False
    """Its sender numbers the messages. Such a sender also sends the end of a source."""
    line_end_due: bytes = b""
    """The line end that its last message lacked. A message holds whole lines, so the next one begins a new line."""


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
        return sum(source.sequence.unlisted for source in self.sources.values())

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
            self.sources[name] = OpenSource(SourceSequence(0 if self.run_id == self.key else None))
        return self.sources[name]

    def problem(self, reason: str, source: str) -> Problem:
        """Damage of this run, for its verdict."""
        return Problem(self.run_id, reason, self.run_id, source, error=False)

    def add(self, message: Message, text: bytes | None, offset: int) -> list[Chunk | Problem]:
        """Adds a piece of a message while the message at `offset` is taken: its chunk, and what was cut off."""
        self.passed_on, self.last_offset = True, offset
        source = self.source(message.source)
        assert source is not None  # the message was rejected before if its source was one too many
        if message.origin:
            self.replayed.add(message.origin)
        if message.seq is not None:
            source.numbered = True
            source.sequence.advance(message.seq)
        if FIRST_MS <= message.record.timestamp_ms < LAST_MS:
            self.started_ms = min(self.started_ms or LAST_MS, message.record.timestamp_ms)
        data = b""
        if text is not None:
            data = source.line_end_due + text
            source.line_end_due = missing_line_end(text) or (b"" if text else b"\n")
            self.text_bytes += len(data)
        headers, problems = self._new_headers(message)
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
        return kept, [self.problem(f"{limits}: the rest was cut off", message.source)]
