"""A dialect and lines of logs in; what the dialect makes of them out, for the engineer who writes it.

The lines are those that the models read: decoded, redacted, and without what a collector put around them. They go through
the same reader and the same follower as for a verdict.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from stream_triage.dialects import Dialects, DialectTable, Event, Signal
from stream_triage.dialects.slow import slow_patterns
from stream_triage.dialects.words import PhraseIndex, words_of
from stream_triage.stages.normalise import Numbers, mask
from stream_triage.stages.procedures.breaks import failed_ues, run_breaks
from stream_triage.stages.procedures.follow import Follower, ProcedureState
from stream_triage.stages.redact import Redactor

__all__ = ["Alike", "DialectReport", "Faults", "Place", "UeEvents", "faults_of", "summary_of"]

# Kinds of lines that are counted; what comes after so many is left out.
MAX_KINDS: Final = 5_000


class Place(NamedTuple):
    """A line of a log."""

    run: str
    source: str
    number: int


class Alike(NamedTuple):
    """Lines that differ in numbers and punctuation alone: how many, where the first one is, and its text."""

    times: int
    place: Place
    text: str


class UeEvents(NamedTuple):
    """A UE: its source, its id (empty for the UE whose log it is), its events in order, and why it failed, if it did."""

    source: Place
    ue: str
    events: list[tuple[str, int]]
    failed: str


def summary_of(table: DialectTable) -> str:
    """What a dialect has, in a few words."""
    parts = {
        "event": len({event for event, _ in _phrases(table)}),
        "phrase": sum(1 for _ in _phrases(table)),
        "module": len(table.modules),
        "own procedure": len(table.procedures),
        "example": len(table.examples),
    }
    shown = {name: number for name, number in parts.items() if number or name == "example"}
    return ", ".join(f"{number} {name}{'s' if number != 1 else ''}" for name, number in shown.items())


class Faults(NamedTuple):
    """What is wrong with a dialect, and whether lines can be read with it all the same."""

    found: list[str]
    slow: bool
    """A pattern may take hours, so no line is read with it, not even an example."""


def faults_of(dialects: Dialects, table: DialectTable) -> Faults:
    """Patterns that are slow; if there are none, examples that give another event and phrases that match nothing."""
    if slow := slow_patterns(table):
        return Faults(slow, slow=True)
    return Faults([*_wrong_examples(dialects, table), *_masked_phrases(table)], slow=False)


def _masked_phrases(table: DialectTable) -> Iterator[str]:
    """Phrases with a number, which no masked line has. Masking keeps some codes: an example that contains one proves it."""
    examples = PhraseIndex(_phrase_numbers(table))
    proved = {number for text in table.examples for number in examples.matches(words_of(mask(text)))}
    for (phrase, number), (event, _) in zip(_phrase_numbers(table), _phrases(table), strict=True):
        masked = " ".join(words_of(mask(phrase)).split())
        if number not in proved and masked.count("#") > phrase.count("#"):
            yield f"{event}: the phrase {phrase!r} has a number, and numbers are masked; write {masked!r}, or add an example"


def _wrong_examples(dialects: Dialects, table: DialectTable) -> Iterator[str]:
    redactor = Redactor()
    for text, event in table.examples.items():
        lines = redactor.text(text).split("\n")
        reading = _Reading(dialects, Place("", "", 0))
        reading.follow(reading.state, lines, _signals(dialects, mask("\n".join(lines)).split("\n")), 1)
        found = dialects.name(reading.events[-1].event) if reading.events else ""
        reader = dialects.dialects[reading.state.dialect].table.name if reading.state.dialect >= 0 else ""
        if reader != table.name:
            whose = f"is read by the dialect {reader}" if reader else "begins no record"
            yield f"the example {text!r} {whose}; masked, it reads {mask(text)!r}"
        elif found != event:
            yield f"the example {text!r} gives {f'the event {found!r}' if found else 'no event'}, not {event or 'none'!r}"


class _Seen(NamedTuple):
    event: Event
    ue: str | None
    number: int


class _Reading(Follower):
    """One source, followed; keeps all of its events."""

    def __init__(self, dialects: Dialects, source: Place) -> None:
        super().__init__(dialects)
        self.source = source
        self.state = self.start()
        self.events: list[_Seen] = []

    def _step(self, state: ProcedureState, event: Event, ue: str | None, number: int) -> None:
        last = self.events[-1] if self.events else None
        if last and last.number == number and last.event.procedure == event.procedure:
            self.events.pop()  # a continued line turned the event of its record into another
        self.events.append(_Seen(event, ue, number))
        super()._step(state, event, ue, number)

    def ues(self) -> Iterator[UeEvents]:
        """The UEs, in the order in which the log names them."""
        reasons = {outcome.ue: outcome.reason.format(who="it") for outcome in failed_ues(self, self.state)}
        events: dict[str, list[tuple[str, int]]] = {name: [] for name in self.state.ues}
        for event, ue, number in self.events:
            if not self.procedures.of_node[event.procedure]:
                name = self._owner(self.state) if ue is None else ue
                events.setdefault(name, []).append((self.dialects.name(event), number))
        return (UeEvents(self.source, name, of_ue, reasons.get(name, "")) for name, of_ue in events.items())


class DialectReport:
    """Collects what one dialect makes of logs.

    Args:
        dialects: All dialects, as a verdict uses them.
        table: The one that the report is about.
        numbers: What masking keeps of numbers, as in the card of the bundle.

    Attributes:
        lines: Lines that are not blank.
        records: Lines that begin a record, by the name of the dialect.
        continued: Lines that continue a record of this dialect.
        modules: Records of this dialect, by module.
    """

    def __init__(self, dialects: Dialects, table: DialectTable, numbers: Numbers = "magnitude") -> None:
        self.table = table
        self.lines = self.continued = 0
        self.records: Counter[str] = Counter()
        self.modules: Counter[str] = Counter()
        self._dialects, self._numbers = dialects, numbers
        self._own = next(number for number, one in enumerate(dialects.dialects) if one.table.name == table.name)
        self._dialect = dialects.dialects[self._own]
        self._readings: dict[tuple[str, str], _Reading] = {}
        self._unmatched = {number: phrase for phrase, number in _phrase_numbers(table)}
        self._phrases = PhraseIndex(_phrase_numbers(table))
        self._troubles, self._unlisted, self._others, self._strange = (dict[object, Alike]() for _ in range(4))

    def take(self, run: str, source: str, lines: Sequence[str], first: int) -> None:
        """Takes the next lines of a source, as models read them; `first` is the number of the first one."""
        reading = self._readings.setdefault((run, source), _Reading(self._dialects, Place(run, source, 0)))
        masked = mask("\n".join(lines), self._numbers).split("\n")
        signals = _signals(self._dialects, masked)
        for number, (line, text, signal) in enumerate(zip(lines, masked, signals, strict=True), first):
            if line.strip():
                self._count(reading.state.dialect, Place(run, source, number), line, text, signal)
            reading.follow(reading.state, [line], [signal], number)

    def _count(self, before: int, place: Place, line: str, masked: str, signal: Signal | None) -> None:
        """Counts a line; `before` is the dialect of the record above it."""
        self.lines += 1
        for number in self._phrases.matches(words_of(masked)):
            self._unmatched.pop(number, None)
        if signal and signal.dialect >= 0:
            self.records[self._dialects.dialects[signal.dialect].table.name] += 1
            if signal.dialect == self._own:
                self._count_record(place, line, masked, signal)
            return
        said = next((one for one in signal.continued if one.dialect == self._own), None) if signal else None
        if before == self._own and self._dialect.continued.match(masked):
            self.continued += 1
        elif not (said and said.plain):
            _add(self._strange, signal.kind if signal else masked, place, masked)
        if signal and signal.trouble and not said and before in {-1, self._own}:
            _add(self._troubles, signal.kind, place, line)

    def _count_record(self, place: Place, line: str, masked: str, signal: Signal) -> None:
        record = self._dialect.record(masked)
        if record is None:
            return
        self.modules[record.module] += 1
        if signal.event or signal.counter:
            return
        # A record of a module that is not listed is never trouble. It is shown all the same: the module may be missing.
        said = self._dialect.says(record.message, words_of(record.message), record.layer)
        if record.layer < 0 and said.troubling and not said.harmless:
            _add(self._unlisted, signal.kind, place, line)
        else:
            _add(self._troubles if signal.trouble else self._others, signal.kind, place, line)

    def layer_of(self, module: str) -> str:
        """The layer of a module; empty if the dialect does not list it."""
        return self.table.modules.get(module, "")

    def events(self) -> dict[str, list[Place]]:
        """The lines of each event that came, in the order in which the procedures stand in the tables."""
        places: dict[Event, list[Place]] = {}
        for reading in self._readings.values():
            for event, _, number in reading.events:
                places.setdefault(event, []).append(reading.source._replace(number=number))
        return {self._dialects.name(event): places[event] for event in sorted(places)}

    def node_failures(self) -> list[tuple[Place, str]]:
        """What failed that is no UE's: the line that shows it, and what happened. Of each source, causes first."""
        return [
            (reading.source._replace(number=found.line), found.words.format(who="the network"))
            for reading in self._readings.values()
            for found in run_breaks(reading, {"": reading.state})
            if found.ue is None
        ]

    def ues(self) -> list[UeEvents]:
        """UEs of all sources, failed ones first."""
        return sorted((ue for reading in self._readings.values() for ue in reading.ues()), key=lambda ue: not ue.failed)

    def troubles(self) -> list[Alike]:
        """Lines with words of trouble that no phrase matches, the most frequent first."""
        return _most_frequent(self._troubles)

    def unlisted(self) -> list[Alike]:
        """The same, in records of modules that the dialect does not list."""
        return _most_frequent(self._unlisted)

    def others(self) -> list[Alike]:
        """Records of this dialect without an event and without words of trouble, the most frequent first."""
        return _most_frequent(self._others)

    def strange(self) -> list[Alike]:
        """Lines, masked, that begin no record of any dialect and continue none of this one, the most frequent first."""
        return _most_frequent(self._strange)

    def unmatched(self) -> list[str]:
        """Phrases of this dialect that no line contains."""
        return list(dict.fromkeys(self._unmatched.values()))

    @property
    def sources(self) -> int:
        """How many sources there were."""
        return len(self._readings)


def _phrases(table: DialectTable) -> Iterator[tuple[str, str]]:
    """Every phrase of a dialect, with its event."""
    for group in (table.events, table.commands, table.plain, *table.bodies.values()):
        for event, phrases in group.items():
            yield from ((event, phrase) for phrase in phrases)


def _phrase_numbers(table: DialectTable) -> Iterator[tuple[str, int]]:
    """Every phrase of a dialect, numbered."""
    return ((phrase, number) for number, (_, phrase) in enumerate(_phrases(table)))


def _signals(dialects: Dialects, masked: Sequence[str]) -> list[Signal | None]:
    known = {text: dialects.read(text) for text in dict.fromkeys(masked)}
    return [known[text] for text in masked]


def _add(kinds: dict[object, Alike], kind: object, place: Place, text: str) -> None:
    known = kinds.get(kind)
    if known:
        kinds[kind] = known._replace(times=known.times + 1)
    elif len(kinds) < MAX_KINDS:
        kinds[kind] = Alike(1, place, text)


def _most_frequent(kinds: dict[object, Alike]) -> list[Alike]:
    return sorted(kinds.values(), key=lambda alike: -alike.times)
