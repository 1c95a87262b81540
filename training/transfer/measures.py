"""What a model says of held-out runs in, figures with their intervals out.

Every figure is computed from a weight for each run. Weights of 1 give the figure itself; a resample of groups
(training/resampling.py) gives every run the number of times that its group was drawn, so that all resamples are one matrix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.resampling import draw_groups, rate_interval

__all__ = [
    "BINS", "COVERAGES", "LEVEL", "Answers", "counted_labels", "error_at_coverage", "figures", "joined",
    "macro_f1", "macro_f1_difference",
]  # fmt: skip

LEVEL: Final = 0.90
BINS: Final = 10
COVERAGES: Final = (20, 40, 60, 80, 100)
"""Shares of the runs, in percent, that are kept when the least confident ones are put aside."""

Figure = dict[str, float | None]
"""`value`, and the limits `low` and `high` of its interval. None stands for a figure that cannot be computed."""
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What one model says of N runs.

    Attributes:
        predicted: The label of each run, shape (N,).
        probability: The probability of that label, shape (N,); None for a model that gives none.
        confidence: By what the runs are put in order, shape (N,); None if they cannot be.
        decided: Whether the label counts without a review, shape (N,); None for a model that does not say so.
    """

    predicted: NDArray[np.str_]
    probability: Vector | None = field(default=None, kw_only=True)
    confidence: Vector | None = field(default=None, kw_only=True)
    decided: NDArray[np.bool_] | None = field(default=None, kw_only=True)

    def at(self, places: NDArray[np.intp]) -> "Answers":
        """The answers for some of the runs."""
        return Answers(
            self.predicted[places],
            probability=None if self.probability is None else self.probability[places],
            confidence=None if self.confidence is None else self.confidence[places],
            decided=None if self.decided is None else self.decided[places],
        )


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of all parts, one part after the other; all parts have the same fields."""

    def column(name: str) -> NDArray[Any] | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    predicted = np.concatenate([part.predicted for part in parts])
    return Answers(predicted, probability=column("probability"), confidence=column("confidence"), decided=column("decided"))


def counted_labels(true: NDArray[np.str_], min_runs: int) -> list[str]:
    """The labels that at least `min_runs` runs have, sorted; macro-F1 is the mean over them."""
    names, counts = np.unique(true, return_counts=True)
    return [str(name) for name, count in zip(names, counts, strict=True) if count >= min_runs]


def figures(true: NDArray[np.str_], groups: Sequence[str], answers: Answers, min_runs: int) -> dict[str, Figure]:
    """All figures of a model, by name, each with its interval.

    Args:
        true: The label of each run.
        groups: The group of each run; whole groups are drawn.
        answers: What the model says.
        min_runs: Macro-F1 is over the labels that so many runs have; among the decided, that so many decided runs have.
    """
    labels = {"macro_f1": counted_labels(true, min_runs)}
    if answers.decided is not None:
        labels["macro_f1_of_decided"] = counted_labels(true[answers.decided], min_runs)
    observed = _figures(np.ones((1, len(true))), true, answers, labels)
    resampled = _figures(_weights(groups), true, answers, labels)
    intervals = {name: _interval(values, groups) for name, values in resampled.items()}
    for name, events in _events(true, answers).items():
        # Resamples of runs without an event have none either; `rate_interval` also handles that.
        intervals[name] = rate_interval(events, groups, level=LEVEL)
    return {name: _figure(observed[name][0], intervals[name]) for name in observed}


def macro_f1_difference(
    true: NDArray[np.str_], groups: Sequence[str], one: Answers, other: Answers, labels: Sequence[str]
) -> Figure:
    """Macro-F1 of `one` less that of `other`. Both see the same resamples, so what is hard for both cancels out."""

    def difference(weights: Vector) -> Vector:
        scores = [macro_f1(weights, true, answers.predicted, labels) for answers in (one, other)]
        return scores[0] - scores[1]

    return _figure(difference(np.ones((1, len(true))))[0], _interval(difference(_weights(groups)), groups, lowest=-1.0))


def error_at_coverage(true: NDArray[np.str_], answers: Answers) -> dict[str, float]:
    """Share of wrong labels among the most confident runs, by the percentage of the runs that they are."""
    if answers.confidence is None:
        return {}
    order = np.argsort(-answers.confidence, kind="stable")
    wrong = (answers.predicted != true)[order]
    kept = {share: max(1, round(len(wrong) * share / 100)) for share in COVERAGES}
    return {str(share): round(float(wrong[:runs].mean()), 4) for share, runs in kept.items()}


def _figures(
    weights: Vector, true: NDArray[np.str_], answers: Answers, labels: Mapping[str, Sequence[str]]
) -> Mapping[str, Vector]:
    """All figures for each row of `weights`, shape (resamples, N); `labels` are those of each macro-F1."""
    runs = weights.sum(axis=1)
    found = {"macro_f1": macro_f1(weights, true, answers.predicted, labels["macro_f1"])}
    found |= {name: weights @ events / runs for name, events in _events(true, answers).items()}
    if answers.decided is not None:
        kept = weights * answers.decided
        found["macro_f1_of_decided"] = macro_f1(kept, true, answers.predicted, labels["macro_f1_of_decided"])
    if answers.probability is not None:
        found["ece"] = _calibration_error(weights, answers.predicted == true, answers.probability)
    return found


def _events(true: NDArray[np.str_], answers: Answers) -> dict[str, NDArray[np.bool_]]:
    """What is counted for each figure that is a share of all runs, shape (N,)."""
    right = np.asarray(answers.predicted == true)
    if answers.decided is None:
        return {"accuracy": right}
    return {"accuracy": right, "decided": answers.decided, "decided_and_wrong": answers.decided & ~right}


def macro_f1(weights: Vector, true: NDArray[np.str_], predicted: NDArray[np.str_], labels: Sequence[str]) -> Vector:
    """Macro-F1 for each row of `weights`, over the labels that some run of the row has; NaN where no run has any."""
    total, present = np.zeros(len(weights)), np.zeros(len(weights))
    for label in labels:
        have, said = true == label, predicted == label
        with_label = weights @ have
        total += 2 * (weights @ (have & said)) / np.maximum(with_label + weights @ said, 1e-9) * (with_label > 0)
        present += with_label > 0
    return np.where(present > 0, total / np.maximum(present, 1), np.nan)


def _calibration_error(weights: Vector, right: NDArray[np.bool_], probability: Vector) -> Vector:
    """Expected calibration error for each row of `weights` (`training.evaluate.expected_calibration_error` for one)."""
    bin_of_run = np.minimum((probability * BINS).astype(int), BINS - 1)
    # A bin's share of the runs times its gap is the gap of its sums: the number of its runs cancels out.
    gaps = (right - probability)[:, None] * (bin_of_run[:, None] == np.arange(BINS))
    return np.asarray(np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1))


def _weights(groups: Sequence[str]) -> Vector:
    """How often each run is drawn in each resample, shape (resamples, N)."""
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    return draw_groups(len(names), np.random.default_rng(0)).astype(np.float64)[:, member]


def _interval(values: Vector, groups: Sequence[str], lowest: float = 0.0) -> tuple[float, float]:
    """The interval of resampled values; all that is possible for a single group, which says nothing about others."""
    known = values[~np.isnan(values)]
    if len(set(groups)) < 2 or not len(known):
        return lowest, 1.0
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _figure(value: Any, interval: tuple[float, float]) -> Figure:
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    return {"value": round(float(value), 4), "low": round(interval[0], 4), "high": round(interval[1], 4)}
