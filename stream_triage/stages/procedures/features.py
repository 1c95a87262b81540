"""States of all sources of a run in; a vector of numbers, and the line that each number rests on, out."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.procedures.follow import LOOP, ProcedureState, Repeats, Ue, last_line
from stream_triage.stages.procedures.signals import LAYERS

__all__ = ["FEATURES", "Features", "features", "vector"]

_VALUE_NAMES: Final = (
    "dl_bler", "ul_bler", "cqi", "dl_rate", "ul_rate", "duplicates", "discards", "retransmissions", "pdcp_discards",
    "ru_late", "ru_early", "ru_seqid_err", "ru_corrupt",
)  # fmt: skip
_COUNT_NAMES: Final = (
    "access_error", "connection_failed", "plmn_loss", "t310", "left", "deregistered", "refused", "cause_lower",
    "cause_upper", "cause_radio", "command_failed", "search_failed", "unlicensed", "setup_failed", "rebooted", "warned",
    "timed_out", "expects_refusal", "stopping",
)  # fmt: skip
_UNFINISHED: Final = ("access", "connection", "registration", "session", "reestablishment", "refused", "accepted")
# Of the failed UEs: which layer had trouble first, lowest in the stack, most often, at all, or twice first; which is blamed.
_OF_BROKEN: Final = ("first", "lowest", "dominant", "has", "loop", "blamed")
_MOST_OF_STEP: Final = (
    ("most_reestablishments", "reestablishing"),
    ("most_accesses", "access"),
    ("most_access_errors", "access_error"),
)
_CAUSES: Final = ("cause_lower", "cause_upper", "cause_radio")


def _names() -> tuple[str, ...]:
    return (
        *(f"{name}_{layer}" for name in ("repeated", "total", "struck", "alone", *_OF_BROKEN) for layer in LAYERS),
        *(f"{name}_{outcome}" for name in ("unfinished", "share_unfinished") for outcome in _UNFINISHED),
        *_COUNT_NAMES,
        *(f"{name}_{value}" for name in ("largest", "mean", "latest") for value in _VALUE_NAMES),
        *("ues", "broken", "share_broken", "most_reestablishments", "most_accesses", "most_access_errors"),
        *("reports_without_handover", "share_silent", "first_layer", "first_loop_layer"),
        *(f"share_{cause}" for cause in _CAUSES),
    )


FEATURES: Final = _names()
"""Names of the features, in the order of the vector. Bundles store them, and are rejected if theirs differ."""

# A share rests on the line of what it is a share of.
_SAME_LINE: Final = {
    **{f"share_unfinished_{outcome}": f"unfinished_{outcome}" for outcome in _UNFINISHED},
    **{f"share_{name}": name for name in (*_CAUSES, "broken")},
}


class Features(NamedTuple):
    """Of a whole run: value by name, and the line (source, number) that a value rests on, if there is one."""

    values: dict[str, float]
    lines: dict[str, tuple[str, int]]


def vector(run: Features) -> NDArray[np.float64]:
    """Values in the order of `FEATURES`, shape (F,)."""
    return np.array([run.values[name] for name in FEATURES])


def features(states: Mapping[str, ProcedureState]) -> Features:
    """All `FEATURES` of a run, from the states of its sources. Sources are added up in the order of their names."""
    run = Features(dict.fromkeys(FEATURES, 0.0), {})
    for source, state in sorted(states.items()):
        one = _Source(run, source)
        one.counts(state)
        one.tables(state)
        for ue in state.ues.values():
            one.ue(ue, state.refusal_expected)
    order = next((state.order for _, state in sorted(states.items()) if state.order), (-1, -1))
    run.values["first_layer"], run.values["first_loop_layer"] = map(float, order)
    _shares(run)
    return run


def _shares(run: Features) -> None:
    """Relates what was added up over UEs to how many UEs there are, or how many of them failed."""
    values = run.values
    ues, broken = max(1.0, values["ues"]), max(1.0, values["broken"])
    values["share_broken"] = values["broken"] / ues
    for outcome in _UNFINISHED:
        values[f"share_unfinished_{outcome}"] = values[f"unfinished_{outcome}"] / ues
    for name in _OF_BROKEN:
        for layer in LAYERS:
            values[f"{name}_{layer}"] /= broken
    for cause in _CAUSES:
        values[f"share_{cause}"] = values[cause] / broken
    for share, name in _SAME_LINE.items():
        if name in run.lines:
            run.lines[share] = run.lines[name]


class _Source:
    """Adds the numbers of one source to the features of the run."""

    def __init__(self, run: Features, source: str) -> None:
        self._run = run
        self._source = source

    def _add(self, name: str, value: float, line: int) -> None:
        """A sum; it rests on the line that came first. Line 0 stands for none."""
        self._run.values[name] += value
        if line:
            self._run.lines.setdefault(name, (self._source, line))

    def _raise(self, name: str, value: float, line: int) -> None:
        """A maximum; it rests on the line of the largest value."""
        if value > self._run.values[name]:
            self._run.values[name] = value
            if line:
                self._run.lines[name] = self._source, line

    def counts(self, state: ProcedureState) -> None:
        for name in _COUNT_NAMES:
            if state.counts[name]:
                self._add(name, state.counts[name], state.first_lines[name])
        for (layer, _), repeats in state.alone.items():
            self._raise(f"alone_{LAYERS[layer]}", repeats.count, repeats.first)

    def tables(self, state: ProcedureState) -> None:
        for name, values in state.tables.values.items():
            self._add(f"largest_{name}", values.largest, values.line)
            self._add(f"mean_{name}", values.total / values.count, values.line)
            self._add(f"latest_{name}", max(values.latest), values.line)
        silent = state.counts["silent"]
        share = silent / max(1, silent + state.counts["heard"])
        self._add("share_silent", share, state.first_lines.get("silent", 0))

    def ue(self, ue: Ue, refusal: bool) -> None:
        self._add("ues", 1, 0)
        for name, step in _MOST_OF_STEP:
            self._raise(name, ue.counts[step], ue.lines.get(step, 0))
        reports = max(0, ue.counts["report"] - ue.counts["handover"])
        self._add("reports_without_handover", reports, ue.lines.get("report", 0))
        by_layer: dict[int, list[Repeats]] = {}
        for (layer, _), repeats in ue.troubles(refusal).items():
            by_layer.setdefault(layer, []).append(repeats)
        for layer, some in by_layer.items():
            most = max(some)
            self._raise(f"repeated_{LAYERS[layer]}", most.count, most.first)
            self._raise(f"total_{LAYERS[layer]}", sum(repeats.count for repeats in some), most.first)
            if most.count >= LOOP:
                self._add(f"struck_{LAYERS[layer]}", 1, most.first)
        for outcome in ue.unfinished(refusal):
            self._add(f"unfinished_{outcome}", 1, last_line(ue, outcome))
        if ue.broken(refusal):
            self._broken(ue, by_layer, refusal)

    def _broken(self, ue: Ue, by_layer: Mapping[int, list[Repeats]], refusal: bool) -> None:
        """Which layer a failed UE had its trouble in."""
        last = max(ue.lines.values(), default=0)
        self._add("broken", 1, last)
        troubles = ue.troubles(refusal)
        blamed = LAYERS[ue.blamed(refusal)]
        self._add(f"blamed_{blamed}", 1, min((repeats.first for repeats in troubles.values()), default=last))
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
