"""The plain detector: threshold and measured false alarm rate from cross-fitting over groups of near-duplicates."""

import json

import numpy as np
import pytest

from stream_triage.stages.detect import NEW, Detector
from tests.corpus import tiny_bundle
from tests.training.key_runs import TEMPLATES, Runs, passing_runs
from training.fit.detector import fit_detector, fit_reducer, raw_score

USUAL = [0, 1, 2, 3, 4, 8]


def odd_runs(odd: int, usual: int) -> Runs:
    """Usual runs of one form, and odd ones that all lack the same key and have another one instead."""
    return Runs([[0, 1, 2, 9, 4, 8]] * odd + [USUAL] * usual)


def apart(count: int) -> list[str]:
    return [f"g{i}" for i in range(count)]


def interval(keyed: Runs, groups: list[str]) -> tuple[float, float]:
    return fit_detector(keyed, TEMPLATES, range(len(groups)), groups, 0).profile.false_alarm_interval


def test_the_threshold_keeps_to_the_target() -> None:
    """Of 200 passing runs, 20 of which have lines of no template, about the 2 % with the most such lines are anomalous."""
    keyed = Runs([[*USUAL, *[NEW] * unknown, *[5] * (20 - unknown), 8] for unknown in [*range(1, 21), *[0] * 180]])
    detector = fit_detector(keyed, TEMPLATES, range(200), apart(200), 0)
    profile = detector.profile
    assert profile.target_false_alarm_rate == 0.02
    assert 2 <= sum(raw_score(detector, keyed.run(i)) > profile.threshold for i in range(200)) <= 4
    low, high = profile.false_alarm_interval
    assert low < 0.02 < high < 0.05


def test_near_duplicates_make_the_interval_wider() -> None:
    """Three odd runs of 300 are above the threshold; as copies in one group they leave the rate less certain than apart."""
    keyed = odd_runs(3, 297)
    copies = ["copies"] * 3 + [f"g{i // 3}" for i in range(297)]
    one, other = interval(keyed, apart(300)), interval(keyed, copies)
    assert other[1] - other[0] > 1.2 * (one[1] - one[0])


def test_fewer_groups_are_less_certain_without_an_alarm() -> None:
    """If no run is above the threshold, the interval depends on the number of groups, not on the number of runs."""
    keyed = Runs([USUAL] * 100)
    few = [f"g{i % 10}" for i in range(100)]
    assert interval(keyed, apart(100)) == (0.0, pytest.approx(0.0362, abs=1e-3))
    assert interval(keyed, few) == (0.0, pytest.approx(0.3085, abs=1e-3))


def test_the_interval_is_the_same_for_the_same_seed() -> None:
    """Fitting twice gives the same profile."""
    keyed = odd_runs(3, 97)
    assert interval(keyed, apart(100)) == interval(keyed, apart(100))


def test_a_group_is_never_scored_by_its_own_copies() -> None:
    """Runs of one group with a key of their own are new to the profile that scores them, so the threshold counts them."""
    keyed = Runs([[0, 1, 2, 9, 4, 8]] * 10 + [USUAL] * 90)
    together = fit_detector(keyed, TEMPLATES, range(100), ["copies"] * 10 + apart(90), 0).profile.threshold
    scattered = fit_detector(keyed, TEMPLATES, range(100), apart(100), 0).profile.threshold
    assert together > scattered


def test_stored_bundles_keep_the_name_of_the_target() -> None:
    """`detector.json` calls the target `false_alarm_rate`, and a profile without an interval still opens."""
    stored = json.loads(tiny_bundle().data("detector.json"))
    assert stored["false_alarm_rate"] == 0.02
    assert "target_false_alarm_rate" not in stored
    del stored["false_alarm_interval"]
    keys = [row["key"] for row in tiny_bundle().json("templates.json")["templates"]]
    profile = Detector.from_file(keys, stored).profile
    assert (profile.target_false_alarm_rate, profile.false_alarm_interval) == (0.02, (0.0, 1.0))


def test_expected_keys_are_in_their_usual_order() -> None:
    """By the median of their first positions; a key that one run in ten lacks is not expected."""
    keyed = Runs([[0, 2, 1, 3, 8], *[[0, 1, 2, 3, 8]] * 8, [0, 1, 2, 8]])
    profile = fit_detector(keyed, TEMPLATES, range(10), apart(10), 0).profile
    assert profile.expected == tuple(TEMPLATES.keys[i] for i in (0, 1, 2, 8))
    assert (profile.lines_low, profile.lines_high) == (4, 5)


def test_rare_keys_are_those_of_few_passing_runs() -> None:
    """A key in one of thirty runs is rare, and so is one that no run has."""
    rare = fit_reducer(Runs([[*USUAL, 9], *[USUAL] * 29]), TEMPLATES, range(30)).rare
    assert TEMPLATES.keys[9] in rare
    assert TEMPLATES.keys[7] in rare
    assert not set(rare) & {TEMPLATES.keys[i] for i in USUAL}


def test_a_new_key_raises_the_score() -> None:
    """A run with a key that no passing run has scores above the threshold; a usual one does not."""
    detector = fit_detector(passing_runs(20), TEMPLATES, range(20), apart(20), 0)
    usual = {"": ([0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 7, 8], [])}
    broken = {"": ([0, 1, 2, 3, 9, 9, 9], [])}
    assert raw_score(detector, usual) <= detector.profile.threshold < raw_score(detector, broken)
    assert np.isfinite(detector.profile.threshold)
