"""States of all sources of a run in any dialect in; log-odds of the labels out, by rules of 3GPP instead of training.

What speaks for a label is its *ground*: a procedure that broke, trouble that lasts, or procedures that were completed. The
first ground of `GROUNDS` that a run has decides. How often a ground is right was counted on logs of several stacks
(`general.json`, written by training/stacks_benchmark.py); that, and nothing else, is the confidence of a verdict.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.dialects import LAYERS, Signal, WithLexicon
from stream_triage.errors import BundleError
from stream_triage.records import Explanation, LineShare
from stream_triage.stages.procedures.breaks import RunBreak, failed_ues, run_breaks
from stream_triage.stages.procedures.course import BEGUN, COMPLETED, LOOP, Repeats
from stream_triage.stages.procedures.follow import FAULT_LINES, Follower, ProcedureState

__all__ = ["GENERAL", "GROUNDS", "General", "Ground"]

GENERAL: Final = "general.json"
"""The file of a bundle that judges runs of any stack."""

GROUNDS: Final[Mapping[str, str]] = {
    "node": "a network function, or what all UEs need, broke",
    "refused": "the network refused a UE",
    "failed": "a procedure of a UE failed",
    "value": "a value is beyond its limit",
    "repeated": "trouble came again and again",
    "unfinished": "a procedure was begun and not completed, or did not follow",
    "few": "some of the UEs failed",
    "session": "UEs got sessions, and nothing broke",
    "registration": "UEs registered, and nothing broke",
    "connection": "UEs connected, and nothing broke",
    "mostly": "UEs got sessions or registered, and other procedures were not seen to end",
    "early": "trouble came again and again before any UE did anything",
    "set-up": "network functions connected, no UE did anything, and nothing broke",
    "once": "there was trouble, and nothing that shows success",
}
"""What a label may rest on."""

# What shows that UEs came through, the farthest first.
_SUCCESSES: Final = ("session", "registration", "connection")
_NODE_SUCCESSES: Final = ("ng set-up", "s1 set-up", "f1 set-up", "e1 set-up", "cell set-up", "transport", "front-haul")
_HOW: Final[Mapping[str, str]] = {
    "refused": "refused",
    "failed": "failed",
    "lost": "failed",
    "retried": "repeated",
    "repeated": "repeated",
    "begun": "unfinished",
    "missing": "unfinished",
    "": "value",
}
_L1: Final = LAYERS.index("l1")
_L2: Final = LAYERS.index("l2")
_NAS: Final = LAYERS.index("nas")
# A log of a 3GPP system has at least so many lines that say so, and so large a share of its lines does. Of an excerpt, one
# line is enough.
TELLING_LINES: Final = 2
TELLING_SHARE: Final = 0.01
EXCERPT_LINES: Final = 20
# Share of the UEs that failed, below which the others count as much.
FEW: Final = 0.5
# Lines that an explanation names.
SHOWN: Final = 10
# The line that decides has this share of the score, and each one behind it half of that before.
FIRST_SHARE: Final = 0.5


class Ground(NamedTuple):
    """What speaks for a label."""

    name: str
    """One of `GROUNDS`."""
    label: str
    lines: tuple[tuple[str, int], ...]
    """Source and number of the lines that show it, those that say most first."""


class General:
    """Judges runs of stacks that no bundle was trained on. Stands where `Procedures` stands in other bundles.

    Args:
        labels: All labels of the bundle.
        passing: Index of the passing one.
        reliability: By ground, how often it was right, 0 to 1.
        dialects: What lines are read by.

    Raises:
        BundleError: A ground or label is missing.
    """

    def __init__(
        self, labels: Sequence[str], passing: int, *, reliability: Mapping[str, float], dialects: WithLexicon
    ) -> None:
        missing = [ground for ground in GROUNDS if not 0 < reliability.get(ground, 0.0) < 1]
        absent = sorted(set(dialects.procedures.labels.values()) - set(labels))
        if missing or absent:
            raise BundleError(f"{GENERAL} of this bundle lacks {(missing or absent)[0]!r}; rebuild the bundle")
        self._labels, self._passing, self._reliability = tuple(labels), passing, dict(reliability)
        self.dialects = dialects
        self.follower = Follower(dialects, of_any=True)
        self._access = self.follower.procedures.index["random access"]

    @classmethod
    def from_file(cls, labels: Sequence[str], passing: int, profile: Any, dialects: WithLexicon) -> "General":
        """From `general.json` of a bundle."""
        try:
            return cls(labels, passing, reliability=dict(profile["reliability"]), dialects=dialects)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"{GENERAL} of this bundle is incomplete ({error}); rebuild the bundle") from None

    def signal(self, masked: str) -> Signal | None:
        """The signal of a masked line; depends on the line alone, so it can be remembered for lines like it.

        Trouble in a record whose level says that nothing is wrong is usual. And the lower layers know nothing of the
        procedures of NAS: a MAC that does not match is for PDCP an integrity check, and no authentication.
        """
        signal = self.dialects.read(masked)
        if signal is None:
            return None
        if signal.calm and signal.trouble:
            return signal._replace(trouble=False)
        if signal.event and 0 <= signal.layer <= _L2 and self.follower.procedures.layers[signal.event.procedure] == _NAS:
            return signal._replace(event=None, trouble=signal.event.step not in (BEGUN, COMPLETED))
        return signal

    def knows(self, signal: Signal | None) -> bool:
        """Whether a line is a record of any dialect, goes on with one, or has words of 3GPP."""
        return signal is not None and (signal.dialect >= 0 or signal.heard or bool(signal.continued))

    def reads(self, masked: str) -> bool:
        """Whether a masked line, as it stands, begins a record of a module that a dialect lists."""
        signal = self.dialects.read(masked)
        return signal is not None and signal.dialect >= 0 and signal.layer >= 0

    def start(self) -> ProcedureState:
        """The state of a source before its first line."""
        return self.follower.start()

    def follow(
        self, state: ProcedureState, lines: Sequence[str], signals: Iterable[Signal | None], first_number: int
    ) -> None:
        """Takes the next lines of a source in order, each with the signal of its masked form."""
        signals = list(signals)
        state.telling += sum(one.telling or (one.layer >= 0 and not one.heard) for one in signals if one)
        self.follower.follow(state, lines, signals, first_number)

    def scores(self, states: Mapping[str, ProcedureState]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,): those of the ground; all equal if nothing speaks."""
        scores = np.zeros(len(self._labels))
        if ground := self.ground(states):
            right = self._reliability[ground.name]
            scores[self._labels.index(ground.label)] = np.log(right / (1 - right) * (len(self._labels) - 1))
        return scores

    def explain(self, states: Mapping[str, ProcedureState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """The lines of the ground share its score; there is nothing else."""
        ground, scores = self.ground(states), self.scores(states)
        total = float(scores[label] - scores[rival])
        if ground is None or not ground.lines:
            return Explanation([], {}, total, {GROUNDS[ground.name]: total} if ground else {})
        shares = [FIRST_SHARE**place for place in range(1, len(ground.lines) + 1)]
        shares[0] += 1 - sum(shares)
        found = [
            LineShare(*line, total * share, ((GROUNDS[ground.name], total * share),))
            for line, share in zip(ground.lines, shares, strict=True)
        ]
        return Explanation(found, {}, 0.0)

    def silence(self, states: Mapping[str, ProcedureState], lines: int) -> str:
        """Why nothing in a run speaks for any label; empty if something does. `lines` are those with text."""
        if self._of_3gpp(states, lines):
            return "" if self.ground(states) else "no procedure of the run was completed, and none broke"
        return "the run does not look like one of a 4G or 5G system"

    @staticmethod
    def _of_3gpp(states: Mapping[str, ProcedureState], lines: int) -> bool:
        telling = sum(state.telling for state in states.values())
        return telling >= max(1 if lines <= EXCERPT_LINES else TELLING_LINES, TELLING_SHARE * lines)

    def ground(self, states: Mapping[str, ProcedureState]) -> Ground | None:
        """What the label of a run rests on; None if nothing speaks for any."""
        labels = self.dialects.procedures.labels
        breaks = [found for found in run_breaks(self.follower, states) if LAYERS[found.layer] in labels]
        firm = [found for found in breaks if _HOW[found.how] != "unfinished"]
        if firm:
            return self._broken(self._causes_first(firm), states)
        for name in _SUCCESSES:
            if lines := self._completed(states, name):
                if breaks and name == "connection":
                    break
                return Ground("mostly" if breaks else name, self._labels[self._passing], tuple(lines[:SHOWN]))
        if breaks:
            return self._broken(breaks, states)
        early = sorted(_early(states), key=lambda one: (one[0].count < LOOP, one[0].first))
        if early and early[0][0].count >= LOOP:
            return self._of_trouble("early", early)
        if not early and (lines := [line for name in _NODE_SUCCESSES for line in self._completed(states, name)]):
            return Ground("set-up", self._labels[self._passing], tuple(lines[:SHOWN]))
        trouble = early or sorted(_trouble(states), key=lambda one: one[0].first)
        return self._of_trouble("once", trouble) if trouble else None

    def _causes_first(self, breaks: Sequence[RunBreak]) -> list[RunBreak]:
        """What all UEs need, then what the network refused, then the lower layers before those that use them."""
        of_node = self.follower.procedures.of_node

        def place(found: RunBreak) -> int:
            if of_node[found.rank]:
                return 0
            return 1 if found.how == "refused" else 2 if found.layer <= _L2 else 3

        return sorted(breaks, key=place)

    def _layer(self, found: RunBreak, states: Mapping[str, ProcedureState]) -> int:
        """The layer that a break speaks for. A random access that the network never answers is a matter of the radio."""
        state = states[found.source]
        words = self.follower.procedures.words[self._access].get(found.how, "?")
        unanswered = found.words == words and 2 * state.unanswered > state.access_failures > 0
        return _L1 if unanswered else found.layer

    def _broken(self, breaks: Sequence[RunBreak], states: Mapping[str, ProcedureState]) -> Ground:
        first, procedures = breaks[0], self.follower.procedures
        of_node = procedures.of_node[first.rank]
        name = "node" if of_node else _HOW[first.how]
        seen = {ue for state in states.values() for ue in state.ues}
        failed = {one.ue for state in states.values() for one in failed_ues(self.follower, state)}
        if not of_node and seen and 0 < len(failed) < FEW * len(seen) and self._completed(states, "registration"):
            name = "few"
        trouble = sorted((*_early(states), *_trouble(states)), key=lambda one: -one[0].count)
        lines = dict.fromkeys(
            [
                (first.source, first.line),
                *self._of_process(first, states),
                *((found.source, found.line) for found in breaks),
                *((source, repeats.first) for repeats, _, source in trouble),
            ]
        )
        return Ground(name, self.dialects.procedures.labels[LAYERS[self._layer(first, states)]], tuple(lines)[:SHOWN])

    def _of_process(self, found: RunBreak, states: Mapping[str, ProcedureState]) -> list[tuple[str, int]]:
        """Where a process stops, the lines behind say why."""
        if found.rank != self.follower.procedures.index["process"]:
            return []
        last = min(found.line + FAULT_LINES - 1, states[found.source].last[1])
        return [(found.source, line) for line in range(found.line + 1, last + 1)]

    def _of_trouble(self, name: str, trouble: Sequence[tuple[Repeats, int, str]]) -> Ground:
        labels = self.dialects.procedures.labels
        lines = dict.fromkeys((source, repeats.first) for repeats, _, source in trouble)
        return Ground(name, labels[LAYERS[trouble[0][1]]], tuple(lines)[:SHOWN])

    def _completed(self, states: Mapping[str, ProcedureState], name: str) -> list[tuple[str, int]]:
        """The first line of each source and UE that completes a procedure."""
        number = self.follower.procedures.index[name]
        lines = (
            (source, course.first(number, COMPLETED))
            for source, state in sorted(states.items())
            for course in (state.node, *state.ues.values())
        )
        return [line for line in lines if line[1]]


def _early(states: Mapping[str, ProcedureState]) -> Iterator[tuple[Repeats, int, str]]:
    """Trouble before any UE did anything, with its layer and source."""
    for source, state in sorted(states.items()):
        for (layer, _), repeats in state.early.items():
            if layer >= 0:
                yield repeats, layer, source


def _trouble(states: Mapping[str, ProcedureState]) -> Iterator[tuple[Repeats, int, str]]:
    """Trouble behind that, with its layer and source."""
    for source, state in sorted(states.items()):
        for kinds in (state.alone, *(course.kinds for course in state.ues.values())):
            for (layer, _), repeats in kinds.items():
                if layer >= 0:
                    yield repeats, layer, source
