"""States of all sources of a run in; a vector of numbers, and the line that each number rests on, out.

**Unknown is not zero.** A value that no table or record states is not a number (NaN), and the trees treat it as missing.
Counts of what went wrong are signs for a failure and never against one: zero says nothing, whether the log shows nothing
wrong or does not show such things. What passing runs show as well, trouble that comes once or twice, is not counted.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.dialects import LAYERS
from stream_triage.dialects.table import procedures
from stream_triage.stages.procedures.breaks import blamed, breaks_of, run_breaks
from stream_triage.stages.procedures.course import BEGUN, COMPLETED, FAILED, LOOP, LOST, REFUSED, Course, Repeats
from stream_triage.stages.procedures.follow import Follower, ProcedureState

__all__ = ["FEATURES", "GROUPS", "Features", "features", "vector"]

# Procedures whose breaks the model knows. A user's dialect may have others: people see their breaks, the model does not.
_UE_PROCEDURES: Final = (
    "cell search", "random access", "connection", "authentication", "security", "registration", "session", "data", "service",
    "reconfiguration", "handover", "radio link", "re-establishment",
)  # fmt: skip
_NODE_PROCEDURES: Final = (
    "configuration", "process", "tester set-up", "cell set-up", "data server", "front-haul", "ng set-up", "f1 set-up",
    "e1 set-up", "s1 set-up", "transport", "script",
)  # fmt: skip
VALUES: Final = tuple(procedures().values)
# Of the failed UEs: which layer had trouble first, lowest in the stack, most often, at all, or twice first; which is blamed.
_OF_BROKEN: Final = ("first", "lowest", "dominant", "has", "loop", "blamed")
_OF_TROUBLE: Final = ("repeated", "total", "struck", "alone")
_MOST: Final = (("most_reestablishments", "re-establishment", BEGUN), ("most_access_errors", "random access", FAILED))


def _names() -> tuple[str, ...]:
    return (
        *(f"{name}_{layer}" for name in (*_OF_TROUBLE, *_OF_BROKEN) for layer in LAYERS),
        *(f"{name}_{procedure}" for name in ("broken", "share_broken", "bad") for procedure in _UE_PROCEDURES),
        *(f"broken_{procedure}" for procedure in _NODE_PROCEDURES),
        *(f"{name}_{value}" for name in ("largest", "mean", "latest") for value in VALUES),
        *("broken", "share_broken", *(name for name, *_ in _MOST)),
        *(f"cause_{layer}" for layer in LAYERS),
        *("reports_without_handover", "expects_refusal"),
    )


# Values are compared in single precision, which ends at 3e38.
MOST: Final = 1e30
_STATED: Final = frozenset(f"{name}_{value}" for name in ("largest", "mean", "latest") for value in VALUES)
FEATURES: Final = _names()
"""Names of the features, in the order of the vector. Bundles store them, and are rejected if theirs differ."""


def _groups() -> dict[str, tuple[int, ...]]:
    """Features that a habit of a farm may leave out together, by the habit."""

    def having(*words: str) -> tuple[int, ...]:
        return tuple(i for i, name in enumerate(FEATURES) if any(name.endswith(word) for word in words))

    return {
        "statistics": having(*VALUES),
        "radio unit": having("ru_late", "ru_early", "ru_seqid_err", "ru_corrupt"),
        "script": having("_script", "_cell set-up", "expects_refusal"),
        "tester": having("_tester", "_tester set-up"),
        "data": having("_data", "_data server", "broken_data", "bad_data"),
        "session": having("_session", "_service"),
        "mobility": having("_handover", "reports_without_handover", "_reconfiguration"),
    }


class Features(NamedTuple):
    """Of a whole run: value by name, and the line (source, number) that a value rests on, if there is one."""

    values: dict[str, float]
    lines: dict[str, tuple[str, int]]


def vector(run: Features) -> NDArray[np.float64]:
    """Values in the order of `FEATURES`, shape (F,); a value that no table or record states is NaN."""
    values = np.array([run.values.get(name, math.nan if name in _STATED else 0.0) for name in FEATURES])
    return np.asarray(np.clip(values, -MOST, MOST))


def features(follower: Follower, states: Mapping[str, ProcedureState]) -> Features:
    """All `FEATURES` that the run says something about. Sources are added up in the order of their names."""
    run = Features({}, {})
    ues = sum(len(state.ues) for state in states.values())
    for source, state in sorted(states.items()):
        _Source(run, follower, source, state).add_all()
    weak = follower.procedures.index["cell search"] + 1
    cause = next((found for found in run_breaks(follower, states) if found.rank < weak), None)
    if cause:
        name = f"cause_{LAYERS[cause.layer]}"
        run.values[name], run.lines[name] = 1.0, (cause.source, cause.line)
    if ues:
        _shares(run, ues)
    return run


def _shares(run: Features, ues: int) -> None:
    """Relates what was added up over UEs to how many UEs there are, or how many of them failed."""
    values, lines = run.values, run.lines
    broken = max(1.0, values.get("broken", 0.0))
    for name in ["broken", *(f"broken_{procedure}" for procedure in _UE_PROCEDURES)]:
        if name in values:
            share = f"share_{name}"
            values[share] = values[name] / ues
            if name in lines:
                lines[share] = lines[name]
    for name in _OF_BROKEN:
        for layer in LAYERS:
            if f"{name}_{layer}" in values:
                values[f"{name}_{layer}"] /= broken


class _Source:
    """Adds the numbers of one source to the features of the run."""

    def __init__(self, run: Features, follower: Follower, source: str, state: ProcedureState) -> None:
        self._run, self._follower, self._source, self._state = run, follower, source, state
        self._index = follower.procedures.index
        self._refusal = follower.refusal_expected(state)

    def _add(self, name: str, value: float, line: int) -> None:
        """A sum; it rests on the line that came first. Line 0 stands for none."""
        self._run.values[name] = self._run.values.get(name, 0.0) + value
        if line and value:
            self._run.lines.setdefault(name, (self._source, line))

    def _raise(self, name: str, value: float, line: int) -> None:
        """A maximum; it rests on the line of the largest value."""
        known = self._run.values.get(name)
        if known is None or value > known:
            self._run.values[name] = value
            if line and value:
                self._run.lines[name] = self._source, line

    def add_all(self) -> None:
        """Everything that the source says."""
        self._node()
        self._values()
        for (layer, _), repeats in self._state.alone.items():
            if repeats.count >= LOOP:
                self._raise(f"alone_{LAYERS[layer]}", repeats.count, repeats.first)
        self._add("expects_refusal", float(self._refusal), 0)
        for course in self._state.ues.values():
            self._ue(course)

    def _node(self) -> None:
        node = self._state.node
        broken = {found.procedure: found.line for found in self._follower.node_breaks(self._state)}
        for procedure in _NODE_PROCEDURES:
            number = self._index[procedure]
            if number in self._state.seen:
                bad = node.count(number, REFUSED, FAILED, LOST) if number in broken else 0
                bad = max(bad, int(number in broken))
                self._add(f"broken_{procedure}", float(min(bad, 8)), broken.get(number, 0))

    def _values(self) -> None:
        for name, values in self._state.statistics.values.items():
            if name in VALUES:
                self._raise(f"largest_{name}", values.largest, values.line)
                self._raise(f"mean_{name}", values.total / values.count, values.line)
                self._raise(f"latest_{name}", max(values.latest), values.line)

    def _ue(self, course: Course) -> None:
        for name, procedure, step in _MOST:
            number = self._index[procedure]
            if number in self._state.seen:
                self._raise(name, course.count(number, step), course.last(number, step))
        report, handover = self._index["measurement"], self._index["handover"]
        if report in self._state.seen:
            reports = max(0, course.count(report, BEGUN) - course.count(handover, COMPLETED))
            self._add("reports_without_handover", reports, course.last(report, BEGUN))
        by_layer = self._troubles(course)
        breaks = breaks_of(self._follower, self._state, course)
        for found in breaks:
            self._add(f"broken_{self._follower.procedures.names[found.procedure]}", 1, found.line)
        for procedure in _UE_PROCEDURES:
            number = self._index[procedure]
            if bad := course.count(number, REFUSED, FAILED, LOST):
                self._add(f"bad_{procedure}", bad, course.last(number, REFUSED, FAILED, LOST))
        again = max((repeats.count for some in by_layer.values() for repeats in some), default=0)
        loops = again >= LOOP or course.count(self._index["re-establishment"], BEGUN) >= LOOP
        if breaks or loops:
            self._broken(course, by_layer, breaks[0].line if breaks else 0)

    def _troubles(self, course: Course) -> dict[int, list[Repeats]]:
        """Counts the trouble of a UE, and returns it by layer."""
        by_layer: dict[int, list[Repeats]] = {}
        for (layer, _), repeats in course.troubles(refusal=self._refusal).items():
            by_layer.setdefault(layer, []).append(repeats)
        for layer, some in by_layer.items():
            most = max(some)
            if most.count >= LOOP:
                self._raise(f"repeated_{LAYERS[layer]}", most.count, most.first)
                self._add(f"struck_{LAYERS[layer]}", 1, most.first)
            if (total := sum(repeats.count for repeats in some)) >= LOOP:
                self._raise(f"total_{LAYERS[layer]}", total, most.first)
        return by_layer

    def _broken(self, course: Course, by_layer: Mapping[int, list[Repeats]], line: int) -> None:
        """Which layer a failed UE had its trouble in."""
        troubles = course.troubles(refusal=self._refusal)
        first_trouble = min((repeats.first for repeats in troubles.values()), default=0)
        self._add("broken", 1, line or first_trouble)
        self._add(f"blamed_{LAYERS[blamed(self._follower, self._state, course)]}", 1, first_trouble or line)
        if not troubles:
            return
        first, layer = min((repeats.first, layer) for (layer, _), repeats in troubles.items())
        self._add(f"first_{LAYERS[layer]}", 1, first)
        lowest = min(by_layer)
        self._add(f"lowest_{LAYERS[lowest]}", 1, min(repeats.first for repeats in by_layer[lowest]))
        (dominant, _), most = max(troubles.items(), key=lambda item: item[1].count)
        self._add(f"dominant_{LAYERS[dominant]}", 1, most.first)
        for layer, some in by_layer.items():
            self._add(f"has_{LAYERS[layer]}", 1, min(repeats.first for repeats in some))
        again = [(repeats.second, layer, repeats.first) for (layer, _), repeats in troubles.items() if repeats.second]
        if again:
            _, layer, first = min(again)
            self._add(f"loop_{LAYERS[layer]}", 1, first)


GROUPS: Final = _groups()
