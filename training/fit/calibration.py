"""Calibrates scores and weights the classifiers against each other, on runs that each model had not seen.

A network that has seen a run is nearly certain of it. Temperature, shares and the confidence limit are therefore fitted to
out-of-fold scores: for each run, those of a model that was trained without it.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from training.resampling import draw_groups

__all__ = ["ACCEPTED_ERROR", "Pooling", "fit_pool", "log_loss", "review_limit", "temperature"]

# Share of the runs whose verdict may be wrong although it asks for no review.
ACCEPTED_ERROR = 0.01
# Share of the samples of groups in which it must not be exceeded.
ACCEPTED_IN = 0.9
# Confidence limits that are tried. The highest is also the answer if none of them keeps to the accepted error.
LIMITS = (*np.arange(0.5, 0.95, 0.05), 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999)
# Shares are tried in tenths: some thousand runs do not distinguish finer ones.
STEPS = 10

Scores = NDArray[np.float64]


def log_loss(scores: Scores, targets: NDArray[np.intp]) -> float:
    """Mean negative log-likelihood of the true labels, in nats; `scores` are logits, shape (runs, L)."""
    # The log-softmax is computed in one step: a softmax that rounds to 0 would give an infinite loss.
    return float(-log_softmax(scores, axis=1)[np.arange(len(targets)), targets].mean())


def temperature(scores: Scores, targets: NDArray[np.intp]) -> float:
    """The divisor of the scores that makes the true labels likeliest, between 0.05 and 20.

    One number calibrates a model without changing any of its labels (Guo et al., "On Calibration of Modern Neural
    Networks", 2017, section 4.2).
    """
    # Searched on a logarithmic scale, on which halving and doubling the scores are equally far. The loss has a single
    # minimum in it, and the bounds keep a model that is always right on few runs from a temperature of 0.
    best = minimize_scalar(lambda log_t: log_loss(scores / np.exp(log_t), targets), bounds=(-3, 3), method="bounded")
    return float(np.exp(best.x))


class Pooling(NamedTuple):
    """A weighted sum of the scores of several models.

    Attributes:
        shares: Weight of each model; they sum to 1, and models with weight 0 are left out.
        temperature: The divisor of the summed scores.
        scores: The calibrated scores of the pool, shape (runs, L).
        losses: Log-loss of each model alone, and of the pool as `pool`, in nats a run.
    """

    shares: dict[str, float]
    temperature: float
    scores: Scores
    losses: dict[str, float]


def fit_pool(scores: Mapping[str, Scores], targets: NDArray[np.intp]) -> Pooling:
    """Tries all shares in tenths and returns the pool with the lowest log-loss.

    Args:
        scores: Out-of-fold scores of each model, shape (runs, L). All models must have been fitted on the same folds;
            otherwise a model that saw more runs would win for that reason.
        targets: Index of the true label of each run.

    Returns:
        The best pool; of equally good ones, the one with the largest share for the first model.
    """
    names, best = list(scores), None
    # All ways to cut a bar of ten tenths into one piece for each model; a piece may be empty. With three models these are
    # 66 trials, so nothing cleverer is needed.
    for ends in combinations_with_replacement(range(STEPS + 1), len(names) - 1):
        cuts = (0, *ends, STEPS)
        # The first model's share is the first cut, which rises: a later trial of equal loss favours the first model.
        shares = {name: (b - a) / STEPS for name, a, b in zip(names, cuts, cuts[1:], strict=False)}
        # Log-odds are added, not probabilities: in a sum each line keeps its share, so the evidence of a verdict stays
        # exact.
        pooled = np.sum([share * scores[name] for name, share in shares.items()], axis=0)
        # Models that agree make a pool that is too sure of itself or not sure enough, so each trial is calibrated anew.
        divisor = temperature(pooled, targets)
        loss = log_loss(pooled / divisor, targets)
        if best is None or loss <= best[0] + 1e-9:
            best = min(loss, best[0]) if best else loss, shares, divisor, pooled / divisor
    assert best is not None
    loss, shares, divisor, pooled = best
    # Each model alone is calibrated, too: only then do the losses not depend on the scale of the scores.
    alone = {name: round(log_loss(of_one / temperature(of_one, targets), targets), 5) for name, of_one in scores.items()}
    return Pooling({n: s for n, s in shares.items() if s > 0}, divisor, pooled, alone | {"pool": round(loss, 5)})


def review_limit(scores: Scores, targets: NDArray[np.intp], groups: Sequence[str]) -> float:
    """Confidence below which a verdict needs a review.

    What is sure within one group may be wrong in another one. So the error must keep to the limit not on the training runs
    as they are, but in nine of ten samples of as many groups, drawn with replacement. It is a share of all runs, not of
    those decided: some failures leave no trace that any model sees, and however sure a verdict must be, they keep their
    share among the passing ones.

    Args:
        scores: Calibrated out-of-fold scores, shape (runs, L).
        targets: Index of the true label of each run.
        groups: The group of near-duplicates of each run; no group was in two folds.

    Returns:
        The lowest limit of `LIMITS` with which at most the share `ACCEPTED_ERROR` of all runs is decided and wrong; the
        highest limit if there is none.
    """
    probabilities = softmax(scores, axis=1)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != targets
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    drawn = draw_groups(len(names), np.random.default_rng(0))
    # From the lowest limit up: a review costs an engineer minutes, so no more verdicts are held back than the accepted
    # error asks for.
    runs = drawn @ np.bincount(member)
    for limit in LIMITS:
        missed = drawn @ np.bincount(member, weights=wrong & (confidence >= limit))
        if np.quantile(missed / runs, ACCEPTED_IN) <= ACCEPTED_ERROR:
            return round(float(limit), 3)
    return float(LIMITS[-1])
