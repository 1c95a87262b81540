"""What the modules that fit a bundle pass to each other. Imports no torch."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.next_key import Order
from stream_triage.stages.template import Templates
from training.data import MaskedRuns
from training.keyed import KeyedRuns
from training.networks.curve import Curve

__all__ = ["FittedClassifier", "FittedNetworks", "Precision", "TrainingPart"]


class TrainingPart(NamedTuple):
    """The runs that a bundle is fitted to.

    Attributes:
        masked: All runs of the corpus.
        labels: All labels; their order is that of the columns of every score.
        runs: Indexes of the training runs.
        groups: The group of near-duplicates of each training run.
        passing: Indexes of the training runs that pass.
        passing_groups: The group of each of these.
        templates: Templates mined from the training runs.
        keyed: All runs as keys of these templates.
    """

    masked: MaskedRuns
    labels: Sequence[str]
    runs: NDArray[np.intp]
    groups: Sequence[str]
    passing: Sequence[int]
    passing_groups: Sequence[str]
    templates: Templates
    keyed: KeyedRuns

    @property
    def targets(self) -> NDArray[np.intp]:
        """Index of the label of each training run."""
        return np.array([self.labels.index(label) for label in self.masked.labels[self.runs]])


class FittedClassifier(Protocol):
    """One classifier of the pool. `out_of_fold` are its calibrated scores of unseen training runs, shape (runs, L)."""

    @property
    def temperature(self) -> float:
        """Divisor that its scores were calibrated with."""

    @property
    def out_of_fold(self) -> NDArray[np.float64]:
        """Scores of each training run by a model that had not seen it."""


class Precision(NamedTuple):
    """Numeric precision of the served char-CNN, and how int8 compares with fp32 on its validation runs.

    Attributes:
        served: `int8` or `fp32`, what the part that reads lines computes in.
        same_labels: Share of the runs that get the same label in both.
        median_difference: Median difference of their scores.
        largest_difference: Largest difference of their scores.
    """

    served: str
    same_labels: float
    median_difference: float
    largest_difference: float


class FittedNetworks(NamedTuple):
    """The networks of a bundle.

    Attributes:
        files: Their files, by name.
        orders: What the next-key network reports of each passing run that it has not seen, in the order of
            `TrainingPart.passing`; None if no such network was trained.
        out_of_fold: Calibrated scores of the char-CNN on unseen training runs, shape (runs, L).
        temperature: Divisor that these scores were calibrated with.
        precision: What the char-CNN is served in.
        curves: Training curves, by name.
    """

    files: dict[str, bytes]
    orders: list[Order] | None
    out_of_fold: NDArray[np.float64]
    temperature: float
    precision: Precision
    curves: dict[str, Curve]
