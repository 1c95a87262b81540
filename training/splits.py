"""Splits runs into training and held-out parts. Near-duplicates, the runs of one group, always stay on one side."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

__all__ = ["FOLDS", "cross_folds", "group_folds", "hold_out"]

FOLDS = 5

Indexes = NDArray[np.intp]


def hold_out(labels: Sequence[str], groups: Sequence[str], seed: int) -> tuple[Indexes, Indexes]:
    """Indexes of training and test runs. A fifth is held out, with the labels in proportion as far as groups allow.

    Each seed takes another fold of its own shuffle: scikit-learn assigns the largest groups first, so with the first fold of
    every shuffle the same few large groups would be held out every time.
    """
    return list(cross_folds(labels, groups, seed))[seed % FOLDS]


def cross_folds(
    labels: Sequence[str], groups: Sequence[str], seed: int, folds: int = FOLDS
) -> Iterator[tuple[Indexes, Indexes]]:
    """Yields pairs of training and held-out indexes; every run is held out in exactly one pair."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A rare label that is missing in some folds is expected here and reported as "k of n"; train.py rejects labels with
        # too few runs.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        pairs = list(splitter.split(np.zeros(len(labels)), np.asarray(labels), np.asarray(groups)))
    yield from pairs


def group_folds(groups: Sequence[str], seed: int, folds: int = FOLDS) -> list[NDArray[np.bool_]]:
    """Splits runs of one label into folds; returns a boolean mask over the runs for each fold. A fold may be empty."""
    names = sorted(set(groups))
    fold_of = dict(zip(names, np.random.default_rng(seed).permutation(len(names)) % folds, strict=True))
    assigned = np.array([fold_of[group] for group in groups])
    return [assigned == fold for fold in range(folds)]
