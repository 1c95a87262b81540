"""One masked line in, its signal out: what it says about procedures, in whichever dialect it is written.

A signal depends on the masked line alone, so it is computed once for all equal lines. UE ids and values, which masking
removes, are read later from the line itself.
"""

import math
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple
from zlib import crc32

from stream_triage.dialects.table import LAYERS, STEPS, DialectTable, ProcedureTable, packaged_dialects, procedures
from stream_triage.dialects.trouble import Trouble, without_flags
from stream_triage.dialects.words import PhraseIndex, spellings_of, words_of
from stream_triage.errors import SettingsError

__all__ = ["Column", "Continued", "Dialect", "Dialects", "Event", "Signal", "kind_of"]

_COLUMNS: Final = re.compile(r"\s*(?:\[[A-Za-z][^\]]*\]\s*){2,}")
_ROW: Final = re.compile(r"\s*(?:(?:<num[^>]*>|\d+(?:\.\d+)?)(?:\s+|$)){2,}")
_TESTER: Final = LAYERS.index("tester")
_NUMBER: Final = re.compile(r"<num[^>]*>")
# Log levels of records that report what is usual.
_CALM: Final = frozenset(("d", "dbg", "debug", "i", "inf", "info", "n", "notice", "t", "trace", "v", "verbose"))
# Bounded, as names of columns are: a line may be one word of 64 KiB.
_PAIR: Final = re.compile(r"[A-Za-z][\w ()/-]{0,80}[:=]\s*(?:<num|\d)")


class Event(NamedTuple):
    """A step of a procedure, by their indexes in `Dialects.procedure_names` and `STEPS`."""

    procedure: int
    step: int


class Column(NamedTuple):
    """A value of a table, names of the column that states it, and of the one that it is divided by (empty: none)."""

    value: str
    names: tuple[str, ...]
    divisors: tuple[str, ...]
    pair: re.Pattern[str]
    """Where a row of pairs states it."""
    divisor_pair: re.Pattern[str]


class Continued(NamedTuple):
    """What a line that begins no record is, if the record above it is of this dialect."""

    dialect: int
    plain: Event | None = None
    """An event of its own."""
    bodies: tuple[tuple[Event, Event], ...] = ()
    """What it makes of the event of its record: from which, to which."""
    heading: str = ""
    """The table that begins here."""


class Said(NamedTuple):
    """What the phrases of a record say: its event, the value that it ends in, those that it states, and trouble."""

    event: Event | None
    counter: str
    readings: tuple[str, ...]
    troubling: bool
    harmless: bool
    """Whether it is no trouble although its words say so."""


class Signal(NamedTuple):
    """What a masked line says about procedures."""

    dialect: int = -1
    """Index of the dialect whose record begins here; -1 for a line that begins none."""
    layer: int = -1
    """Index in `LAYERS` of the module that wrote the record."""
    event: Event | None = None
    trouble: bool = False
    """Its words, or its log level, say that something is wrong."""
    counted: bool = False
    """All that sounds like trouble are counters: it is none if they are at zero (`Dialects.is_zero`)."""
    kind: int = 0
    """Hash of its words; equal for lines that differ in numbers and punctuation alone."""
    counter: str = ""
    """The value that ends the record."""
    readings: tuple[str, ...] = ()
    """Values that the record states."""
    sets_up: bool = False
    """A command that sets up UEs."""
    quiet: bool = False
    """A record that says nothing but of which module it is."""
    continued: tuple[Continued, ...] = ()
    continues: int = 0
    """Bit n is set if it continues a record of dialect n."""
    cells: Literal["", "columns", "row", "pairs"] = ""
    """How it is part of a table."""
    columns: frozenset[str] = frozenset()
    """Columns that it names, if it has names and numbers in pairs."""
    heard: bool = False
    """It is written in no dialect, and was read by the words of 3GPP (`lexicon.py`)."""
    telling: bool = False
    """Heard, and it has a word that only logs of 3GPP systems have."""
    calm: bool = False
    """By its log level, nothing is wrong."""


class Record(NamedTuple):
    """What the beginning of a record says."""

    message: str
    layer: int
    """Index in `LAYERS`; -1 for a module that is not listed, such as a command."""
    alarming: bool
    """Whether its log level means trouble."""
    module: str
    calm: bool = False
    """Whether its log level says that nothing is wrong."""


class Dialect:
    """One table, ready to read lines."""

    def __init__(self, table: DialectTable, known: ProcedureTable, trouble: Trouble) -> None:
        self.table = table
        self._trouble = trouble
        self.records = [re.compile(pattern, re.IGNORECASE) for pattern in table.records]
        self.continued = re.compile(table.continued)
        self.entities = [re.compile(pattern) for pattern in table.entities]
        names = list(known.procedures)

        def event(text: str) -> Event:
            procedure, step = known.split(text)
            return Event(names.index(procedure), STEPS.index(step))

        self._events = [event(text) for text in table.events]
        self._commands = [event(text) for text in table.commands]
        self._counters = list(table.counters)
        # One pass over the words of a record finds all that its phrases say.
        self._index = PhraseIndex(
            [
                *_phrases("event", table.events.values()),
                *_phrases("command", table.commands.values()),
                *_phrases("counter", table.counters.values()),
                *_phrases("reading", [[reading.phrase] for reading in table.readings.values()]),
                *_phrases("harmless", [(*known.harmless, *table.harmless)]),
                *trouble.phrases(of_records=True),
            ]
        )
        self.plain = [*(event(text) for text in table.plain), *self._commands]
        bodies = [(event(of), event(to), phrases) for of, body in table.bodies.items() for to, phrases in body.items()]
        self.bodies = [(of, to) for of, to, _ in bodies]
        self.headings = list(table.tables)
        # The same for lines that begin no record.
        self.continued_phrases = [
            *_phrases("plain", [*table.plain.values(), *table.commands.values()]),
            *_phrases("body", [phrases for *_, phrases in bodies]),
            *_phrases("heading", [[heading] for heading in table.tables]),
        ]
        self.columns = {heading: _columns(values) for heading, values in table.tables.items()}
        self._readings = {name: re.compile(reading.pattern) for name, reading in table.readings.items()}
        self._reading_names = list(self._readings)
        self.sets_up = [re.compile(pattern) for pattern in table.sets_up]
        self.shown = frozenset(names.index(name) for name in table.shows)

    def record(self, masked: str) -> Record | None:
        """The record that a line begins; None if it begins none."""
        for pattern in self.records:
            if match := pattern.match(masked):
                groups = match.groupdict()
                module = " ".join(words_of(groups.get("module") or "").split())
                layer = self.table.modules.get(module)
                level = (groups.get("level") or groups.get("level2") or "").strip().lower()
                calm = level in _CALM
                if layer is None:  # a command is worded from its first word on
                    start = match.start("module") if groups.get("module") else 0
                    return Record(masked[start:], -1, level in self.table.levels, module, calm)
                return Record(masked[match.end() :], LAYERS.index(layer), level in self.table.levels, module, calm)
        return None

    def says(self, message: str, spellings: Sequence[str], layer: int) -> Said:
        """What a record says by its phrases; `layer` is that of its module, `spellings` are those of the message."""
        first: dict[str, int] = {}
        readings: set[int] = set()
        troubling = False
        for place, words in enumerate(spellings):
            for kind, number in self._index.matches(words):
                if kind == "reading":
                    readings.add(number)
                elif kind == "trouble":
                    troubling = troubling or self._trouble.is_said(
                        number, words, second=place > 0, of_tester=layer == _TESTER
                    )
                elif number < first.get(kind, number + 1):
                    first[kind] = number
        kind, events = ("command", self._commands) if layer < 0 else ("event", self._events)
        event = events[first[kind]] if kind in first else None
        counter = self._counters[first["counter"]] if event is None and "counter" in first else ""
        stated = self._stated(message, readings) if readings and layer >= 0 else ()
        return Said(event, counter, stated, troubling, "harmless" in first)

    def _stated(self, masked: str, readings: Iterable[int]) -> tuple[str, ...]:
        """Values that a record states; the patterns are for the raw line, whose numbers masking has replaced."""
        numbered = _NUMBER.sub("0.5", masked)
        names = (self._reading_names[number] for number in sorted(readings))
        return tuple(name for name in names if self._readings[name].search(numbered))

    def value(self, name: str, line: str) -> float | None:
        """The value of that name in the raw line of a record; None if it states no number."""
        match = self._readings[name].search(line)
        try:
            value = float(match[1]) if match else math.nan
        except (TypeError, ValueError):  # the group has no part in the match, or holds no number
            return None
        return value if math.isfinite(value) else None

    def sets_up_ues(self, masked: str) -> bool:
        """Whether a command sets up UEs; the patterns are for the raw line, as those of readings."""
        return any(pattern.search(_NUMBER.sub("0", masked)) for pattern in self.sets_up)

    def read_continued(self, number: int, masked: str, found: Mapping[str, Sequence[int]]) -> Continued | None:
        """What a line that begins no record is in this dialect; None if it says nothing. `found` are phrases by kind."""
        if self.continued.match(masked) is None:
            plain = self.plain[min(found["plain"])] if "plain" in found else None
            return Continued(number, plain) if plain else None
        bodies = tuple(self.bodies[i] for i in sorted(set(found.get("body", ()))))
        heading = self.headings[min(found["heading"])] if "heading" in found else ""
        return Continued(number, None, bodies, heading) if bodies or heading else None


class Dialects:
    """All dialects that lines may be written in.

    A user's `own` come first, and replace those of the package that have the same name. Procedures that they define come
    behind those of the package.

    Raises:
        SettingsError: Two of them define a procedure differently.
    """

    def __init__(self, own: Sequence[DialectTable] = ()) -> None:
        self.heard_entities: Sequence[re.Pattern[str]] = ()
        """What names a UE in lines that are heard."""
        self.procedures = procedures()
        for table in own:
            try:
                self.procedures = self.procedures.extended(table.procedures)
            except ValueError as error:
                raise SettingsError(f"dialect {table.name}: {error}") from None
        self.procedure_names = list(self.procedures.procedures)
        names = {table.name for table in own}
        packaged = (table for table in packaged_dialects() if table.name not in names)
        self._of_node = [procedure.of == "node" for procedure in self.procedures.procedures.values()]
        self._trouble = Trouble(self.procedures)
        self.dialects = [Dialect(table, self.procedures, self._trouble) for table in (*own, *packaged)]
        named = (column for dialect in self.dialects for columns in dialect.columns.values() for column in columns)
        self._columns = sorted({name for column in named for name in (*column.names, *column.divisors)})
        # What lines say that begin no record: with the number of the dialect that it is of, -1 for any.
        self._continued_index = PhraseIndex(
            [
                *(
                    (phrase, (number, *of))
                    for number, dialect in enumerate(self.dialects)
                    for phrase, of in dialect.continued_phrases
                ),
                *((phrase, (-1, *of)) for phrase, of in self._trouble.phrases(of_records=False)),
                *((phrase, (-1, *of)) for phrase, of in _phrases("column", [[name] for name in self._columns])),
            ]
        )

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

    def layer_of(self, line: str) -> int:
        """The layer that the words of a line name; -1 for none. Dialects alone do not know words."""
        del line
        return -1

    def is_zero(self, line: str) -> bool:
        """Whether all that sounds like trouble in a raw line are counters at zero; masking has removed their values."""
        return self._trouble.is_zero(line)

    def name(self, event: Event) -> str:
        """Procedure and step of an event, as in the tables."""
        return f"{self.procedure_names[event.procedure]} {STEPS[event.step]}"

    def _record(self, number: int, record: Record, usual: Container[int]) -> Signal:
        dialect, (message, layer, alarming, _, calm) = self.dialects[number], record
        # Names of commands are not taken apart: a script may set a failure. Nor are those of the tester itself.
        kind = kind_of(words_of(message))
        spellings = (words_of(message),) if layer in (-1, _TESTER) else spellings_of(without_flags(message))
        said = dialect.says(message, spellings, layer)
        if said.event and layer == _TESTER and not self._of_node[said.event.procedure]:
            # The tester quotes what its script waits for: `WAIT FOR "PDU SESSION ESTABLISHMENT IND" timed out`.
            said = said._replace(event=None)
        trouble = not (said.event or said.counter or said.harmless or kind in usual)
        trouble = trouble and (alarming or (layer >= 0 and said.troubling))
        sets_up = layer < 0 and dialect.sets_up_ues(message)
        quiet = not (said.event or trouble or said.counter or said.readings or sets_up)
        counted = trouble and not alarming and self._trouble.is_counted(message)
        return Signal(
            number, layer, said.event, trouble, counted, kind, said.counter, said.readings, sets_up, quiet, calm=calm
        )

    def _continued(self, masked: str, usual: Container[int]) -> Signal | None:
        # Joined names in such lines are mostly those of columns and fields, so they are not taken apart for other phrases.
        words = words_of(masked)
        found: dict[int, dict[str, list[int]]] = {}
        for dialect, kind, number in self._continued_index.matches(words):
            found.setdefault(dialect, {}).setdefault(kind, []).append(number)
        for apart in spellings_of(masked)[1:]:  # headings are: `RlcStats| TxPdu| RetxPdu`
            for dialect, kind, number in self._continued_index.matches(apart):
                if kind == "heading":
                    found.setdefault(dialect, {}).setdefault(kind, []).append(number)
        of_any = found.pop(-1, {})
        columns = of_any.get("column", ())
        read = (self.dialects[number].read_continued(number, masked, of) for number, of in sorted(found.items()))
        continued = tuple(one for one in read if one)
        cells = _cells(masked, pairs=bool(columns))
        of_kind = kind_of(words)
        troubling = any(self._trouble.is_said(number, words) for number in of_any.get("trouble", ()))
        trouble = not cells and troubling and of_kind not in usual
        if not (continued or cells or trouble):
            return None
        continues = sum(1 << number for number, dialect in enumerate(self.dialects) if dialect.continued.match(masked))
        return Signal(
            trouble=trouble,
            kind=of_kind,
            continued=continued,
            continues=continues,
            cells=cells,
            columns=frozenset(self._columns[number] for number in columns),
        )


def _phrases(kind: str, groups: Iterable[Iterable[str]]) -> Iterator[tuple[str, tuple[str, int]]]:
    """Each phrase with its kind and the number of its group."""
    return ((phrase, (kind, number)) for number, phrases in enumerate(groups) for phrase in phrases)


def _columns(values: Mapping[str, str]) -> tuple[Column, ...]:
    """Values of a table by the columns that they are made from, such as `retx, resent / tbs`."""
    found = []
    for value, columns in values.items():
        names, _, divisors = columns.partition(" / ")
        of_value, of_divisor = tuple(names.split(", ")), tuple(divisors.split(", ")) if divisors else ()
        found.append(Column(value, of_value, of_divisor, re.compile(_pair(of_value)), re.compile(_pair(of_divisor))))
    return tuple(found)


def _pair(names: Sequence[str]) -> str:
    """A name and its value, as in `CQI: 7`; the name's words may have anything but letters and digits between them."""
    words = "|".join(r"[\W_]+".join(map(re.escape, name.split())) for name in names)
    return rf"(?i)(?<![^\W_])(?:{words})[)\]]?\s*[:=]\s*(-?\d+(?:\.\d+)?)"


def kind_of(words: str) -> int:
    """Hash of the words of a line; equal for lines that differ in numbers alone."""
    return crc32(" ".join(word for word in words.split() if not word[0].isdigit() and word != "#").encode())


def _cells(masked: str, *, pairs: bool) -> Literal["", "columns", "row", "pairs"]:
    if _COLUMNS.fullmatch(masked):
        return "columns"
    if _ROW.fullmatch(masked):
        return "row"
    return "pairs" if pairs and _PAIR.search(masked) else ""
