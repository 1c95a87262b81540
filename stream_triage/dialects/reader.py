"""One masked line in, its signal out: what it says about procedures, in whichever dialect it is written.

A signal depends on the masked line alone, so it is computed once for all equal lines. UE ids and values, which masking
removes, are read later from the line itself.
"""

import math
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple
from zlib import crc32

from stream_triage.dialects.table import LAYERS, STEPS, DialectTable, ProcedureTable, packaged_dialects, procedures
from stream_triage.dialects.words import PhraseIndex, words_of
from stream_triage.errors import SettingsError

__all__ = ["Continued", "Dialect", "Dialects", "Event", "Signal"]

_COLUMNS: Final = re.compile(r"\s*(?:\[[A-Za-z][^\]]*\]\s*){2,}")
_ROW: Final = re.compile(r"\s*(?:(?:<num[^>]*>|\d+(?:\.\d+)?)(?:\s+|$)){2,}")
_NUMBER: Final = re.compile(r"<num[^>]*>")
# Bounded, as names of columns are: a line may be one word of 64 KiB.
_PAIR: Final = re.compile(r"[A-Za-z][\w ()/-]{0,80}[:=]\s*(?:<num|\d)")


class Event(NamedTuple):
    """A step of a procedure, by their indexes in `Dialects.procedure_names` and `STEPS`."""

    procedure: int
    step: int


class Continued(NamedTuple):
    """What a line that begins no record is, if the record above it is of this dialect."""

    dialect: int
    plain: Event | None = None
    """An event of its own."""
    bodies: tuple[tuple[Event, Event], ...] = ()
    """What it makes of the event of its record: from which, to which."""
    heading: str = ""
    """The table that begins here."""


class Signal(NamedTuple):
    """What a masked line says about procedures."""

    dialect: int = -1
    """Index of the dialect whose record begins here; -1 for a line that begins none."""
    layer: int = -1
    """Index in `LAYERS` of the module that wrote the record."""
    event: Event | None = None
    trouble: bool = False
    """Its words, or its log level, say that something is wrong."""
    kind: int = 0
    """Hash of its words; equal for lines that differ in numbers and punctuation alone."""
    counter: str = ""
    """The value that ends the record."""
    readings: tuple[str, ...] = ()
    """Values that the record states."""
    sets_up: bool = False
    """A command that sets up UEs."""
    continued: tuple[Continued, ...] = ()
    continues: int = 0
    """Bit n is set if it continues a record of dialect n."""
    cells: Literal["", "columns", "row", "pairs"] = ""
    """How it is part of a table."""


class Record(NamedTuple):
    """What the beginning of a record says."""

    message: str
    layer: int
    """Index in `LAYERS`; -1 for a module that is not listed, such as a command."""
    alarming: bool
    """Whether its log level means trouble."""
    module: str


class Dialect:
    """One table, ready to read lines."""

    def __init__(self, table: DialectTable, known: ProcedureTable) -> None:
        self.table = table
        self.records = [re.compile(pattern) for pattern in table.records]
        self.continued = re.compile(table.continued)
        self.entities = [re.compile(pattern) for pattern in table.entities]
        names = list(known.procedures)

        def event(text: str) -> Event:
            procedure, step = known.split(text)
            return Event(names.index(procedure), STEPS.index(step))

        self._events = [event(text) for text in table.events]
        self._event_index = _index(table.events.values())
        self._commands = [event(text) for text in table.commands]
        self._command_index = _index(table.commands.values())
        self._plain = [event(text) for text in table.plain]
        self._plain_index = _index(table.plain.values())
        bodies = [(event(of), event(to), phrases) for of, body in table.bodies.items() for to, phrases in body.items()]
        self._bodies = [(of, to) for of, to, _ in bodies]
        self._body_index = _index(phrases for *_, phrases in bodies)
        self._headings = list(table.tables)
        self._heading_index = _index([heading] for heading in table.tables)
        self._counters = list(table.counters)
        self._counter_index = _index(table.counters.values())
        self._readings = {name: re.compile(pattern) for name, pattern in table.readings.items()}
        self.sets_up = [re.compile(pattern) for pattern in table.sets_up]
        self._harmless = _index([(*known.harmless, *table.harmless)])
        self.shown = frozenset(names.index(name) for name in table.shows)

    def record(self, masked: str) -> Record | None:
        """The record that a line begins; None if it begins none."""
        for pattern in self.records:
            if match := pattern.match(masked):
                groups = match.groupdict()
                module = " ".join(words_of(groups.get("module") or "").split())
                layer = self.table.modules.get(module)
                level = (groups.get("level") or groups.get("level2") or "").strip().lower()
                if layer is None:  # a command is worded from its first word on
                    start = match.start("module") if groups.get("module") else 0
                    return Record(masked[start:], -1, level in self.table.levels, module)
                return Record(masked[match.end() :], LAYERS.index(layer), level in self.table.levels, module)
        return None

    def event(self, words: str, layer: int) -> Event | None:
        """The event of a record; of several, the one that comes first in the table."""
        if layer < 0:
            return _first(self._command_index.matches(words), self._commands)
        return _first(self._event_index.matches(words), self._events)

    def counter(self, words: str) -> str:
        """The value that a record ends in."""
        found = min(self._counter_index.matches(words), default=-1)
        return self._counters[found] if found >= 0 else ""

    def stated(self, masked: str) -> tuple[str, ...]:
        """Values that a record states; the patterns are for the raw line, whose numbers masking has replaced."""
        return tuple(name for name, pattern in self._readings.items() if pattern.search(_NUMBER.sub("0.5", masked)))

    def value(self, name: str, line: str) -> float | None:
        """The value of that name in the raw line of a record; None if it states no number."""
        match = self._readings[name].search(line)
        try:
            value = float(match[1]) if match else math.nan
        except (TypeError, ValueError):  # the group has no part in the match, or holds no number
            return None
        return value if math.isfinite(value) else None

    def sets_up_ues(self, masked: str) -> bool:
        """Whether a command sets up UEs; as for `stated`, the patterns are for the raw line."""
        return any(pattern.search(_NUMBER.sub("0", masked)) for pattern in self.sets_up)

    def harmless(self, words: str) -> bool:
        """Whether a record is no trouble, whatever its words say."""
        return next(self._harmless.matches(words), -1) >= 0

    def read_continued(self, number: int, masked: str, words: str) -> Continued | None:
        """What a line that begins no record is in this dialect; None if it says nothing."""
        continues = self.continued.match(masked) is not None
        plain = None
        if not continues:
            plain = _first(self._plain_index.matches(words), self._plain) or self.event(words, -1)
        bodies = tuple(self._bodies[i] for i in sorted(set(self._body_index.matches(words)))) if continues else ()
        heading = min(self._heading_index.matches(words), default=-1) if continues else -1
        if plain is None and not bodies and heading < 0:
            return None
        return Continued(number, plain, bodies, self._headings[heading] if heading >= 0 else "")


class Dialects:
    """All dialects that lines may be written in.

    A user's `own` come first, and replace those of the package that have the same name. Procedures that they define come
    behind those of the package.

    Raises:
        SettingsError: Two of them define a procedure differently.
    """

    def __init__(self, own: Sequence[DialectTable] = ()) -> None:
        self.procedures = procedures()
        for table in own:
            try:
                self.procedures = self.procedures.extended(table.procedures)
            except ValueError as error:
                raise SettingsError(f"dialect {table.name}: {error}") from None
        self.procedure_names = list(self.procedures.procedures)
        names = {table.name for table in own}
        packaged = (table for table in packaged_dialects() if table.name not in names)
        self.dialects = [Dialect(table, self.procedures) for table in (*own, *packaged)]
        self._trouble = _index([self.procedures.trouble])

    def read(self, masked: str, usual: Container[int] = frozenset()) -> Signal | None:
        """The signal of one masked line; None if it says nothing. Records whose kind is `usual` are no trouble.

        >>> dialects = Dialects()
        >>> signal = dialects.read("<time> I: CMPI L2 Random Access Complete :UE Id:<num:e0> (TC-RNTI: <hex>)")
        >>> dialects.name(signal.event)
        'random access completed'
        >>> dialects.read("<time> I: CMPI L2 RLC: t-PollRetransmit expired: UE Id: <num:e0>, POLL_SN <num:e2>").trouble
        True
        """
        for number, dialect in enumerate(self.dialects):
            if record := dialect.record(masked):
                return self._record(number, record, usual)
        return self._continued(masked, usual)

    def name(self, event: Event) -> str:
        """Procedure and step of an event, as in the tables."""
        return f"{self.procedure_names[event.procedure]} {STEPS[event.step]}"

    def _record(self, number: int, record: Record, usual: Container[int]) -> Signal:
        dialect, (message, layer, alarming, _) = self.dialects[number], record
        words = words_of(message)
        event, kind = dialect.event(words, layer), _kind(words)
        counter = dialect.counter(words) if event is None else ""
        trouble = event is None and not counter and kind not in usual
        trouble = trouble and (alarming or (layer >= 0 and self.troubling(words))) and not dialect.harmless(words)
        stated = dialect.stated(message) if layer >= 0 else ()
        return Signal(number, layer, event, trouble, kind, counter, stated, layer < 0 and dialect.sets_up_ues(message))

    def _continued(self, masked: str, usual: Container[int]) -> Signal | None:
        words = words_of(masked)
        read = (dialect.read_continued(number, masked, words) for number, dialect in enumerate(self.dialects))
        continued = tuple(one for one in read if one)
        cells = _cells(masked)
        kind = _kind(words)
        trouble = not cells and kind not in usual and self.troubling(words)
        if not (continued or cells or trouble):
            return None
        continues = sum(1 << number for number, dialect in enumerate(self.dialects) if dialect.continued.match(masked))
        return Signal(trouble=trouble, kind=kind, continued=continued, continues=continues, cells=cells)

    def troubling(self, words: str) -> bool:
        """Whether words of any dialect's record say that something is wrong."""
        return next(self._trouble.matches(words), -1) >= 0


def _index(groups: Iterable[Iterable[str]]) -> PhraseIndex:
    return PhraseIndex((phrase, number) for number, phrases in enumerate(groups) for phrase in phrases)


def _first(numbers: Iterator[int], events: Sequence[Event]) -> Event | None:
    number = min(numbers, default=-1)
    return events[number] if number >= 0 else None


def _kind(words: str) -> int:
    return crc32(" ".join(word for word in words.split() if not word[0].isdigit() and word != "#").encode())


def _cells(masked: str) -> Literal["", "columns", "row", "pairs"]:
    if _COLUMNS.fullmatch(masked):
        return "columns"
    if _ROW.fullmatch(masked):
        return "row"
    return "pairs" if _PAIR.search(masked) else ""
