"""States of all sources in; a vector of numbers for each UE that may have failed, out.

The classifier judges such UEs one by one before it judges the run: what became of a UE does not depend on how many others
there are. UEs without any trouble, that stayed as long as the others and got what the others got, are left out.
"""

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.procedures.breaks import blamed, breaks_of, looping
from stream_triage.stages.procedures.course import BEGUN, Course
from stream_triage.stages.procedures.features import MOST, UE_PROCEDURES
from stream_triage.stages.procedures.follow import Follower, ProcedureState
from stream_triage.stages.procedures.history import AREAS, History, Outcomes
from stream_triage.stages.procedures.trends import MEASURED, Trend

__all__ = ["ALONE_FEATURES", "MAX_JUDGED", "UE_FEATURES", "JudgedUe", "alone_values", "ue_rows"]

# UEs of a run that are judged, those with trouble first.
MAX_JUDGED: Final = 256
# A UE that leaves in the last part of the time leaves with the others.
_EARLY: Final = 0.03
# How much worse than its best a value must be to stand out: rates in digits, retransmissions as a share. Other values stand
# out by their limits.
_WORSE: Final = {"dl_rate": 1.0, "ul_rate": 1.0, "retransmissions": 0.1}
# The last part of the time, in which trouble counts as trouble at the end.
_TAIL: Final = 0.15
# Whether the UE left, and for how long before the last UE was heard of and before the log ends; for how long it has been
# silent, also compared with half of the UEs; how long it was heard of; what the source shows: sessions, UEs, a refusal that
# is expected, trouble without a UE; areas of its first and last trouble; and what the procedures say of it.
_GENERAL: Final = (
    "left", "left_before_last", "left_before_end", "silent", "behind", "life", "sessions_shown", "ues", "refusal",
    "alone_l1", "alone_l2", "first_area", "last_area", "reestablishments", "breaks", "looping", "broken_layer", "blamed",
)  # fmt: skip
# Of its trouble in an area: how much, of how many kinds, of the commonest one; when the last came, in its own time (`late`)
# and in that of all UEs (`last`); for how much of the time that was left a kind came again (`persists`); how much came
# since the last step that succeeded; when the first came; how long before it left; and how much at the end.
_OF_AREA: Final = (
    "count", "kinds", "most", "late", "last", "persists", "unresolved", "since_first", "before_leaving", "at_the_end",
)  # fmt: skip
# How often a procedure was completed and went wrong, whether it last went wrong or was begun without an end, and when.
_OF_PROCEDURE: Final = ("completed", "bad", "bad_last", "open", "bad_at")
# Of a value that is stated of it: the last one, turned so that a larger one is worse; how much worse than the best one it
# is; and how many of the last ones in a row are beyond the limit.
_OF_VALUE: Final = ("last_value", "worse_than_best", "beyond")


class JudgedUe(NamedTuple):
    """A UE, the line that shows best what happened to it (0: none does), and its features, shape (F,)."""

    source: str
    ue: str
    line: int
    values: NDArray[np.float64]


UE_FEATURES: Final = (
    *_GENERAL,
    *(f"{name}_{area}" for area in AREAS for name in _OF_AREA),
    *(f"{name}_{procedure}" for procedure in UE_PROCEDURES for name in _OF_PROCEDURE),
    *(f"{name}_{value}" for value in MEASURED for name in _OF_VALUE),
)
"""Names of the features of a UE, in the order of the vector. Times are shares of the time in which UEs were heard of; NaN
stands for never."""
_COUNTS: Final = [UE_FEATURES.index(f"count_{area}") for area in AREAS]
_OF_ALONE: Final = ("count", "kinds", "last", "persists", "at_the_end")
ALONE_FEATURES: Final = tuple(f"alone_{name}_{area}" for area in AREAS for name in _OF_ALONE)
"""Names of the numbers of trouble that names no UE."""


def alone_values(follower: Follower, states: Mapping[str, ProcedureState]) -> NDArray[np.float64]:
    """Numbers of the trouble of all sources that names no UE: the largest one of each, in the order of `ALONE_FEATURES`."""
    rows = [_alone(state, follower.end(state)) for _, state in sorted(states.items())]
    return np.max(rows, axis=0) if rows else np.zeros(len(ALONE_FEATURES))


def _alone(state: ProcedureState, end: float) -> list[float]:
    history = state.alone_in_time
    heard = [course.history.since for course in state.ues.values() if course.history.since >= 0]
    begin = min([*heard, history.since] if history.since >= 0 else heard, default=0.0)
    span = max(end - begin, 1e-3)
    values: list[float] = []
    for number in range(len(AREAS)):
        area = history.areas.get(number)
        if area is None:
            values += [0.0] * len(_OF_ALONE)
            continue
        values += [
            float(area.span.count),
            float(len(area.kinds)),
            (area.span.last - begin) / span,
            area.persists(end, never=0.0),
            float(area.since(end - _TAIL * span)),
        ]
    return values


def ue_rows(follower: Follower, states: Mapping[str, ProcedureState]) -> list[JudgedUe]:
    """The UEs that may have failed; at most `MAX_JUDGED`, sources in the order of their names."""
    rows = [row for source, state in sorted(states.items()) for row in _of_source(follower, source, state)]
    if len(rows) > MAX_JUDGED:
        rows = sorted(rows, key=lambda row: not row.values[_COUNTS].any())[:MAX_JUDGED]
    return rows


class _Times(NamedTuple):
    """Times that the UEs of a source are compared with."""

    begin: float
    """When the first UE was heard of."""
    last: float
    """When the last one was."""
    end: float
    """Of the log."""
    usual: float
    """When half of the UEs were last heard of."""


def _of_source(follower: Follower, source: str, state: ProcedureState) -> Iterator[JudgedUe]:
    known = [course.history for course in state.ues.values() if course.history.since >= 0]
    if not known:
        return
    heard = [max(history.until, history.left) for history in known]
    end = max(follower.end(state), *heard)
    times = _Times(min(history.since for history in known), max(heard), end, median(heard))
    session = follower.procedures.index["session"]
    shown = any(session in history.outcomes for history in known)
    for ue, course in state.ues.items():
        if course.history.since < 0:
            continue
        breaks = breaks_of(follower, state, course)
        if breaks or _stands_out(course, times, session if shown else -1):
            line = course.history.line or (breaks[0].line if breaks else 0)
            yield JudgedUe(source, ue, line, _values(follower, state, course, times, shown=shown))


def _stands_out(course: Course, times: _Times, session: int) -> bool:
    """Whether a UE without breaks may have failed; a session is missed only where others have one (`session` is not -1)."""
    history = course.history
    if history.areas or course.failed:
        return True
    if history.trends and any(
        trend.beyond or trend.last - trend.best >= _WORSE.get(name, math.inf) for name, trend in history.trends.items()
    ):
        return True
    if history.left >= 0 and history.left < times.end - _EARLY * (times.end - times.begin):
        return True
    outcomes = history.outcomes
    if any(one.begun_at > one.completed_at for one in outcomes.values()):
        return True
    return session >= 0 and session not in outcomes


def _values(follower: Follower, state: ProcedureState, course: Course, times: _Times, *, shown: bool) -> NDArray[np.float64]:
    history = course.history
    span = max(times.last - times.begin, 1e-3)
    values = [
        *_general(follower, state, course, times, span, shown=shown),
        *(value for number in range(len(AREAS)) for value in _of_area(history, number, times, span)),
        *(
            value
            for name in UE_PROCEDURES
            for value in _of_procedure(history.outcomes.get(follower.procedures.index[name]), times, span)
        ),
        *(value for name in MEASURED for value in _of_value(history.trends.get(name) if history.trends else None)),
    ]
    return np.clip(np.array(values, dtype=np.float64), -MOST, MOST)


def _general(
    follower: Follower, state: ProcedureState, course: Course, times: _Times, span: float, *, shown: bool
) -> list[float]:
    history, left = course.history, course.history.left
    breaks, loop = breaks_of(follower, state, course), looping(follower, state, course)
    gone = left >= 0
    failed = bool(breaks or loop)
    return [
        float(gone),
        (times.last - left) / span if gone else math.nan,
        (times.end - left) / max(times.end - times.begin, 1e-3) if gone else math.nan,
        (times.last - max(history.until, left)) / span,
        (times.usual - max(history.until, left)) / span,
        (max(history.until, left) - history.since) / span,
        float(shown),
        float(len(state.ues)),
        float(follower.refusal_expected(state)),
        *(float(sum(repeats.count for (layer, _), repeats in state.alone.items() if layer == number)) for number in (0, 1)),
        float(history.first_area),
        float(history.last_area),
        float(course.count(follower.procedures.index["re-establishment"], BEGUN)),
        float(len(breaks)),
        float(bool(loop)),
        float(follower.procedures.layers[breaks[0].procedure]) if breaks else math.nan,
        float(blamed(follower, state, course)) if failed else math.nan,
    ]


def _of_area(history: History, number: int, times: _Times, span: float) -> list[float]:
    area = history.areas.get(number)
    if area is None:
        return [0.0, 0.0, 0.0, math.nan, math.nan, math.nan, 0.0, math.nan, math.nan, 0.0]
    of_all, ended = area.span, max(history.until, history.left)
    return [
        float(of_all.count),
        float(len(area.kinds)),
        float(max(kind.count for kind in area.kinds.values())),
        (of_all.last - history.since) / max(ended - history.since, 1e-3),
        (of_all.last - times.begin) / span,
        area.persists(times.last, never=math.nan),
        float(area.unresolved),
        (times.last - of_all.first) / span,
        (history.left - of_all.last) / span if history.left >= 0 else math.nan,
        float(area.since(times.last - _TAIL * span)),
    ]


def _of_value(trend: Trend | None) -> list[float]:
    if trend is None:
        return [math.nan, math.nan, 0.0]
    return [trend.last, trend.last - trend.best, float(trend.beyond)]


_NEVER: Final = Outcomes()


def _of_procedure(outcomes: Outcomes | None, times: _Times, span: float) -> list[float]:
    known = outcomes or _NEVER
    return [
        float(known.completed),
        float(known.bad),
        float(known.bad_at > known.completed_at),
        float(known.begun_at > known.completed_at),
        (known.bad_at - times.begin) / span if known.bad else math.nan,
    ]
