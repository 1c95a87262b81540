"""Several classifiers by their shares: scores and evidence are the weighted sums."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from stream_triage.records import Explanation, LineShare
from stream_triage.stages.classify import Pool


class Counting:
    """A label's score is how many lines came, times a weight; each line has its share."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.advanced: list[int] = []

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]]) -> list[float]:
        return [self.weight * len(of_line) for of_line in words]

    def start(self) -> list[tuple[float, int]]:
        return []

    def update(self, state: list[tuple[float, int]], features: Sequence[float], numbers: Sequence[int]) -> None:
        state += zip(features, numbers, strict=True)

    def advance(self, states: Sequence[Any]) -> None:
        self.advanced.append(len(states))

    def scores(self, states: Mapping[str, list[tuple[float, int]]]) -> np.ndarray:
        return np.array([0.0, sum(value for state in states.values() for value, _ in state)])

    def explain(self, states: Mapping[str, Any], label: int, rival: int, missing: Collection[str]) -> Explanation:
        lines = [LineShare(source, number, value) for source, state in states.items() for value, number in state]
        return Explanation(lines, dict.fromkeys(missing, 0.5), self.weight - 0.5 * len(missing))


@pytest.fixture
def pool() -> Pool:
    return Pool({"one": Counting(1.0), "other": Counting(10.0)}, {"one": 0.75, "other": 0.25}, temperature=2.0)


def fed(pool: Pool) -> dict[str, list[Any]]:
    states = {"cu": pool.start(), "ue": pool.start()}
    features = pool.read(["a b", "c"], [["a", "b"], ["c"]])
    pool.update(states["cu"], features, [1, 4])
    pool.update(states["ue"], features[:1], [2])
    return states


def test_scores_are_weighted_by_share_over_temperature(pool: Pool) -> None:
    assert pool.scores(fed(pool)).tolist() == [0.0, (0.75 * 5 + 0.25 * 50) / 2]


def test_evidence_is_weighted_alike(pool: Pool) -> None:
    """A line that both quote appears once, with the sum of its shares; missing keys and the rest too."""
    found = pool.explain(fed(pool), 1, 0, ["k"])
    factor = (0.75 + 0.25 * 10) / 2
    assert found.lines == [LineShare("cu", 1, 2 * factor), LineShare("cu", 4, factor), LineShare("ue", 2, 2 * factor)]
    assert found.missing == {"k": (0.75 + 0.25) * 0.5 / 2}
    assert found.rest == pytest.approx((0.75 * 0.5 + 0.25 * 9.5) / 2)


def test_stages_beside_the_pool_decide_and_are_not_fed() -> None:
    """They have a state and a share; the pool feeds them no lines, and the order of the shares is kept."""
    other = Counting(10.0)
    pool = Pool({"one": Counting(1.0)}, {"other": 0.25, "one": 0.75}, beside={"other": other})
    state = pool.start()
    pool.update(state, pool.read(["a b"], [["a", "b"]]), [1])
    pool.advance([state])
    assert (list(state), state["other"], other.advanced) == (["other", "one"], [], [])
    state["other"].append((3.0, 7))
    assert pool.scores({"ue": state}).tolist() == [0.0, 0.25 * 3 + 0.75 * 2]
    assert pool.explain({"ue": state}, 1, 0, []).lines == [LineShare("ue", 7, 0.75), LineShare("ue", 1, 1.5)]


def test_a_pool_without_classifiers() -> None:
    """Lines have no features then, but there are as many as lines."""
    pool = Pool({}, {"other": 1.0}, beside={"other": Counting(1.0)})
    assert pool.read(["a", "b"], [["a"], ["b"]]) == [(), ()]
    assert pool.scores({"ue": pool.start()}).tolist() == [0.0, 0.0]


def test_all_states_are_advanced_together(pool: Pool) -> None:
    pool.advance(fed(pool).values())
    assert [one.advanced for one in pool.classifiers.values()] == [[2], [2]]
