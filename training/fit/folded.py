"""Turns masked runs into what the char-CNN reads: symbols of folded lines, cut into pieces. Imports no torch."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.charcnn import Alphabet, Symbols, pieces
from stream_triage.stages.fold import FoldState, fold, fold_hash
from training.data import MaskedRuns

__all__ = ["FoldedRuns", "fit_alphabet"]

# A symbol must be this often in the distinct lines of the training runs. Rarer ones become the unknown symbol, so that the
# network learns what to do with unknown symbols.
MIN_SYMBOL_COUNT = 10
# A symbol is a byte; padding and the unknown symbol take two of its values.
MAX_SYMBOLS = 254


def fit_alphabet(corpus: MaskedRuns, runs: Sequence[int]) -> Alphabet:
    """Symbols of the distinct lines of the given runs, the most frequent first."""
    used = np.unique(np.concatenate([corpus.distinct(run) for run in runs]))
    counts: Counter[str] = Counter()
    for line in used.tolist():
        counts.update(Alphabet.cut(corpus.lines[line]))
    frequent = sorted((s for s, n in counts.items() if n >= MIN_SYMBOL_COUNT), key=lambda s: (-counts[s], s))
    return Alphabet(frequent[:MAX_SYMBOLS])


class FoldedRuns:
    """Runs as the char-CNN reads them.

    A line is cut into one or more pieces of padded length, and each distinct piece is stored once: the network reads a piece
    once for a batch, however many runs have it.

    Attributes:
        alphabet: The symbols.
        pieces: Symbols of each piece of the distinct lines.
        piece_length: Length of each piece in symbols, padding included.
        corpus: The masked runs.
    """

    def __init__(self, corpus: MaskedRuns, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        self.pieces: list[Symbols] = []
        self._pieces_of_line: list[NDArray[np.int64]] = []
        for symbols in alphabet.encode(corpus.lines):
            cut = pieces(symbols)
            self._pieces_of_line.append(np.arange(len(self.pieces), len(self.pieces) + len(cut)))
            self.pieces += cut
        self.piece_length = np.array([len(piece) for piece in self.pieces])
        self._hashes = np.array([fold_hash(line, words) for line, words in zip(corpus.lines, corpus.words, strict=True)])
        self.corpus = corpus
        self._cache: dict[int, list[NDArray[np.int64]]] = {}

    def run(self, index: int) -> list[NDArray[np.int64]]:
        """Piece numbers of each source of a run, in the order of the sources' names."""
        if index not in self._cache:
            sources = self.corpus.runs[index]
            self._cache[index] = [self._pieces(sources[name][kept]) for name, kept in sorted(self.kept(index).items())]
        return self._cache[index]

    def kept(self, index: int) -> dict[str, list[int]]:
        """Positions, from 0, of the lines in each source of a run that folding keeps."""
        sources = self.corpus.runs[index].items()
        return {name: fold(self._hashes[lines].tolist(), FoldState()) for name, lines in sources}

    def _pieces(self, lines: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.concatenate([np.empty(0, dtype=np.int64), *(self._pieces_of_line[line] for line in lines.tolist())])

    def distinct(self, runs: Sequence[int], labels: NDArray[np.str_]) -> list[int]:
        """One run of each folded text and label: equal runs add time to an epoch and nothing to learn."""
        first: dict[tuple[object, ...], int] = {}
        for run in runs:
            first.setdefault((labels[run], *(source.tobytes() for source in self.run(run))), run)
        return list(first.values())
