"""Scores of runs that a model had not seen in; temperature, shares of several models and the limit for a review out."""

from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

__all__ = ["ACCEPTED_ERROR", "Pooling", "fit_pool", "log_loss", "review_limit", "temperature"]

# The verdicts above the confidence limit may be wrong this often, on runs each fold had not seen.
ACCEPTED_ERROR = 0.01
# Shares are tried in tenths: finer ones cannot be told apart by some thousand runs.
STEPS = 10

Scores = NDArray[np.float64]


def log_loss(scores: Scores, targets: NDArray[np.intp]) -> float:
    """Mean negative log-likelihood of the right labels, in nats; `scores` are logits, shape (runs, L)."""
    return float(-log_softmax(scores, axis=1)[np.arange(len(targets)), targets].mean())


def temperature(scores: Scores, targets: NDArray[np.intp]) -> float:
    """What the scores must be divided by to be likeliest (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""
    found = minimize_scalar(lambda log_t: log_loss(scores / np.exp(log_t), targets), bounds=(-3, 3), method="bounded")
    return float(np.exp(found.x))


class Pooling(NamedTuple):
    """Shares above 0, which sum to 1, and the temperature of the shared scores; `scores` are the pool's, calibrated."""

    shares: dict[str, float]
    temperature: float
    scores: Scores
    losses: dict[str, float]
    """Log-loss of each model alone, and of the pool as `pool`."""


def fit_pool(scores: Mapping[str, Scores], targets: NDArray[np.intp]) -> Pooling:
    """Shares whose pool is likeliest on runs none of the models had seen; of equal ones, those that favour the first model.

    All models must have been fitted on the same folds, or the one that saw more would win by that.
    """
    names, best = list(scores), None
    for ends in combinations_with_replacement(range(STEPS + 1), len(names) - 1):
        cuts = (0, *ends, STEPS)
        # The first model's share falls as its cut does, so the trials begin with nothing but the last model.
        shares = {name: (b - a) / STEPS for name, a, b in zip(names, cuts, cuts[1:], strict=False)}
        pooled = np.sum([share * scores[name] for name, share in shares.items()], axis=0)
        divisor = temperature(pooled, targets)
        loss = log_loss(pooled / divisor, targets)
        if best is None or loss <= best[0] + 1e-9:
            best = min(loss, best[0]) if best else loss, shares, divisor, pooled / divisor
    assert best is not None
    loss, shares, divisor, pooled = best
    alone = {name: round(log_loss(of_one / temperature(of_one, targets), targets), 5) for name, of_one in scores.items()}
    return Pooling({n: s for n, s in shares.items() if s > 0}, divisor, pooled, alone | {"pool": round(loss, 5)})


def review_limit(scores: Scores, targets: NDArray[np.intp]) -> float:
    """Lowest confidence limit, at least one half, above which verdicts on unseen runs err no more often than accepted."""
    probabilities = softmax(scores, axis=1)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != targets
    for limit in np.arange(0.5, 1.0, 0.05):
        accepted = confidence >= limit
        if not accepted.any() or wrong[accepted].mean() <= ACCEPTED_ERROR:
            return round(float(limit), 2)
    return 0.95
