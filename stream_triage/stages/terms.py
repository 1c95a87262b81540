"""Words of folded lines in, label scores with the exact share of every line in them out.

The model is binary TF-IDF with multinomial logistic regression. A run has a term (a word, or two neighbouring words of one
line) or does not have it, and the score of a label is its bias plus the weights of the terms that the run has. Training
multiplies the inverse document frequency into the weights. Presence, unlike counts, makes the score additive over lines: the
share of a line is exact, the state is small, and the length of a run does not count by itself. Counts gave no better
macro-F1 (training/LOG.md, 2026-11-22).

Evidence compares a run with runs of the rival label (the passing label, or the runner-up if the run passed). With p the
share of the rival's training runs that have a term, a term that came counts (1 - p) times its weight, and one that did not
come counts -p times. So what all runs print weighs nothing, and an expected line that never came weighs something.
"""

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_triage.errors import BundleError
from stream_triage.records import STARTING_POINT, Explanation, LineShare

__all__ = ["TermClassifier", "TermState", "line_terms"]

# Words of a line beyond this are ignored: a line of 64 KiB has about ten thousand, and they say no more.
MAX_WORDS: Final = 512


def line_terms(words: Sequence[str]) -> list[str]:
    """Terms of one line, each once: its words and its pairs of neighbouring words.

    >>> line_terms(["rrc", "setup", "rrc"])
    ['rrc', 'setup', 'rrc setup', 'setup rrc']
    """
    words = words[:MAX_WORDS]
    return list(dict.fromkeys((*words, *(f"{a} {b}" for a, b in pairwise(words)))))


class TermState:
    """Of one source: a flag for each term of the vocabulary, and each term that came with its first line."""

    __slots__ = ("lines", "seen", "terms")

    def __init__(self, vocabulary_size: int) -> None:
        self.seen = bytearray(vocabulary_size)
        self.terms = array("I")
        self.lines = array("I")


class TermClassifier:
    """Weights of one bundle, for V terms and L labels.

    Args:
        labels: Names of the labels.
        terms: The vocabulary.
        weights: Of each label and term, shape (L, V).
        bias: Of each label, shape (L,).
        frequencies: Share of each label's training runs that have the term, shape (L, V).
        expected_terms: Key that every passing run shows, to the terms (indexes) of its lines.
        temperature: Divides the scores, to calibrate them.

    Raises:
        BundleError: The shapes do not fit the labels and terms.
    """

    def __init__(
        self,
        labels: Sequence[str],
        terms: Sequence[str],
        *,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        frequencies: NDArray[np.float32],
        expected_terms: Mapping[str, Sequence[int]],
        temperature: float = 1.0,
    ) -> None:
        shape = (len(labels), len(terms))
        if weights.shape != shape or frequencies.shape != shape or bias.shape != shape[:1]:
            raise BundleError(f"term arrays do not fit {shape[0]} labels and {shape[1]} terms; rebuild the bundle")
        self.labels = tuple(labels)
        self._term_index = {term: i for i, term in enumerate(terms)}
        # Temperature scaling (Guo et al. 2017) is linear in the scores, so it is applied once, here.
        self._weights = weights.astype(np.float64) / temperature
        self._bias = bias.astype(np.float64) / temperature
        self._frequencies = frequencies.astype(np.float64)
        self._expected_terms = {key: np.asarray(indexes, dtype=np.intp) for key, indexes in expected_terms.items()}

    @classmethod
    def from_files(cls, labels: Sequence[str], vocabulary: Any, arrays: Mapping[str, NDArray[Any]]) -> "TermClassifier":
        """From `terms.json` and `terms.npz` of a bundle."""
        try:
            return cls(
                labels,
                vocabulary["terms"],
                weights=arrays["weights"],
                bias=arrays["bias"],
                frequencies=arrays["frequencies"],
                expected_terms=vocabulary["expected_terms"],
                temperature=vocabulary["temperature"],
            )
        except (KeyError, TypeError) as error:
            raise BundleError(f"the term classifier of this bundle is incomplete ({error}); rebuild the bundle") from None

    def term_indexes(self, words: Sequence[str]) -> tuple[int, ...]:
        """Known terms of one line, as indexes into the vocabulary."""
        index = self._term_index
        return tuple(index[term] for term in line_terms(words) if term in index)

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]]) -> list[tuple[int, ...]]:
        """Known terms of each line, as indexes; only `words` are used."""
        return [self.term_indexes(of_line) for of_line in words]

    def start(self) -> TermState:
        """The state of a source before its first line."""
        return TermState(len(self._term_index))

    def update(self, state: TermState, terms: Iterable[Sequence[int]], numbers: Iterable[int]) -> None:
        """Takes the next folded lines of a source: the term indexes of each, and its number."""
        seen = state.seen
        for line, number in zip(terms, numbers, strict=True):
            for term in line:
                if not seen[term]:
                    seen[term] = 1
                    state.terms.append(term)
                    state.lines.append(number)

    def advance(self, states: Sequence[TermState]) -> None:
        """Nothing ever waits here."""

    def scores(self, states: Mapping[str, TermState]) -> NDArray[np.float64]:
        """Calibrated log-odds scores of the labels, shape (L,); their softmax is the probability."""
        total: NDArray[np.float64] = self._weights[:, np.flatnonzero(self._present(states.values()))].sum(axis=1)
        return self._bias + total

    def explain(self, states: Mapping[str, TermState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Shares of lines and of `missing` keys in the log-odds of `label` against `rival` (indexes of labels)."""
        present = self._present(states.values())
        difference = self._weights[label] - self._weights[rival]
        frequency = self._frequencies[rival]
        came, stayed_away = difference * (1 - frequency), np.where(present > 0, 0.0, -difference * frequency)
        lines = self._line_shares(states, np.where(present > 0, came / np.maximum(present, 1), 0.0))
        absent = self._missing_shares(stayed_away, missing)
        baseline = self._bias[label] - self._bias[rival] + difference @ frequency
        other = float(stayed_away.sum()) - sum(absent.values())
        named = {STARTING_POINT: float(baseline), "usual words that did not come": other}
        return Explanation(lines, absent, sum(named.values()), named)

    def _present(self, states: Iterable[TermState]) -> NDArray[np.int64]:
        """In how many sources each term came, shape (V,)."""
        total = np.zeros(len(self._term_index), dtype=np.int64)
        for state in states:
            total += np.frombuffer(bytes(state.seen), dtype=np.uint8)
        return total

    def _line_shares(self, states: Mapping[str, TermState], shares: NDArray[np.float64]) -> list[LineShare]:
        lines = []
        for source, state in sorted(states.items()):
            numbers, position = np.unique(np.asarray(state.lines, dtype=np.int64), return_inverse=True)
            weights = np.bincount(position, weights=shares[np.asarray(state.terms, dtype=np.intp)], minlength=len(numbers))
            lines += [LineShare(source, int(n), float(w)) for n, w in zip(numbers, weights, strict=True)]
        return lines

    def _missing_shares(self, stayed_away: NDArray[np.float64], missing: Collection[str]) -> dict[str, float]:
        """A term that several missing keys would have brought is shared among them evenly."""
        owned = [(key, terms) for key in sorted(missing) if len(terms := self._expected_terms.get(key, ()))]
        if not owned:
            return {}
        terms = np.concatenate([terms for _, terms in owned])
        shares = stayed_away / np.maximum(np.bincount(terms, minlength=len(stayed_away)), 1)
        starts = np.cumsum([0, *(len(terms) for _, terms in owned[:-1])])
        sums = np.add.reduceat(shares[terms], starts).tolist()
        return {key: total for (key, _), total in zip(owned, sums, strict=True)}
