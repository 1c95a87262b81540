"""A feature vector in; the scores of boosted decision trees, and what each feature adds to them, out.

Trees are plain arrays, so a bundle needs neither pickle nor scikit-learn. A tree goes left if a feature is at most the
threshold. Every node stores the mean score of the training runs that passed through it, so a path adds up: the score is the
mean at the roots plus, for each step, the change that its feature made (Saabas, "Interpreting random forests", 2014).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.errors import BundleError

__all__ = ["Attribution", "Trees"]


class Attribution(NamedTuple):
    """`base + shares.sum(axis=1)` are the scores; shapes (L,) and (L, F)."""

    base: NDArray[np.float64]
    shares: NDArray[np.float64]


class Trees:
    """T trees for L labels with N nodes in total, one tree's nodes after the other's.

    `arrays` holds `feature` (below 0: a leaf), `threshold`, `left`, `right` and `value`, each of shape (N,); `roots` and
    `labels`, the root node and the label of each tree, of shape (T,); and `base`, of shape (L,).

    Raises:
        BundleError: An array is missing, or they contradict each other.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        try:
            self._feature = arrays["feature"].astype(np.int64)
            self._threshold = arrays["threshold"].astype(np.float64)
            self._children = np.stack([arrays["left"], arrays["right"]]).astype(np.int64)
            self._value = arrays["value"].astype(np.float64)
            self._roots, self._labels = arrays["roots"].astype(np.int64), arrays["labels"].astype(np.int64)
            self._base = arrays["base"].astype(np.float64)
        except (KeyError, ValueError) as error:
            raise BundleError(f"the trees of this bundle are incomplete ({error}); rebuild the bundle") from None
        nodes = len(self._feature)
        inner = self._feature >= 0
        # A damaged file must not loop or index outside: children come after their parent, so every descent ends.
        if not (
            len(self._threshold) == len(self._value) == self._children.shape[1] == nodes
            and len(self._roots) == len(self._labels)
            and (not len(self._roots) or (self._roots.min() >= 0 and self._roots.max() < nodes))
            and (not len(self._labels) or (self._labels.min() >= 0 and self._labels.max() < len(self._base)))
            and bool((self._children[:, inner] > np.flatnonzero(inner)).all())
            and bool((self._children[:, inner] < nodes).all())
        ):
            raise BundleError("the trees of this bundle contradict each other; rebuild the bundle")

    @property
    def features(self) -> int:
        """How many features a vector needs at least."""
        return int(self._feature.max(initial=-1)) + 1

    @property
    def labels(self) -> int:
        """How many labels the trees score."""
        return len(self._base)

    def scores(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (L,)."""
        attribution = self.attribute(vector)
        return np.asarray(attribution.base + attribution.shares.sum(axis=1))

    def attribute(self, vector: NDArray[np.float64]) -> Attribution:
        """The score of each label, divided among features. All trees are descended at once, a level in each step."""
        nodes = self._roots.copy()
        base = self._base.copy()
        np.add.at(base, self._labels, self._value[nodes])
        shares = np.zeros((len(base), len(vector)))
        while (moving := np.flatnonzero(self._feature[nodes] >= 0)).size:
            inner = nodes[moving]
            feature = self._feature[inner]
            right = (vector[feature] > self._threshold[inner]).astype(np.int64)
            below = self._children[right, inner]
            np.add.at(shares, (self._labels[moving], feature), self._value[below] - self._value[inner])
            nodes[moving] = below
        return Attribution(base, shares)
