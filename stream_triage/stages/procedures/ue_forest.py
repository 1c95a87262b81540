"""Judged UEs of a run in; what they say about the run, a few numbers for each label, out.

A forest gives each UE the probabilities of the labels. The run is as bad as its worst UE: `most` and `worst` do not depend
on how many UEs there are. `top`, `share` and `mean` do: UEs that recover lower them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.errors import BundleError
from stream_triage.stages.procedures.trees import Trees
from stream_triage.stages.procedures.ues import UE_FEATURES, JudgedUe

__all__ = ["RISING", "UeForest", "UeSummary", "summary_names"]

# How many of the worst UEs `top` is the mean of.
_TOP: Final = 3
_OF_RUN: Final = ("most", "top", "share")
RISING: Final = ("ues_most", "ues_top", "ues_share")
"""Beginnings of the names of numbers that only rise when UEs look worse."""


def summary_names(labels: Sequence[str], passing: int) -> tuple[str, ...]:
    """Names of the numbers of `UeForest.summary`, in their order; `labels` are those of the bundle."""
    failing = [label for number, label in enumerate(labels) if number != passing]
    return (
        *(f"ues_{name} failed" for name in _OF_RUN),
        *(f"ues_{name} {label}" for name in ("most", "worst", "mean") for label in failing),
    )


class UeSummary(NamedTuple):
    """The numbers, and the UE that they rest on: the worst one; None if no UE was judged."""

    values: NDArray[np.float64]
    worst: JudgedUe | None


class UeForest:
    """The forest that judges UEs.

    Args:
        trees: An output for each of `of_labels`.
        of_labels: Indexes of the labels that training UEs had; the passing one is among them.
        labels: Number of labels of the bundle.
        passing: Index of the passing label.

    Raises:
        BundleError: The trees fit neither the labels nor the features.
    """

    def __init__(self, trees: Trees, of_labels: Sequence[int], labels: int, passing: int) -> None:
        if trees.outputs != len(of_labels) or trees.features > len(UE_FEATURES) or passing not in of_labels:
            raise BundleError("the trees of UEs were grown for other labels or features; rebuild the bundle")
        self._trees, self._of_labels = trees, np.asarray(of_labels, dtype=np.intp)
        self._labels, self._passing = labels, passing

    def probabilities(self, ues: Sequence[JudgedUe]) -> NDArray[np.float64]:
        """Probabilities of the labels for each UE, shape (UEs, L)."""
        found = np.zeros((len(ues), self._labels))
        if ues:
            scores = self._trees.scores_of(np.stack([ue.values for ue in ues]))
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            found[:, self._of_labels] = shares / shares.sum(axis=1, keepdims=True)
        return found

    def summary(self, ues: Sequence[JudgedUe]) -> UeSummary:
        """What UEs say about their run, shape (3 + 3 (L - 1),)."""
        failing = [number for number in range(self._labels) if number != self._passing]
        if not ues:
            return UeSummary(np.zeros(len(_OF_RUN) + 3 * len(failing)), None)
        shares = self.probabilities(ues)
        failed = 1.0 - shares[:, self._passing]
        worst = int(failed.argmax())
        of_labels = shares[:, failing]
        known = max(failed.sum(), 1e-9)
        values = np.concatenate(
            [
                [failed[worst], np.sort(failed)[-_TOP:].mean(), failed.mean()],
                of_labels.max(axis=0),
                of_labels[worst] / max(failed[worst], 1e-9),
                failed @ of_labels / known,
            ]
        )
        return UeSummary(values, ues[worst])
