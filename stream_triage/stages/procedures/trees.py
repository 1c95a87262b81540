"""A feature vector in; the scores of boosted decision trees, and what each feature adds to them, out.

Trees are plain arrays, so a bundle needs neither pickle nor a library of trees. A tree goes left if a feature is below the
threshold; where the feature is unknown (NaN), it goes the way that training chose. Every node stores the mean score of the
training runs that passed through it, so a path adds up: the score is the mean at the roots plus, for each step, the change
that its feature made (Saabas, "Interpreting random forests", 2014).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.errors import BundleError

__all__ = ["ARRAYS", "Attribution", "Trees"]

ARRAYS: Final = ("feature", "threshold", "left", "right", "missing_left", "value", "roots", "outputs", "base")


_Step = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Of one level: the trees that go on, the feature that each splits by, and the change of its value."""


class Attribution(NamedTuple):
    """`base + shares.sum(axis=1)` are the scores; shapes (O,) and (O, F)."""

    base: NDArray[np.float64]
    shares: NDArray[np.float64]


class Trees:
    """T trees for O outputs with N nodes in total, one tree's nodes after the other's.

    `arrays` holds `feature` (below 0: a leaf), `threshold`, `left`, `right`, `missing_left` and `value`, each of shape (N,);
    `roots` and `outputs`, the root node and the output of each tree, of shape (T,); and `base`, of shape (O,).

    Raises:
        BundleError: An array is missing, or they contradict each other.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        try:
            self._feature = arrays["feature"].astype(np.int64)
            self._threshold = arrays["threshold"].astype(np.float32)
            self._children = np.stack([arrays["left"], arrays["right"]]).astype(np.int64)
            self._missing_right = 1 - arrays["missing_left"].astype(np.int64)
            self._value = arrays["value"].astype(np.float64)
            self._roots, self._outputs = arrays["roots"].astype(np.int64), arrays["outputs"].astype(np.int64)
            self._base = arrays["base"].astype(np.float64)
        except (KeyError, ValueError) as error:
            raise BundleError(f"the trees of this bundle are incomplete ({error}); rebuild the bundle") from None
        nodes = len(self._feature)
        inner = self._feature >= 0
        # A damaged file must not loop or index outside: children come after their parent, so every descent ends.
        if not (
            len(self._threshold) == len(self._value) == len(self._missing_right) == self._children.shape[1] == nodes
            and len(self._roots) == len(self._outputs)
            and (not len(self._roots) or (self._roots.min() >= 0 and self._roots.max() < nodes))
            and (not len(self._outputs) or (self._outputs.min() >= 0 and self._outputs.max() < len(self._base)))
            and bool((self._children[:, inner] > np.flatnonzero(inner)).all())
            and bool((self._children[:, inner] < nodes).all())
            and bool(np.isin(self._missing_right, (0, 1)).all())
        ):
            raise BundleError("the trees of this bundle contradict each other; rebuild the bundle")

    @property
    def features(self) -> int:
        """How many features a vector needs at least."""
        return int(self._feature.max(initial=-1)) + 1

    @property
    def outputs(self) -> int:
        """How many outputs the trees score."""
        return len(self._base)

    def scores(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (O,)."""
        nodes, _ = self._descend(vector)
        scores = self._base.copy()
        np.add.at(scores, self._outputs, self._value[nodes])
        return scores

    def scores_of(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores of many vectors, shape (R, F) to (R, O). Vectors go down the trees together, a level in each step."""
        values = vectors.astype(np.float32)
        nodes = np.tile(self._roots, (len(values), 1))
        while (moving := self._feature[nodes] >= 0).any():
            row, tree = np.nonzero(moving)
            inner = nodes[row, tree]
            known = values[row, self._feature[inner]]
            right = np.where(np.isnan(known), self._missing_right[inner], known >= self._threshold[inner])
            nodes[row, tree] = self._children[right.astype(np.int64), inner]
        found = np.tile(self._base, (len(values), 1))
        of_trees = self._value[nodes]
        for output in range(self.outputs):
            found[:, output] += of_trees[:, self._outputs == output].sum(axis=1)
        return found

    def attribute(self, vector: NDArray[np.float64]) -> Attribution:
        """The score of each output, divided among features."""
        base = self._base.copy()
        np.add.at(base, self._outputs, self._value[self._roots])
        shares = np.zeros((len(base), len(vector)))
        for trees, feature, change in self._descend(vector)[1]:
            np.add.at(shares, (self._outputs[trees], feature), change)
        return Attribution(base, shares)

    def _descend(self, vector: NDArray[np.float64]) -> tuple[NDArray[np.int64], list[_Step]]:
        """The leaf of each tree, and the steps to it. All trees are descended at once, a level in each step."""
        # In single precision, as the trees were grown: a value at a threshold must go the same way.
        values = vector.astype(np.float32)
        nodes, steps = self._roots.copy(), []
        while (moving := np.flatnonzero(self._feature[nodes] >= 0)).size:
            inner = nodes[moving]
            feature = self._feature[inner]
            known = values[feature]
            right = np.where(np.isnan(known), self._missing_right[inner], known >= self._threshold[inner])
            below = self._children[right.astype(np.int64), inner]
            steps.append((moving, feature, self._value[below] - self._value[inner]))
            nodes[moving] = below
        return nodes, steps
