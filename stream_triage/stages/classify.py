"""Folded lines in, label scores and evidence of several classifiers together out, by the shares that the bundle states.

The scores of a classifier are log-odds, calibrated by itself. A weighted sum of log-odds is a weighted geometric mean of
probabilities (a logarithmic opinion pool: Genest and Zidek, "Combining Probability Distributions", 1986). It is linear, so
evidence adds up: the share of a line in the pool is the weighted sum of its shares in each classifier.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_triage.records import Explanation, LineShare

__all__ = ["Classifier", "Pool", "PoolState", "Scorer"]

PoolState = dict[str, Any]
"""The state of each scorer for one source, by its name."""


class Scorer(Protocol):
    """Anything with a say in the label: keeps a state per source, and scores a run by the states of its sources."""

    def start(self) -> Any:
        """The state of a source before its first line."""

    def scores(self, states: Mapping[str, Any]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,), of the sources so far. Changes no state."""

    def explain(self, states: Mapping[str, Any], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Shares of lines and of missing keys in the log-odds of `label` against `rival` (indexes of labels)."""


class Classifier(Scorer, Protocol):
    """A scorer that reads the folded lines. What it makes of a line is remembered for all lines like it."""

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]]) -> Sequence[Any]:
        """Features of each line, made from nothing but the line."""

    def update(self, state: Any, features: Sequence[Any], numbers: Sequence[int]) -> None:
        """Takes the next folded lines of a source, in order, with their numbers."""

    def advance(self, states: Sequence[Any]) -> None:
        """Processes what `update` left waiting, of many sources together. Changes neither scores nor explanations."""


class Pool:
    """Classifiers by name, which it feeds with folded lines, and the weighted sum of all scores.

    `beside` are stages that score runs too but are fed by the pipeline: they need more than folded lines. `shares` name the
    share of each; the sum is divided by `temperature`, which calibrates it.
    """

    def __init__(
        self,
        classifiers: Mapping[str, Classifier],
        shares: Mapping[str, float],
        temperature: float = 1.0,
        *,
        beside: Mapping[str, Scorer] | None = None,
    ) -> None:
        self.classifiers = dict(classifiers)
        scorers: dict[str, Scorer] = {**self.classifiers, **(beside or {})}
        self._scorers = {name: (share / temperature, scorers[name]) for name, share in shares.items()}

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]]) -> list[tuple[Any, ...]]:
        """Features of each line: a tuple with one item for each classifier."""
        if not self.classifiers:
            return [()] * len(masked)
        return list(zip(*(one.read(masked, words) for one in self.classifiers.values()), strict=True))

    def start(self) -> PoolState:
        """The state of a source before its first line, also for the stages beside the pool."""
        return {name: scorer.start() for name, (_, scorer) in self._scorers.items()}

    def update(self, state: PoolState, features: Sequence[tuple[Any, ...]], numbers: Sequence[int]) -> None:
        """Takes the next folded lines of a source, with what `read` made of them."""
        for i, (name, one) in enumerate(self.classifiers.items()):
            one.update(state[name], [of_line[i] for of_line in features], numbers)

    def advance(self, states: Iterable[PoolState]) -> None:
        """Lets each classifier process what waits, of all these sources together."""
        states = list(states)
        for name, one in self.classifiers.items():
            one.advance([state[name] for state in states])

    def scores(self, states: Mapping[str, PoolState]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,), of the sources so far."""
        return np.asarray(np.sum([factor * one.scores(own) for _, factor, one, own in self._each(states)], axis=0))

    def explain(self, states: Mapping[str, PoolState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Shares of lines and missing keys; with the rest they add up to the log-odds of the label against its rival."""
        lines: dict[tuple[str, int], float] = {}
        absent: dict[str, float] = {}
        rest, models = 0.0, []
        for name, factor, one, own in self._each(states):
            explanation = one.explain(own, label, rival, missing)
            models.append((name, factor, explanation))
            for share in explanation.lines:
                line = share.source, share.number
                lines[line] = lines.get(line, 0.0) + factor * share.weight
            for key, weight in explanation.missing.items():
                absent[key] = absent.get(key, 0.0) + factor * weight
            rest += factor * explanation.rest
        shares = [LineShare(*line, weight) for line, weight in lines.items()]
        return Explanation(shares, absent, rest, models=tuple(models))

    def _each(self, states: Mapping[str, PoolState]) -> Iterator[tuple[str, float, Scorer, dict[str, Any]]]:
        """Name, factor, scorer and its states by source."""
        for name, (factor, one) in self._scorers.items():
            yield name, factor, one, {source: state[name] for source, state in states.items()}
