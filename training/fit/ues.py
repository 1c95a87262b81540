"""Fits the forest that judges UEs: the UEs of the training runs in, boosted trees out.

Which UEs failed, the labels file may say. Where it does not, the UEs of passing runs passed, and in a failing run those
failed whose procedures broke; about the others nobody knows, and they are left out.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.procedures.trees import Trees
from stream_triage.stages.procedures.ue_forest import UeForest
from stream_triage.stages.procedures.ues import UE_FEATURES, JudgedUe

__all__ = ["UesFit", "fit_ues"]

TREES: Final[dict[str, Any]] = {
    "rounds": 150, "eta": 0.1, "max_depth": 5, "min_child_weight": 3, "subsample": 0.7, "colsample_bynode": 0.3,
}  # fmt: skip
# UEs of one label that a forest needs; fewer teach it the habits of single runs.
MIN_UES: Final = 20
_BREAKS: Final = (UE_FEATURES.index("breaks"), UE_FEATURES.index("looping"))
_UNKNOWN: Final = -1


@dataclass(frozen=True)
class UesFit:
    """The fitted forest.

    Attributes:
        forest: Its arrays.
        of_labels: Indexes of the labels that its outputs stand for.
        out_of_fold: What it says about each training run (`UeForest.summary`), from trees that had not seen the run.
    """

    forest: dict[str, NDArray[Any]]
    of_labels: tuple[int, ...]
    out_of_fold: NDArray[np.float64]


def fit_ues(
    ues: Sequence[Sequence[JudgedUe]],
    failed: Sequence[Collection[str] | None],
    targets: NDArray[np.intp],
    *,
    labels: int,
    folds: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    seed: int,
) -> UesFit | None:
    """Fits the forest; None if too few UEs failed to learn from.

    Args:
        ues: The judged UEs of each run.
        failed: The ids of the UEs of each run that failed; None, or none in a failing run, where nobody knows.
        targets: Index of the label of each run.
        labels: Number of labels; the passing one is the first.
        folds: Indexes of training and held-out runs; each run is held out once.
        seed: Seed of all choices.
    """
    known = [
        [_target(ue, of_failed, label) for ue in some]
        for some, of_failed, label in zip(ues, failed, targets.tolist(), strict=True)
    ]
    if sum(target > 0 for some in known for target in some) < MIN_UES:
        return None
    rows, of_folds = np.arange(len(ues)), []
    for train, _ in folds:
        of_folds.append(_grow(train, ues, known, seed))
    if any(grown is None for grown in of_folds):
        return None
    whole = _grow(rows, ues, known, seed)
    assert whole, "every fold has UEs of two labels"
    found: dict[int, NDArray[np.float64]] = {}
    for (_, test), grown in zip(folds, of_folds, strict=True):
        assert grown
        forest = UeForest(Trees(grown[0]), grown[1], labels, 0)
        found |= {run: forest.summary(ues[run]).values for run in test.tolist()}
    return UesFit(whole[0], whole[1], np.stack([found[run] for run in rows.tolist()]))


def _target(ue: JudgedUe, failed: Collection[str] | None, label: int) -> int:
    """Index of the label of a UE, or `_UNKNOWN`."""
    if label == 0:
        return 0
    if failed:
        return label if ue.ue in failed else 0
    return label if any(ue.values[number] for number in _BREAKS) else _UNKNOWN


def _grow(
    runs: NDArray[np.intp], ues: Sequence[Sequence[JudgedUe]], known: Sequence[Sequence[int]], seed: int
) -> tuple[dict[str, NDArray[Any]], tuple[int, ...]] | None:
    """Trees for the UEs of some runs, and the labels of their outputs; None if these UEs have only one label."""
    from training.fit.forest import grow  # xgboost, which logs of no known dialect do without

    taken = [
        (ue.values, target, len(ues[run]) ** -0.5)
        for run in runs.tolist()
        for ue, target in zip(ues[run], known[run], strict=True)
        if target != _UNKNOWN
    ]
    of_labels = tuple(sorted({target for _, target, _ in taken}))
    if len(of_labels) < 2 or of_labels[0] != 0:
        return None
    place = {label: number for number, label in enumerate(of_labels)}
    values, targets, weights = zip(*taken, strict=True)
    grown = grow(
        np.stack(values), np.array([place[target] for target in targets]), len(of_labels), np.array(weights), seed, **TREES
    )
    return grown, of_labels
