"""Lines of one source with their signals in; the events of each UE, in order, out, for people who ask about one.

Serving follows procedures without keeping events (`follow.py`); a run is read again to get them.
"""

from typing import Final, NamedTuple

from stream_triage.dialects import Dialects, Event, Signal
from stream_triage.stages.procedures.course import BEGUN, COMPLETED
from stream_triage.stages.procedures.follow import OWN, Follower, ProcedureState

__all__ = ["MAX_EVENTS", "RecordedEvent", "RecordingFollower"]

# Events of one UE of a source that are kept; repeats in a row are one.
MAX_EVENTS: Final = 1000


class RecordedEvent(NamedTuple):
    """A step of a procedure of a UE, or its trouble, in the record of a line."""

    line: int
    event: Event | None
    """None for trouble, which belongs to no procedure."""
    layer: int
    """Index in `LAYERS`: of the module that reports trouble; -1 for a step."""
    body: int = 0
    """The line below the record that says so; 0 if the record itself does."""
    repeats: int = 1
    """How often it came in a row."""
    last: int = 0
    """The last of those lines."""

    @property
    def bad(self) -> bool:
        """Whether it is trouble, or a step that did not go well."""
        return self.event is None or self.event.step not in (BEGUN, COMPLETED)


class RecordingFollower(Follower):
    """Follows one source, as its base class does, and keeps what it saw of each UE."""

    def __init__(self, dialects: Dialects) -> None:
        super().__init__(dialects)
        self.events: dict[str, list[RecordedEvent]] = {}
        """By the name of the UE in the state."""
        self.dropped: dict[str, int] = {}
        """Events beyond `MAX_EVENTS`."""
        self._body = 0

    def _continue(self, state: ProcedureState, signal: Signal, line: str, number: int) -> None:
        self._body = number
        super()._continue(state, signal, line, number)
        self._body = 0

    def _step(self, state: ProcedureState, event: Event, ue: str | None, number: int) -> None:
        if not self.procedures.of_node[event.procedure]:
            owner = self._owner(state) if ue is None else ue
            self._correct(owner, event, number)
            self._add(owner, RecordedEvent(number, event, -1, self._body_of(number), last=number))
        super()._step(state, event, ue, number)

    def _trouble(self, state: ProcedureState, layer: int, kind: int, ue: str | None, number: int) -> None:
        # Where the log names no other UE, trouble that names none is that of the UE whose log it is.
        owner = ue if ue is not None else OWN if list(state.ues) == [OWN] else None
        if state.started and owner is not None:
            self._add(owner, RecordedEvent(number, None, layer, self._body_of(number), last=number))
        super()._trouble(state, layer, kind, ue, number)

    def _body_of(self, record: int) -> int:
        return self._body if self._body != record else 0

    def of(self, ue: str) -> list[RecordedEvent]:
        """The events of a UE, in order."""
        known = self.events.get(ue, [])
        _join_repeats(known)
        return list(known)

    def _correct(self, ue: str, event: Event, record: int) -> None:
        """What a line makes of the event of its record takes the place of that event."""
        known = self.events.get(ue)
        before = known[-1] if known and self._body_of(record) else None
        if known and before and before.line == record and before.event and before.event.procedure == event.procedure:
            known.pop()

    def _add(self, ue: str, new: RecordedEvent) -> None:
        known = self.events.setdefault(ue, [])
        _join_repeats(known)
        if len(known) < MAX_EVENTS:
            known.append(new)
        else:
            self.dropped[ue] = self.dropped.get(ue, 0) + 1


def _join_repeats(events: list[RecordedEvent]) -> None:
    """Makes the last two one if they are alike. The last one stays alone until then: its body may correct it."""
    if len(events) > 1 and (events[-2].event, events[-2].layer) == (events[-1].event, events[-1].layer):
        last = events.pop()
        events[-1] = events[-1]._replace(repeats=events[-1].repeats + last.repeats, last=last.last)
