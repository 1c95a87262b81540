"""Shares, temperature and the limit for a review, on scores whose answer is known."""

import numpy as np
import pytest

from training.fit.calibration import fit_pool, log_loss, review_limit, temperature

RNG = np.random.default_rng(3)
TARGETS = RNG.integers(0, 3, 4000)


def knowing(share: float, seed: int) -> np.ndarray:
    """Log-odds of a model that is told the right label of so many runs, and guesses the others'."""
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(len(TARGETS)) < share, TARGETS, rng.integers(0, 3, len(TARGETS)))
    right = share + (1 - share) / 3
    probabilities = np.full((len(TARGETS), 3), (1 - right) / 2)
    probabilities[np.arange(len(TARGETS)), said] = right
    return np.log(probabilities)


def test_temperature_undoes_a_scale() -> None:
    """Calibrated scores made four times too sure are divided by four."""
    assert temperature(knowing(0.7, 1) * 4, TARGETS) == pytest.approx(4, rel=0.1)


def test_a_model_that_knows_nothing_gets_no_share() -> None:
    pool = fit_pool({"one": knowing(0.8, 1), "noise": RNG.normal(size=(len(TARGETS), 3))}, TARGETS)
    assert pool.shares == {"one": 1.0}
    assert pool.losses["pool"] == pytest.approx(pool.losses["one"])


def test_two_models_that_err_apart_are_better_together() -> None:
    pool = fit_pool({"one": knowing(0.7, 1), "other": knowing(0.7, 2)}, TARGETS)
    assert pool.shares == pytest.approx({"one": 0.5, "other": 0.5}, abs=0.11)
    assert sum(pool.shares.values()) == pytest.approx(1)
    assert pool.losses["pool"] < 0.95 * min(pool.losses["one"], pool.losses["other"])
    assert log_loss(pool.scores, TARGETS) == pytest.approx(pool.losses["pool"], abs=1e-4)


def test_of_equals_the_first_decides() -> None:
    """A second model that says the very same is not worth its cost."""
    assert fit_pool({"first": knowing(0.7, 1), "second": knowing(0.7, 1)}, TARGETS).shares == {"first": 1.0}


def test_one_model_has_all() -> None:
    assert fit_pool({"terms": knowing(0.7, 1)}, TARGETS).shares == {"terms": 1.0}


def test_review_limit_leaves_one_error_in_a_hundred() -> None:
    """Half of the runs are sure and right, half are guessed wrongly at .62: the limit lies between."""
    scores = np.log(np.where(np.eye(3)[TARGETS] == 1, 0.98, 0.01))
    guessed = np.arange(len(TARGETS)) % 2 == 0
    wrong = (TARGETS + 1) % 3
    scores[guessed] = np.log(np.where(np.eye(3)[wrong[guessed]] == 1, 0.62, 0.19))
    assert 0.62 < review_limit(scores, TARGETS) < 0.98
    assert review_limit(scores[~guessed], TARGETS[~guessed]) == 0.5
