"""Folded lines in, label scores and evidence of several classifiers together out, by the shares that the bundle states.

A classifier's scores are log-odds, calibrated by itself. A weighted sum of log-odds is a weighted geometric mean of
probabilities (a logarithmic opinion pool: Genest and Zidek, "Combining Probability Distributions", 1986), and being
linear it lets evidence add up: a line's share in the pool is the sum of its shares with each classifier.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_triage.records import Explanation, LineShare

__all__ = ["Classifier", "Pool", "PoolState"]

PoolState = list[Any]
"""The state of each classifier for one source, in the order of the pool."""


class Classifier(Protocol):
    """What the pool asks of each: states are of one source, features of one line and remembered for lines like it."""

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]]) -> Sequence[Any]:
        """Features of each line, made from nothing but the line."""

    def start(self) -> Any: ...

    def update(self, state: Any, features: Sequence[Any], numbers: Sequence[int]) -> None:
        """Takes folded lines in order, with their numbers."""

    def advance(self, states: Sequence[Any]) -> None:
        """Works off what `update` left waiting, of many sources together. Changes nothing that can be asked."""

    def scores(self, states: Mapping[str, Any]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,), of the sources so far."""

    def explain(self, states: Mapping[str, Any], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Shares of lines and of missing keys in the log-odds of `label` against `rival` (indexes of labels)."""


class Pool:
    """Classifiers by name, with their shares; `temperature` calibrates the sum."""

    def __init__(self, classifiers: Mapping[str, Classifier], shares: Mapping[str, float], temperature: float = 1.0) -> None:
        self.classifiers = dict(classifiers)
        self._factors = [shares[name] / temperature for name in classifiers]

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]]) -> list[tuple[Any, ...]]:
        """Features of each line, one of each classifier."""
        return list(zip(*(one.read(masked, words) for one in self.classifiers.values()), strict=True))

    def start(self) -> PoolState:
        return [one.start() for one in self.classifiers.values()]

    def update(self, state: PoolState, features: Sequence[tuple[Any, ...]], numbers: Sequence[int]) -> None:
        for i, one in enumerate(self.classifiers.values()):
            one.update(state[i], [of_line[i] for of_line in features], numbers)

    def advance(self, states: Iterable[PoolState]) -> None:
        states = list(states)
        for i, one in enumerate(self.classifiers.values()):
            one.advance([state[i] for state in states])

    def scores(self, states: Mapping[str, PoolState]) -> NDArray[np.float64]:
        return np.asarray(np.sum([factor * one.scores(own) for factor, one, own in self._each(states)], axis=0))

    def explain(self, states: Mapping[str, PoolState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Still adds up to the log-odds of the label against its rival."""
        lines: dict[tuple[str, int], float] = {}
        absent: dict[str, float] = {}
        rest = 0.0
        for factor, one, own in self._each(states):
            explanation = one.explain(own, label, rival, missing)
            for share in explanation.lines:
                place = share.source, share.number
                lines[place] = lines.get(place, 0.0) + factor * share.weight
            for key, weight in explanation.missing.items():
                absent[key] = absent.get(key, 0.0) + factor * weight
            rest += factor * explanation.rest
        return Explanation([LineShare(*place, weight) for place, weight in lines.items()], absent, rest)

    def _each(self, states: Mapping[str, PoolState]) -> Iterable[tuple[float, Classifier, dict[str, Any]]]:
        for i, (factor, one) in enumerate(zip(self._factors, self.classifiers.values(), strict=True)):
            yield factor, one, {name: state[i] for name, state in states.items()}
