"""Lines of one source with their signals in; the course of every UE and of the network functions out.

A UE that was released and begins a new attach begins again: left are what broke before, until a later attach completes it,
and the registration, unless it was deregistered. UE ids, which masking removes, are read from the line itself. A line of a
UE's procedure that names no UE is about the UE whose log it is, unless the dialect is that of a network function.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from stream_triage.dialects import Dialects, Event, Signal
from stream_triage.dialects.reader import Continued
from stream_triage.dialects.table import LAYERS
from stream_triage.stages.procedures.course import (
    BEGUN,
    COMPLETED,
    FAILED,
    LOST,
    Break,
    Course,
    Procedures,
    Repeats,
    count_trouble,
)
from stream_triage.stages.procedures.history import HEAD, History, LogTime
from stream_triage.stages.procedures.statistics import Statistics
from stream_triage.stages.procedures.trends import Trends

__all__ = ["FAULT_LINES", "MAX_UES", "OWN", "Follower", "ProcedureState"]

# UEs of one source that are followed.
MAX_UES: Final = 1024
# Lines after the first sign of a stop that may name the file where it happened.
FAULT_LINES: Final = 3
# The UE whose log it is.
OWN: Final = ""
# Breaks of earlier attaches that are kept.
MAX_BREAKS: Final = 8
# What a UE keeps when its connection is released.
_OUTLIVING: Final = ("registration", "session", "authentication", "security")
# Kinds of trouble that name no UE.
MAX_ALONE: Final = 64
# Characters of an id of a UE.
MAX_ID: Final = 40
# What a random access fails with whose first message was not answered: its signal was not heard, or the answer was not.
_NO_ANSWER: Final = re.compile(r"(?i)\b(?:rar|ra[ -]response|random[ -]access[ -]response|msg\s?2|prach)\b")
_NEW_ATTACH: Final = ("cell search", "random access", "connection")


class ProcedureState:
    """All that is kept of one source."""

    __slots__ = (
        "access_failures", "aliases", "alone", "alone_in_time", "before", "dialect", "early", "fault_layer", "fault_line",
        "last", "node", "record", "seen", "set_up", "stamped", "started", "statistics", "telling", "time", "ues",
        "unanswered", "unfollowed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ues: dict[str, Course] = {}
        """By id, in the order in which they were named first."""
        self.aliases: dict[str, str] = {}
        """Other ids of UEs to their first one."""
        self.set_up: dict[str, None] = {}
        """Ids of the UEs that a script set up, in their order."""
        self.time = LogTime()
        """When the last record that says something was."""
        self.last = ("", 0)
        """The beginning of the last line, whatever it says, and its number."""
        self.stamped = ""
        """The beginning of the last record; lines behind it may have no time."""
        self.unfollowed = 0
        """Records of UEs beyond `MAX_UES`."""
        self.node = Course()
        """What no UE owns: the processes, their associations, the tester, its script."""
        self.alone: dict[tuple[int, int], Repeats] = {}
        """Trouble that names no UE, by layer and kind."""
        self.alone_in_time = History()
        """The same in time."""
        self.early: dict[tuple[int, int], Repeats] = {}
        """Trouble before the run is past its set-up, if the follower keeps that."""
        self.telling = 0
        """Lines that only the log of a 3GPP system has; counted for bundles that judge runs of any stack."""
        self.access_failures = self.unanswered = 0
        """Failures of the random access, and those of which the network did not answer the first message."""
        self.statistics = Statistics()
        self.seen: set[int] = set()
        """Procedures that any line was about."""
        self.started = False
        """Whether the run is past its set-up, where trouble is common and harmless."""
        self.dialect = -1
        """Of the last record."""
        self.fault_layer = -1
        """The layer whose code a process stopped in, where the log names the file."""
        self.fault_line = 0
        """The first line that says that the process stops."""
        self.record: tuple[Signal, str | None, int] | None = None
        """The record that continued lines belong to: its signal, UE and line."""
        self.before = 0
        """When its step came last before it; -1 once a continued line has changed the step."""


class Follower:
    """Follows the procedures of sources, in all dialects.

    `of_any`: it follows runs of any stack. So it keeps trouble of the set-up, since some logs have nothing else.
    """

    def __init__(self, dialects: Dialects, *, of_any: bool = False) -> None:
        self.dialects = dialects
        self._of_any = of_any
        self.procedures = Procedures(dialects)
        index = self.procedures.index
        self._new_attach = frozenset(Event(index[name], BEGUN) for name in _NEW_ATTACH)
        self._release, self._refusal = index["release"], Event(index["refusal"], BEGUN)
        self._deregistration, self._connection = index["deregistration"], index["connection"]
        self._outliving = frozenset(index[name] for name in _OUTLIVING)
        self._leaving = frozenset((self._release, self._deregistration))
        self._process = index["process"]
        self._access_failed = Event(index["random access"], FAILED)
        self._script = Event(index["script"], BEGUN)
        # No hash of words is that small: values do not mix with kinds of records.
        self._values = dialects.procedures.values
        self._value_kinds = {name: number for number, name in enumerate(self._values)}

    def start(self) -> ProcedureState:
        """The state of a source before its first line."""
        return ProcedureState()

    def due(self, state: ProcedureState) -> frozenset[int]:
        """Procedures whose absence counts: those that the source's dialect always shows, and those that it showed."""
        shown = self.dialects.dialects[state.dialect].shown if state.dialect >= 0 else frozenset()
        return shown | state.seen

    def refusal_expected(self, state: ProcedureState) -> bool:
        """Whether the script waits for a reject, as negative tests do."""
        return self._refusal in state.node.steps

    def node_breaks(self, state: ProcedureState) -> list[Break]:
        """What broke of the processes and the tester, unless UEs show later that it works again."""
        procedures = self.procedures

        def works(after: int, procedure: int) -> bool:
            proofs = procedures.undone_by[procedure]
            return any(course.last(proof, COMPLETED) > after for course in state.ues.values() for proof in proofs)

        found = state.node.breaks(procedures, frozenset())
        return [one for one in found if not works(one.line, one.procedure)]

    @staticmethod
    def end(state: ProcedureState) -> float:
        """When the last line was, in the log's own time."""
        line, number = state.last
        return max(state.time.of(line, number), state.time.of(state.stamped, number))

    def follow(
        self, state: ProcedureState, lines: Sequence[str], signals: Iterable[Signal | None], first_number: int
    ) -> None:
        """Takes the next lines of a source in order, each with the signal of its masked form."""
        stamped = state.stamped
        for number, (line, signal) in enumerate(zip(lines, signals, strict=True), first_number):
            if state.fault_line and state.fault_layer < 0 and number <= state.fault_line + FAULT_LINES:
                state.fault_layer = self._place(state, line)
            if signal is None:
                continue
            if signal.quiet:
                stamped = line
                state.dialect, state.record, state.statistics.reading = signal.dialect, (signal, None, number), False
            elif signal.dialect >= 0:
                stamped = line
                self._begin(state, signal, line, number)
            elif signal.heard:
                self._hear(state, signal, line, number)
            elif signal.continued or signal.trouble:
                self._continue(state, signal, line, number)
            elif state.statistics.reading:
                self._take_cells(state, signal, line, number)
        if lines:
            state.last, state.stamped = (lines[-1][:HEAD], first_number + len(lines) - 1), stamped[:HEAD]

    def _begin(self, state: ProcedureState, signal: Signal, line: str, number: int) -> None:
        """A record begins; continued lines that follow belong to it."""
        state.dialect = signal.dialect
        state.statistics.leave()
        state.time.read(line, number)
        line = " ".join(line.split())  # patterns of dialects are written for single blanks
        ue = self._ue(state, signal.dialect, line) if signal.event or signal.trouble or signal.readings else None
        state.record, state.before = (signal, ue, number), 0
        if signal.counter:
            state.statistics.counter(signal.counter, line, number, self._values[signal.counter])
        elif signal.event:
            self._step(state, signal.event, ue, number)
            if self._of_any:
                self._count_unanswered(state, signal.event, line)
        elif signal.trouble and not (signal.counted and self.dialects.is_zero(line)):
            self._trouble(state, signal.layer, signal.kind, ue, number)
        if signal.readings:
            self._read(state, signal, line, ue, number)
        if signal.sets_up:
            self._set_up(state, signal.dialect, line)

    def _hear(self, state: ProcedureState, signal: Signal, line: str, number: int) -> None:
        """A line of no dialect tells a step or trouble. It begins no record: lines of a dialect may go on behind it."""
        state.time.read(line, number)
        if signal.event or signal.trouble:
            line = " ".join(line.split())
            ue = self._named(state, self.dialects.heard_entities, line, of_one_ue=True)
            if signal.event:
                self._step(state, signal.event, ue, number)
                self._count_unanswered(state, signal.event, line)
            elif not (signal.counted and self.dialects.is_zero(line)):
                self._trouble(state, signal.layer, signal.kind, ue, number)

    def _count_unanswered(self, state: ProcedureState, event: Event, line: str) -> None:
        """Counts failures of the random access, and those before the network answered."""
        if event == self._access_failed:
            state.access_failures += 1
            state.unanswered += _NO_ANSWER.search(line) is not None

    def _set_up(self, state: ProcedureState, dialect: int, line: str) -> None:
        """Remembers the UEs that a command names."""
        for pattern in self.dialects.dialects[dialect].sets_up:
            if match := pattern.search(line):
                for part in (match["ues"] or "").split(","):
                    first, _, last = part.strip().partition("-")
                    if first.isdecimal() and (last or first).isdecimal() and len(part) < 20:  # int() refuses long ones
                        ids = range(int(first), int(last or first) + 1)
                        state.set_up.update((str(ue), None) for ue in ids[: MAX_UES - len(state.set_up)])

    def _read(self, state: ProcedureState, signal: Signal, line: str, ue: str | None, number: int) -> None:
        """Values that a record states. One beyond its limit is trouble, unless the record's own words count already."""
        dialect = self.dialects.dialects[signal.dialect]
        for name in signal.readings:
            value, about = dialect.value(name, line), self._values[name]
            if value is None or about.layer is None:
                continue
            kind = LAYERS.index(about.layer), self._value_kinds[name]
            trends = self._trends(state, ue)
            if not state.statistics.add(name, value, number, about, lasting=False, trends=trends):
                (state.alone if ue is None else state.ues[ue].kinds if ue in state.ues else {}).pop(kind, None)
            elif not signal.trouble:
                self._trouble(state, *kind, ue, number)

    @staticmethod
    def _trends(state: ProcedureState, ue: str | None) -> Trends | None:
        """Where values of a UE go; None if it is not followed."""
        if ue is None or ue not in state.ues:
            return None
        history = state.ues[ue].history
        if history.trends is None:
            history.trends = Trends()
        return history.trends

    def _continue(self, state: ProcedureState, signal: Signal, line: str, number: int) -> None:
        """A line that begins no record: a row of a table, an event of its own, or what it makes of its record."""
        line = " ".join(line.split())
        continued = next((one for one in signal.continued if one.dialect == state.dialect), None)
        if continued is None and state.dialect < 0 and signal.continued:
            continued = signal.continued[0]
        if continued and continued.heading and continued.dialect == state.dialect:
            wanted = bool(self.dialects.dialects[continued.dialect].columns.get(continued.heading))
            state.statistics.begin(continued.heading, line, number, wanted=wanted)
            if ue := self._ue(state, continued.dialect, line):
                state.statistics.trends = self._trends(state, ue)
        if signal.cells and state.statistics.reading:
            self._take_cells(state, signal, line, number)
        if continued and continued.plain:
            state.dialect = continued.dialect
            self._step(state, continued.plain, self._ue(state, continued.dialect, line), number)
            if continued.plain.procedure == self._process:
                state.fault_line = state.fault_line or number
        elif state.record and signal.continues >> state.dialect & 1:
            self._complete_record(state, state.record, signal, continued)

    def _take_cells(self, state: ProcedureState, signal: Signal, line: str, number: int) -> None:
        """A line of a table."""
        columns = self.dialects.dialects[state.dialect].columns
        state.statistics.take(signal, line, number, columns, self._values)

    def _complete_record(
        self,
        state: ProcedureState,
        begun: tuple[Signal, str | None, int],
        signal: Signal,
        continued: Continued | None,
    ) -> None:
        """A continued line may turn the event of its record into another, or say what the trouble is."""
        record, ue, record_line = begun
        changed = next((to for of, to in (continued.bodies if continued else ()) if of == record.event), None)
        if changed and record.event:
            if state.before < 0:
                return
            if changed.procedure == record.event.procedure:
                course = self._course(state, record.event, ue)
                if course:
                    course.take_back(record.event, state.before)
                    course.history.take_back(record.event)
            self._step(state, changed, ue, record_line)
            state.before = -1
        elif signal.trouble and record.event is None and not record.trouble and record.layer >= 0:
            self._trouble(state, record.layer, record.kind, ue, record_line)

    def _place(self, state: ProcedureState, line: str) -> int:
        """The layer of the source file that a line names; -1 if it names none."""
        places = self.dialects.dialects[state.dialect].table.places if state.dialect >= 0 else {}
        place = next((LAYERS.index(layer) for layer, parts in places.items() if any(part in line for part in parts)), -1)
        return place if place >= 0 else self.dialects.layer_of(line)

    def _step(self, state: ProcedureState, event: Event, ue: str | None, number: int) -> None:
        state.seen.add(event.procedure)
        course = self._course(state, event, ue)
        if course is None:
            return
        if event == self._script or not self.procedures.of_node[event.procedure]:
            state.started = True
        if event in self._new_attach and course.last(self._release, COMPLETED):
            due, refusal = self.due(state), self.refusal_expected(state)
            course.failed = tuple(course.breaks(self.procedures, due, refusal=refusal)[:MAX_BREAKS])
            course.begin_anew(self._outliving, self._deregistration)
        if event.step == LOST and course.released(self.procedures) > course.done(self.procedures, self._connection):
            return  # a UE that was released loses nothing
        state.before = course.last(*event)
        course.step(event, number)
        layer, leaves = self.procedures.layers[event.procedure], event.procedure in self._leaving
        course.history.step(event, state.time.now, number, layer=layer, leaves=leaves)
        if event == (self._release, COMPLETED) and ue:
            state.aliases = {other: name for other, name in state.aliases.items() if name != ue}

    def _course(self, state: ProcedureState, event: Event, ue: str | None) -> Course | None:
        """Whose procedure it is; None if too many UEs are followed already."""
        if self.procedures.of_node[event.procedure]:
            return state.node
        if ue is None and len(state.ues) != 1 and not self._may_be_of_one_ue(state):
            return None
        name = self._owner(state) if ue is None else ue
        known = state.ues.get(name)
        if known is None and len(state.ues) < MAX_UES:
            known = state.ues[name] = Course()
        state.unfollowed += known is None
        return known

    def _may_be_of_one_ue(self, state: ProcedureState) -> bool:
        return state.dialect < 0 or self.dialects.dialects[state.dialect].table.of_one_ue

    @staticmethod
    def _owner(state: ProcedureState) -> str:
        """Whose a step is that names no UE: that of the only UE that the log has named, else of the UE whose log it is."""
        return next(iter(state.ues)) if len(state.ues) == 1 else OWN

    def _trouble(self, state: ProcedureState, layer: int, kind: int, ue: str | None, number: int) -> None:
        if not state.started:
            if self._of_any:
                count_trouble(state.early, layer, kind, number, MAX_ALONE)
            return
        if ue is None:
            count_trouble(state.alone, layer, kind, number, MAX_ALONE)
            state.alone_in_time.trouble(layer, kind, state.time.now, number)
        else:
            course = state.ues.get(ue)
            if course is None and len(state.ues) < MAX_UES:
                course = state.ues[ue] = Course()
            if course:
                course.trouble(layer, kind, number)
                course.history.trouble(layer, kind, state.time.now, number)

    def _ue(self, state: ProcedureState, dialect: int, line: str) -> str | None:
        """The id of the UE that a line of a dialect names; None if it names none."""
        of = self.dialects.dialects[dialect]
        return self._named(state, of.entities, line, of_one_ue=of.table.of_one_ue)

    @staticmethod
    def _named(state: ProcedureState, entities: Sequence[re.Pattern[str]], line: str, *, of_one_ue: bool) -> str | None:
        """The id of the UE that a line names by these patterns. Ids that one line names are the same UE's."""
        matches = (pattern.search(line) for pattern in entities)
        kinds = ((kind, match[kind]) for match in matches if match and (kind := match.lastgroup))
        found = [
            (ue.lstrip("0") or "0" if ue.isdigit() else ue)[:MAX_ID] if kind == "ue" else f"{kind} {ue}"[:MAX_ID]
            for kind, ue in kinds
        ]
        if not found:
            return None
        first = state.aliases.get(found[0], found[0])
        if first not in state.ues and list(state.ues) == [OWN] and of_one_ue:
            first = state.aliases[found[0]] = OWN  # the log of a UE that names itself
        for other in found[1:]:
            if other not in state.ues and len(state.aliases) < 4 * MAX_UES:
                state.aliases.setdefault(other, first)
            elif first not in state.ues:
                first = state.aliases.setdefault(found[0], state.aliases.get(other, other))
        return first
