"""When things happened to a UE: steps and trouble with their times in; spans, last times and what was left unresolved, out.

A trouble that was overcome and one that lasts have the same records. What tells them apart is time: whether it came again
until the log ends, whether the UE was served after it, whether the UE left before the others did.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from stream_triage.dialects import LAYERS, STEPS, Event
from stream_triage.stages.procedures.trends import Trends

__all__ = [
    "AREAS", "AREA_OF", "BEGUN", "COMPLETED", "FAILED", "HEAD", "LOST", "MAX_KINDS", "REFUSED", "RETRIED", "History",
    "LogTime", "Outcomes",
]  # fmt: skip

BEGUN, COMPLETED, REFUSED, FAILED, RETRIED, LOST = range(len(STEPS))

AREAS: Final = ("l1", "l2", "rrc", "nas", "data")
"""What trouble is sorted into: layers, with those that few logs show joined to their neighbours."""
_JOINED: Final = {"core": "nas", "tester": "data"}
AREA_OF: Final = tuple(AREAS.index(_JOINED.get(layer, layer)) for layer in LAYERS)
"""The area of each of `LAYERS`."""
# Kinds of trouble of an area whose spans are kept.
MAX_KINDS: Final = 12
# Latest times of trouble of an area that are kept.
MAX_RECENT: Final = 8
HEAD: Final = 80
"""Characters at the beginning of a line where its time is."""
_DAY_S: Final = 86_400.0
# What was buffered is at most that much older than the newest record.
_BUFFERED_S: Final = 3600.0
# No part of a longer row of pairs, such as a MAC address.
_TIME: Final = re.compile(
    r"(?<!\d)(?<!\b[\dA-Fa-f]{2}:)([01]?\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:[.,:](\d{1,9}))?(?!\d|:[\dA-Fa-f])"
)


class LogTime:
    """Seconds in the log's own time. A log without times counts its lines instead.

    Dates are not read: a time of day that goes back by more than half a day is that of the next day. Other steps back are
    those of records that were buffered, also over midnight, and count as the time before them.
    """

    __slots__ = ("_of_day", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._of_day = -1.0
        """The time of day that `now` is; -1 before the first one."""

    def read(self, line: str, number: int) -> float:
        """Goes on to the time of a line, or stays at the one before it if it states none."""
        of_day = _of_day(line)
        now = self._then(of_day, number)
        if of_day >= 0.0 and (now > self.now or self._of_day < 0.0):
            self._of_day = of_day
        self.now = now
        return now

    def of(self, line: str, number: int) -> float:
        """The time that `read` would go on to."""
        return self._then(_of_day(line), number)

    def _then(self, of_day: float, number: int) -> float:
        if self._of_day < 0.0:  # lines before the first time are counted
            return float(number) if of_day < 0.0 else self.now
        ahead = of_day - self._of_day if of_day >= 0.0 else 0.0
        if ahead < -_DAY_S / 2:
            ahead += _DAY_S
        elif ahead > _DAY_S - _BUFFERED_S:
            ahead = 0.0
        return self.now + max(ahead, 0.0)


def _of_day(line: str) -> float:
    """The time of day that a line begins with, in seconds; -1 if it has none."""
    match = _TIME.search(line, 0, HEAD)
    if match is None:
        return -1.0
    hours, minutes, seconds, part = match.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + int(part) / 10 ** len(part) if part else float(whole)


@dataclass(slots=True)
class Span:
    """How often something came, and when it came first and last."""

    count: int
    first: float
    last: float

    def add(self, now: float) -> None:
        """Counts the next one."""
        self.count += 1
        self.last = now


@dataclass(slots=True)
class Area:
    """Trouble of one area: all of it, by kind, and how much of it came since the UE last completed a step."""

    span: Span
    recent: list[float]
    """The latest times of trouble, at most `MAX_RECENT`."""
    unresolved: int = 0
    before: int = 0
    """`unresolved` before the last completion."""
    kinds: dict[object, Span] = field(default_factory=dict)

    def persists(self, end: float, never: float) -> float:
        """For how much of the time that was left until `end` a kind came again, at most; `never` if none did."""
        again = (kind for kind in self.kinds.values() if kind.count > 1)
        return max(((kind.last - kind.first) / max(end - kind.first, 1e-3) for kind in again), default=never)

    def since(self, time: float) -> int:
        """How much of the latest trouble came after a time."""
        return sum(one > time for one in self.recent)


@dataclass(slots=True)
class Outcomes:
    """How often a procedure was completed and went wrong, and when it last did, or was begun; times are -1 for never."""

    completed: int = 0
    bad: int = 0
    completed_at: float = -1.0
    bad_at: float = -1.0
    begun_at: float = -1.0
    before: float = -1.0
    """`completed_at` before the last completion, which the line after it may take back."""


class History:
    """All that happened to a UE, in time. It outlives attaches."""

    __slots__ = ("areas", "first_area", "last_area", "left", "line", "outcomes", "since", "trends", "until")

    def __init__(self) -> None:
        self.since = -1.0
        """When it was first heard of; -1 if it never was."""
        self.until = -1.0
        """When it was last heard of, other than by leaving and after it."""
        self.left = -1.0
        """When it left, if it has not come back; else -1."""
        self.areas: dict[int, Area] = {}
        """Trouble, by index in `AREAS`."""
        self.first_area = self.last_area = -1
        self.line = 0
        """The line of the first trouble."""
        self.outcomes: dict[int, Outcomes] = {}
        """By procedure."""
        self.trends: Trends | None = None
        """Values that were stated about it; None if none were."""

    def step(self, event: Event, now: float, line: int, *, layer: int, leaves: bool) -> None:
        """Takes a step of a procedure of that layer; `leaves` if the UE is gone with it."""
        outcomes = self.outcomes.get(event.procedure)
        if outcomes is None:
            outcomes = self.outcomes[event.procedure] = Outcomes()
        if event.step == COMPLETED and leaves:
            self.left = now
            self.since = now if self.since < 0 else self.since
            return
        self._seen(now)
        if event.step == COMPLETED:
            outcomes.completed += 1
            outcomes.before, outcomes.completed_at = outcomes.completed_at, now
            for area in self.areas.values():
                area.before, area.unresolved = area.unresolved, 0
        elif event.step == BEGUN:
            outcomes.begun_at = now
        else:
            if event.step in (REFUSED, FAILED, LOST):
                outcomes.bad += 1
                outcomes.bad_at = now
            self._trouble(AREA_OF[layer], event, now, line)

    def take_back(self, event: Event) -> None:
        """The last such step was none."""
        outcomes = self.outcomes.get(event.procedure)
        if outcomes and event.step == COMPLETED and outcomes.completed:
            outcomes.completed -= 1
            outcomes.completed_at = outcomes.before
            for area in self.areas.values():
                area.unresolved += area.before

    def trouble(self, layer: int, kind: int, now: float, line: int) -> None:
        """Takes trouble of a layer. What the lower layers report of a UE that left does not bring it back."""
        if self.left < 0:
            self._seen(now)
        self._trouble(AREA_OF[layer], kind, now, line)

    def _seen(self, now: float) -> None:
        self.since = now if self.since < 0 else self.since
        self.until, self.left = now, -1.0

    def _trouble(self, number: int, kind: object, now: float, line: int) -> None:
        area = self.areas.get(number)
        if area is None:
            area = self.areas[number] = Area(Span(0, now, now), [])
        area.span.add(now)
        if len(area.recent) == MAX_RECENT:
            del area.recent[0]
        area.recent.append(now)
        area.unresolved += 1
        if known := area.kinds.get(kind):
            known.add(now)
        elif len(area.kinds) < MAX_KINDS:
            area.kinds[kind] = Span(1, now, now)
        self.last_area = number
        if self.first_area < 0:
            self.first_area, self.line = number, line
