"""Shares, temperature and the limit for a review, on scores whose answer is known."""

import numpy as np
import pytest

from training.fit.calibration import fit_pool, log_loss, review_limit, temperature

RNG = np.random.default_rng(3)
TARGETS = RNG.integers(0, 3, 4000)


def knowing(share: float, seed: int) -> np.ndarray:
    """Log-odds of a model that knows the true label of this share of the runs and guesses the others."""
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(len(TARGETS)) < share, TARGETS, rng.integers(0, 3, len(TARGETS)))
    right = share + (1 - share) / 3
    probabilities = np.full((len(TARGETS), 3), (1 - right) / 2)
    probabilities[np.arange(len(TARGETS)), predicted] = right
    return np.log(probabilities)


def test_temperature_undoes_a_scale() -> None:
    """Calibrated scores that were multiplied by four are divided by four."""
    assert temperature(knowing(0.7, 1) * 4, TARGETS) == pytest.approx(4, rel=0.1)


def test_a_model_that_knows_nothing_gets_no_share() -> None:
    """Noise beside a good model has no weight in the pool."""
    pool = fit_pool({"one": knowing(0.8, 1), "noise": RNG.normal(size=(len(TARGETS), 3))}, TARGETS)
    assert pool.shares == {"one": 1.0}
    assert pool.losses["pool"] == pytest.approx(pool.losses["one"])


def test_two_models_that_err_apart_are_better_together() -> None:
    """Two equally good models with independent errors share the pool, which is better than either."""
    pool = fit_pool({"one": knowing(0.7, 1), "other": knowing(0.7, 2)}, TARGETS)
    assert pool.shares == pytest.approx({"one": 0.5, "other": 0.5}, abs=0.11)
    assert sum(pool.shares.values()) == pytest.approx(1)
    assert pool.losses["pool"] < 0.95 * min(pool.losses["one"], pool.losses["other"])
    assert log_loss(pool.scores, TARGETS) == pytest.approx(pool.losses["pool"], abs=1e-4)


def test_of_equals_the_first_decides() -> None:
    """A second model with the same scores is not worth its cost."""
    assert fit_pool({"first": knowing(0.7, 1), "second": knowing(0.7, 1)}, TARGETS).shares == {"first": 1.0}


def test_one_model_has_all() -> None:
    """A single model has the whole share."""
    assert fit_pool({"terms": knowing(0.7, 1)}, TARGETS).shares == {"terms": 1.0}


def verdicts(*kinds: tuple[float, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and targets of verdicts on three labels, by confidence, number, and number of wrong ones."""
    scores, targets = [], []
    for confidence, count, wrong in kinds:
        row = np.log([confidence, (1 - confidence) / 2, (1 - confidence) / 2])
        scores += [row] * count
        targets += [1] * wrong + [0] * (count - wrong)
    return np.array(scores), np.array(targets)


def error_rate(scores: np.ndarray, targets: np.ndarray, limit: float) -> float:
    """Share of all runs whose verdict is wrong and has at least this confidence."""
    confidence = np.exp(scores).max(axis=1)
    return float(((scores.argmax(axis=1) != targets) & (confidence >= limit)).mean())


def limit_of(scores: np.ndarray, targets: np.ndarray) -> float:
    """The limit if ten groups are alike."""
    return review_limit(scores, targets, [str(number % 10) for number in range(len(targets))])


def test_review_limit_separates_guesses() -> None:
    """Half of the verdicts are sure and right, the others are wrong at .62: the limit is between."""
    scores, targets = verdicts((0.98, 2000, 0), (0.62, 2000, 2000))
    assert 0.62 < limit_of(scores, targets) < 0.98
    assert limit_of(*verdicts((0.98, 2000, 0))) == 0.5


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [(0, 0.5), (10, 0.5), (11, 0.7), (50, 0.7), (100, 0.7)],
)
def test_at_most_one_run_in_a_hundred_is_decided_wrongly(wrong: int, expected: float) -> None:
    """With 1,000 verdicts, 10 wrong ones at a confidence of .67 are accepted; of more, all at .67 need a review."""
    assert limit_of(*verdicts((0.97, 500, 0), (0.67, 500, wrong))) == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_limit_keeps_to_the_accepted_error(seed: int) -> None:
    """Whatever the errors by confidence: at most 1 % of the runs are decided wrongly, and a limit .05 lower accepts more."""
    rng = np.random.default_rng(seed)
    kinds = [(confidence, 400, int(rng.integers(0, 60))) for confidence in np.arange(0.52, 0.9, 0.05)]
    scores, targets = verdicts(*kinds, (0.97, 2000, 5))
    limit = limit_of(scores, targets)
    assert error_rate(scores, targets, limit) <= 0.01
    assert limit == 0.5 or error_rate(scores, targets, limit - 0.05) > 0.008


def test_no_limit_is_low_enough_for_a_model_that_is_surely_wrong() -> None:
    """If even the most confident verdicts are often wrong, the highest limit is used."""
    assert limit_of(*verdicts((0.9999, 100, 30))) == 0.999


def test_the_accepted_error_must_hold_in_other_groups_too() -> None:
    """The same 8 wrong verdicts of 1,000 are accepted if all groups have some, and not if one group has all of them."""
    scores, targets = verdicts((0.97, 500, 0), (0.67, 500, 8))
    spread = [str(number % 8) for number in range(1000)]
    in_one = ["odd" if target else str(number % 7) for number, target in enumerate(targets)]
    assert review_limit(scores, targets, spread) == 0.5
    assert review_limit(scores, targets, in_one) == 0.7
