"""Which runs are trained on and which are held out. Near copies (runs of one group) always stay on one side."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

__all__ = ["FOLDS", "cross_folds", "hold_out"]

FOLDS = 5

Indexes = NDArray[np.intp]


def hold_out(labels: Sequence[str], groups: Sequence[str], seed: int) -> tuple[Indexes, Indexes]:
    """Indexes of training and test runs; a fifth is held out, with the labels in proportion as far as groups allow.

    Each seed takes another fold of its own shuffle, since a few large groups always fall into the first ones.
    """
    return list(cross_folds(labels, groups, seed))[seed % FOLDS]


def cross_folds(
    labels: Sequence[str], groups: Sequence[str], seed: int, folds: int = FOLDS
) -> Iterator[tuple[Indexes, Indexes]]:
    """Every run is in the second part of exactly one pair."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A rare label that is not in every fold is expected here, and told as k of n; train.py refuses what is too small.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        pairs = list(splitter.split(np.zeros(len(labels)), np.asarray(labels), np.asarray(groups)))
    yield from pairs
