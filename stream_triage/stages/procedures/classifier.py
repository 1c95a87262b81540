"""Lines of the sources of a run in; log-odds of the labels out, from what became of the UEs' procedures.

Words alone do not tell layers apart on causes that training has not seen: out-of-fold macro-F1 .49 to .62 for TF-IDF, .84 to
.87 for these features, .89 to .91 with few features tried at each split of the trees (training/LOG.md, 2026-11-25).
"""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_triage.errors import BundleError
from stream_triage.records import Explanation, LineShare
from stream_triage.stages.procedures.features import FEATURES, features, vector
from stream_triage.stages.procedures.follow import ProcedureState, follow
from stream_triage.stages.procedures.signals import Signal, read_signal
from stream_triage.stages.procedures.trees import Trees

__all__ = ["Procedures"]


class Procedures:
    """Scores runs by what became of their UEs, and follows the UEs for that.

    It stands beside the pool of classifiers, which see folded lines: here repeats count, so it has to see every line.
    `usual` are the kinds of records that passing runs show anyway.

    Raises:
        BundleError: The trees do not fit the labels or the features.
    """

    def __init__(self, labels: Sequence[str], usual: Container[int], trees: Trees, temperature: float = 1.0) -> None:
        if trees.labels != len(labels) or trees.features > len(FEATURES):
            raise BundleError("the trees of this bundle were grown for other labels or features; rebuild the bundle")
        self._usual, self._trees, self._temperature = usual, trees, temperature

    @classmethod
    def from_files(cls, labels: Sequence[str], profile: Any, arrays: Mapping[str, NDArray[Any]]) -> "Procedures":
        """From `procedures.json` and `procedures.npz` of a bundle."""
        try:
            if tuple(profile["features"]) != FEATURES:
                raise BundleError("this bundle was trained on other features of procedures; retrain it")
            return cls(labels, frozenset(profile["usual_kinds"]), Trees(arrays), float(profile["temperature"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the procedures of this bundle are incomplete ({error}); rebuild the bundle") from None

    def signal(self, masked: str) -> Signal | None:
        """The signal of a masked line; depends on the line alone, so it can be remembered for lines like it."""
        return read_signal(masked, self._usual)

    def start(self) -> ProcedureState:
        """The state of a source before its first line."""
        return ProcedureState()

    @staticmethod
    def follow(state: ProcedureState, lines: Sequence[str], signals: Iterable[Signal | None], first_number: int) -> None:
        """Takes the next lines of a source in order, each with the signal of its masked form."""
        follow(state, lines, signals, first_number)

    def scores(self, states: Mapping[str, ProcedureState]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,)."""
        return self._trees.scores(vector(features(states))) / self._temperature

    def explain(self, states: Mapping[str, ProcedureState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """The share of each feature goes to the line it rests on; shares of features without a line are in the rest."""
        run = features(states)
        base, shares = self._trees.attribute(vector(run))
        difference = (shares[label] - shares[rival]) / self._temperature
        lines: dict[tuple[str, int], float] = {}
        rest = float(base[label] - base[rival]) / self._temperature
        for name, share in zip(FEATURES, difference.tolist(), strict=True):
            line = run.lines.get(name)
            if line is None:
                rest += share
            else:
                lines[line] = lines.get(line, 0.0) + share
        return Explanation([LineShare(*line, share) for line, share in lines.items()], {}, rest)
