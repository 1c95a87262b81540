"""Boosted trees from arrays: their scores, the shares that add up to them, and arrays that are rejected."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_triage.errors import BundleError
from stream_triage.stages.procedures.trees import Trees


def arrays() -> dict[str, NDArray[Any]]:
    """Two outputs, a tree each: feature 1 at 0.5, then feature 0 at 2; and feature 0 at -1, where unknown goes right."""
    return {
        "feature": np.array([1, -1, 0, -1, -1, 0, -1, -1]),
        "threshold": np.array([0.5, 0, 2, 0, 0, -1, 0, 0]),
        "left": np.array([1, 0, 3, 0, 0, 6, 0, 0]),
        "right": np.array([2, 0, 4, 0, 0, 7, 0, 0]),
        "missing_left": np.array([1, 1, 1, 1, 1, 0, 1, 1]),
        "value": np.array([0.1, -1.0, 1.0, 0.5, 3.0, 0.0, 2.0, -2.0]),
        "roots": np.array([0, 5]),
        "outputs": np.array([0, 1]),
        "base": np.array([10.0, 20.0]),
    }


@pytest.mark.parametrize(
    ("vector", "scores"),
    [
        ((0.0, 0.4), (9.0, 18.0)),
        ((1.9, 0.5), (10.5, 18.0)),
        ((2.0, 9.0), (13.0, 18.0)),
        ((-1.1, 0), (9, 22)),
        ((float("nan"), float("nan")), (9.0, 18.0)),
        ((float("nan"), 9.0), (10.5, 18.0)),
    ],
)
def test_a_value_at_the_threshold_goes_right(vector: tuple[float, float], scores: tuple[float, float]) -> None:
    assert Trees(arrays()).scores(np.array(vector)).tolist() == list(scores)


@given(st.tuples(st.floats(-5, 5), st.floats(-5, 5)))
def test_shares_add_up_to_the_scores(vector: tuple[float, float]) -> None:
    """Base and shares of the features are the score, to rounding."""
    trees = Trees(arrays())
    attribution = trees.attribute(np.array(vector))
    assert np.allclose(attribution.base + attribution.shares.sum(axis=1), trees.scores(np.array(vector)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("left", [1, 0, 1, 0, 0, 6, 0, 0]),  # back to a node before its parent: a descent without end
        ("right", [2, 0, 99, 0, 0, 7, 0, 0]),
        ("roots", [0, 50]),
        ("outputs", [0, 2]),
        ("missing_left", [1, 1, 1, 1, 1, 7, 1, 1]),
        ("value", [0.0]),
    ],
)
def test_trees_that_contradict_each_other_are_rejected(name: str, values: list[float]) -> None:
    """A damaged or hostile file can neither loop for ever nor read outside its arrays."""
    with pytest.raises(BundleError, match="contradict each other"):
        Trees({**arrays(), name: np.array(values)})


def test_missing_arrays_are_named() -> None:
    with pytest.raises(BundleError, match="'base'"):
        Trees({name: array for name, array in arrays().items() if name != "base"})


@given(st.lists(st.tuples(st.floats(-5, 5) | st.just(float("nan")), st.floats(-5, 5)), min_size=1, max_size=9))
def test_many_vectors_at_once_score_as_one_by_one(vectors: list[tuple[float, float]]) -> None:
    trees, rows = Trees(arrays()), np.array(vectors)
    assert np.allclose(trees.scores_of(rows), [trees.scores(row) for row in rows])
