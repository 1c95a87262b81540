"""Intervals of a rate by resampling groups of near-duplicates."""

import numpy as np
import pytest

from training.resampling import draw_groups, rate_interval

ALARMS = np.arange(400) % 20 == 0  # 5 %


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


def apart(runs: int) -> list[str]:
    """Each run in a group of its own."""
    return [str(i) for i in range(runs)]


def test_independent_runs_give_the_interval_of_a_share() -> None:
    """With single runs as groups the interval is about that of the normal approximation."""
    low, high = rate_interval(ALARMS, apart(400))
    error = 1.96 * np.sqrt(0.05 * 0.95 / 400)
    assert low == pytest.approx(0.05 - error, abs=0.004)
    assert high == pytest.approx(0.05 + error, abs=0.004)


def test_near_duplicates_widen_the_interval() -> None:
    """The same rate says less if the alarms are copies of each other: 20 alarms in one group are one event, not 20."""
    alarms = np.arange(400) < 20
    groups = [str(i // 20) for i in range(400)]
    assert width(rate_interval(alarms, groups)) > 2 * width(rate_interval(alarms, apart(400)))


def test_copies_of_all_runs_change_nothing() -> None:
    """Ten copies of each run in its group leave the interval as it is; as runs of their own they would narrow it."""
    interval = rate_interval(ALARMS, apart(400))
    copies = np.repeat(ALARMS, 10)
    assert rate_interval(copies, [name for name in apart(400) for _ in range(10)]) == pytest.approx(interval)
    assert width(rate_interval(copies, apart(4000))) < 0.5 * width(interval)


def test_the_rate_lies_in_its_interval() -> None:
    """For groups of any sizes."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        groups = [str(name) for name in rng.integers(0, 30, 200)]
        alarms = rng.random(200) < 0.1
        low, high = rate_interval(alarms, groups)
        assert 0 <= low <= alarms.mean() <= high <= 1


def test_no_alarm_is_not_certainty() -> None:
    """Without an alarm the upper limit is the exact one for the number of groups, which falls with it."""
    none = np.zeros(400, dtype=bool)
    assert rate_interval(none, apart(400)) == (0.0, pytest.approx(1 - 0.025 ** (1 / 400)))
    assert rate_interval(none, [str(i // 40) for i in range(400)]) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert rate_interval(~none, apart(400)) == (pytest.approx(0.025 ** (1 / 400)), 1.0)


def test_one_group_says_nothing() -> None:
    """Runs of a single group give no idea of other groups."""
    assert rate_interval(ALARMS, ["a"] * 400) == (0.0, 1.0)


def test_a_seed_settles_the_interval() -> None:
    """The same seed draws the same groups, and another seed gives nearly the same interval."""
    groups = apart(400)
    assert rate_interval(ALARMS, groups, 7) == rate_interval(ALARMS, groups, 7)
    assert rate_interval(ALARMS, groups, 8) == pytest.approx(rate_interval(ALARMS, groups, 7), abs=0.006)


def test_each_resample_has_as_many_groups_as_the_data() -> None:
    """Groups are drawn with replacement."""
    drawn = draw_groups(30, np.random.default_rng(0), resamples=50)
    assert drawn.shape == (50, 30)
    assert set(drawn.sum(axis=1).tolist()) == {30}
    assert drawn.max() > 1
