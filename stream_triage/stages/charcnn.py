"""Characters of masked lines in, label scores with the share of every line in them out: the residual char-CNN, in pieces.

The network has two parts. The first one reads a line, in pieces of 256 symbols, and gives a vector for each piece. That
depends on nothing but the line, so equal lines are read once. The second part reads the vectors of the folded lines of a
source, in windows at fixed positions, and gives a row of features for each line, made from it and its neighbours. The
features of a run are the maxima over all its lines, and the score of a label is linear in them. So a run may have any
length, its state is one row of maxima, and each maximum has a line that it came from: weight times maximum is the share of
that line.

The published network (Ihalage et al.) takes one maximum over the characters of a whole log. Reading lines first costs a
seventh of that to train and cannot lose its maximum among thousands of positions (training/LOG.md, 2026-11-22 and
2026-11-25).
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_triage.errors import BundleError
from stream_triage.inference import Network
from stream_triage.records import STARTING_POINT, Explanation, LineShare

__all__ = [
    "PAD",
    "PIECE_SYMBOLS",
    "UNKNOWN",
    "Alphabet",
    "CharCNN",
    "CharCNNProfile",
    "CharState",
    "Symbols",
    "Vectors",
    "pieces",
]

PIECE_SYMBOLS: Final = 256
"""A longer line is read in pieces of this length, as if each were a line."""
BUCKET_SYMBOLS: Final = 32
"""Pieces are padded to a multiple of this: by their own length alone, so that their vectors are the same in every batch."""
PAD: Final = 0
UNKNOWN: Final = 1
_FIRST_SYMBOL: Final = 2

_MARKER: Final = re.compile(r"<(?:num:-?e\d+|[a-z][a-z0-9_-]*)>")
# While a text is encoded, each marker is one character of the private use area.
_PRIVATE: Final = 0xE000
_CODE_POINTS: Final = 0x110000

# Pieces that the first part reads at once, and windows that the second one does; more would only need more memory.
_BATCH_PIECES: Final = 256
_BATCH_WINDOWS: Final = 64

NetworkPart = Callable[..., Sequence[NDArray[Any]]]
Symbols = NDArray[np.uint8]
Vectors = NDArray[np.float32]


class Alphabet:
    """Characters, and markers such as `<num:e3>`, as numbers from 2. 0 is padding and 1 an unknown symbol.

    A marker is one symbol: it has eight characters and says one thing.

    >>> Alphabet(["a", "<hex>"]).encode(["a<hex>b", ""])
    [array([2, 3, 1], dtype=uint8), array([], dtype=uint8)]
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        if len(symbols) > 256 - _FIRST_SYMBOL or len(set(symbols)) < len(symbols):
            raise ValueError(f"{len(symbols)} symbols do not fit into a byte, or one of them is listed twice")
        self.symbols: Final = tuple(symbols)
        self._markers: dict[str, str] = {}
        self._table = np.full(_CODE_POINTS, UNKNOWN, dtype=np.uint8)
        for code, symbol in enumerate(symbols, _FIRST_SYMBOL):
            if len(symbol) > 1:
                self._markers[symbol] = chr(_PRIVATE + code)
            self._table[ord(self._markers.get(symbol, symbol))] = code

    def __len__(self) -> int:
        """How many numbers there are, including those of padding and unknown symbols."""
        return len(self.symbols) + _FIRST_SYMBOL

    @staticmethod
    def cut(masked: str) -> list[str]:
        """The symbols of one line, as text.

        >>> Alphabet.cut("T310 <num:e3>")
        ['T', '3', '1', '0', ' ', '<num:e3>']
        """
        symbols: list[str] = []
        end = 0
        for match in _MARKER.finditer(masked):
            symbols += [*masked[end : match.start()], match[0]]
            end = match.end()
        return [*symbols, *masked[end:]]

    def encode(self, masked: Sequence[str]) -> list[Symbols]:
        """The symbols of each line, as numbers. Works on all lines at once, since a call per line would cost more."""
        if not masked:
            return []
        text = _MARKER.sub(lambda match: self._markers.get(match[0], "\uffff"), "\n".join(masked))
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        ends = np.flatnonzero(points == ord("\n"))
        codes = self._table[points]
        return [
            codes[first:last] for first, last in zip([0, *(ends + 1).tolist()], [*ends.tolist(), len(codes)], strict=True)
        ]


def pieces(symbols: Symbols) -> list[Symbols]:
    """One line in pieces, each padded to a multiple of 32; an empty line is one piece.

    >>> [[len(piece) for piece in pieces(np.ones(symbols, dtype=np.uint8))] for symbols in (300, 0)]
    [[256, 64], [32]]
    """
    cut = []
    for first in range(0, max(len(symbols), 1), PIECE_SYMBOLS):
        piece = symbols[first : first + PIECE_SYMBOLS]
        padded = np.zeros(-(-max(len(piece), 1) // BUCKET_SYMBOLS) * BUCKET_SYMBOLS, dtype=np.uint8)
        padded[: len(piece)] = piece
        cut.append(padded)
    return cut


class CharCNNProfile(BaseModel):
    """`charcnn.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbols: tuple[str, ...]
    width: int = Field(gt=0, description="length of a line's vector, and of a row of features")
    window: int = Field(gt=0, description="lines of a window that get features")
    halo: int = Field(ge=0, description="neighbours on each side that a line's features are made from")
    temperature: float = Field(gt=0)
    missing_keys: tuple[str, ...] = Field(
        description="of each feature, the key whose lines most often have its maximum in passing runs; empty if none has"
    )


class CharState:
    """Of one source: lines that wait for a full window, and the maxima so far.

    `numbers` are the line numbers of the lines without features. `vectors` are their vectors, after those of the `halo`
    lines before them (zeros at the start of the source). `maxima` and `lines`, shape (width,), are the features and the
    line number that each came from, 0 if none.
    """

    __slots__ = ("lines", "maxima", "numbers", "vectors")

    def __init__(self, halo: int, width: int) -> None:
        self.vectors: Vectors = np.zeros((halo, width), dtype=np.float32)
        self.numbers: NDArray[np.uint32] = np.empty(0, dtype=np.uint32)
        self.maxima: Vectors = np.zeros(width, dtype=np.float32)
        self.lines: NDArray[np.uint32] = np.zeros(width, dtype=np.uint32)


class _Maxima(NamedTuple):
    """Features of a run, and the source (its index among the sorted names) and line that each came from."""

    values: Vectors
    sources: NDArray[np.intp]
    lines: NDArray[np.uint32]


class CharCNN:
    """The network of one bundle, with C features and L labels.

    `arrays` has `weights` and `means` of shape (L, C), and `bias` of shape (L,). `means` are the mean maxima of each label's
    training runs: evidence compares a run with those of the rival. `lines` and `run` are the two parts of the network.

    Raises:
        BundleError: The shapes do not fit the labels and features.
    """

    def __init__(
        self,
        labels: Sequence[str],
        profile: CharCNNProfile,
        arrays: Mapping[str, NDArray[Any]],
        lines: NetworkPart,
        run: NetworkPart,
    ) -> None:
        shape = (len(labels), profile.width)
        fitting = arrays["weights"].shape == arrays["means"].shape == shape and arrays["bias"].shape == shape[:1]
        if not fitting or len(profile.missing_keys) != profile.width:
            raise BundleError(f"char-CNN arrays do not fit {shape[0]} labels and {shape[1]} features; rebuild the bundle")
        self.profile = profile
        self.alphabet = Alphabet(profile.symbols)
        self._weights = arrays["weights"].astype(np.float64) / profile.temperature
        self._bias = arrays["bias"].astype(np.float64) / profile.temperature
        self._means = arrays["means"].astype(np.float64)
        self._lines, self._run = lines, run

    @classmethod
    def from_files(
        cls, labels: Sequence[str], profile: Any, arrays: Mapping[str, NDArray[Any]], lines: bytes, run: bytes
    ) -> "CharCNN":
        """From `charcnn.json`, `charcnn.npz`, `charcnn_lines.onnx` and `charcnn_run.onnx` of a bundle."""
        try:
            return cls(
                labels,
                CharCNNProfile.model_validate(profile),
                arrays,
                Network(lines, ("symbols",), ("vectors",), "charcnn_lines.onnx"),
                Network(run, ("vectors",), ("features",), "charcnn_run.onnx"),
            )
        except ValidationError as error:
            raise BundleError(
                f"charcnn.json of this bundle has {error.error_count()} invalid field(s); rebuild the bundle"
            ) from None
        except (KeyError, ValueError) as error:
            raise BundleError(f"the char-CNN of this bundle is incomplete ({error}); rebuild the bundle") from None

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]] = ()) -> list[Vectors]:
        """Vectors of each line, shape (pieces of the line, C). A line's vectors depend on nothing but the line."""
        cut = [pieces(symbols) for symbols in self.alphabet.encode(masked)]
        flat = [piece for line in cut for piece in line]
        vectors = np.empty((len(flat), self.profile.width), dtype=np.float32)
        lengths = np.array([len(piece) for piece in flat], dtype=np.intp)
        for length in np.unique(lengths).tolist():
            alike = np.flatnonzero(lengths == length)
            for first in range(0, len(alike), _BATCH_PIECES):
                some = alike[first : first + _BATCH_PIECES]
                (vectors[some],) = self._lines(symbols=np.stack([flat[i] for i in some.tolist()]).astype(np.int64))
        ends = np.cumsum([len(line) for line in cut])
        return [vectors[end - len(line) : end] for line, end in zip(cut, ends.tolist(), strict=True)]

    def start(self) -> CharState:
        """The state of a source before its first line."""
        return CharState(self.profile.halo, self.profile.width)

    def update(self, state: CharState, features: Sequence[Vectors], numbers: Sequence[int]) -> None:
        """Takes the next folded lines of a source: the vectors of each, and its number. They wait for `advance`."""
        if features:
            state.vectors = np.concatenate([state.vectors, *features])
            repeated = np.repeat(np.asarray(numbers, dtype=np.uint32), [len(vectors) for vectors in features])
            state.numbers = np.concatenate([state.numbers, repeated])

    def advance(self, states: Sequence[CharState]) -> None:
        """Runs all full windows of these sources in joint batches.

        A window is full when the neighbours after its last line are there too. Windows lie at fixed positions of each
        source, so neither the cutting of the text nor other sources in the batch change the features.
        """
        window, halo = self.profile.window, self.profile.halo
        full = [(state, max(len(state.numbers) - halo, 0) // window) for state in states]
        full = [(state, count) for state, count in full if count]
        features = self._features([self._windows(state.vectors, count) for state, count in full])
        for (state, count), rows in zip(full, features, strict=True):
            state.maxima, state.lines = _raised(state.maxima, state.lines, rows, state.numbers[: count * window])
            state.vectors = state.vectors[count * window :].copy()
            state.numbers = state.numbers[count * window :].copy()

    def scores(self, states: Mapping[str, CharState]) -> NDArray[np.float64]:
        """Calibrated log-odds of the labels, shape (L,), of the lines so far, those in unfinished windows too."""
        return self._bias + self._weights @ self._maxima(states).values

    def explain(self, states: Mapping[str, CharState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Shares of lines and of `missing` keys in the log-odds of `label` against `rival` (indexes of labels).

        A feature counts its weight times the difference between its maximum and the mean of the rival's training runs. Above
        that mean, it is the share of the line with the maximum; below, of the missing key whose line usually has it.
        """
        maxima = self._maxima(states)
        weights = self._weights[label] - self._weights[rival]
        shares = weights * (maxima.values - self._means[rival])
        came = (maxima.values > self._means[rival]) & (maxima.lines > 0)
        names = sorted(states)
        lines: dict[tuple[str, int], float] = {}
        for feature in np.flatnonzero(came).tolist():
            line = names[maxima.sources[feature]], int(maxima.lines[feature])
            lines[line] = lines.get(line, 0.0) + float(shares[feature])
        absent: dict[str, float] = {}
        for feature in np.flatnonzero(~came).tolist():
            key = self.profile.missing_keys[feature]
            if key in missing:
                absent[key] = absent.get(key, 0.0) + float(shares[feature])
        baseline = self._bias[label] - self._bias[rival] + float(weights @ self._means[rival])
        other = float(shares[~came].sum()) - sum(absent.values())
        named = {STARTING_POINT: baseline, "usual lines that did not come": other}
        shown = [LineShare(*line, share) for line, share in sorted(lines.items())]
        return Explanation(shown, absent, sum(named.values()), named)

    @property
    def linear(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (L, C) and bias (L,) of the scores."""
        return self._weights, self._bias

    def maxima(self, states: Mapping[str, CharState]) -> tuple[Vectors, list[tuple[str, int]]]:
        """Features of a run, and for each the source and line number that it came from; ("", 0) if no line has it."""
        maxima, names = self._maxima(states), sorted(states)
        return maxima.values, [
            (names[s] if number else "", number)
            for s, number in zip(maxima.sources.tolist(), maxima.lines.tolist(), strict=True)
        ]

    def _maxima(self, states: Mapping[str, CharState]) -> _Maxima:
        """Over all sources, with their last, unfinished windows padded; of equal ones the first source by name counts."""
        ordered = [states[name] for name in sorted(states)]
        window, halo, width = self.profile.window, self.profile.halo, self.profile.width
        counts = [-(-len(state.numbers) // window) for state in ordered]
        padded = []
        for state, count in zip(ordered, counts, strict=True):
            padding = np.zeros((count * window + 2 * halo - len(state.vectors), width), dtype=np.float32)
            padded.append(self._windows(np.concatenate([state.vectors, padding]), count))
        values = np.zeros((len(ordered) + 1, width), dtype=np.float32)
        lines = np.zeros((len(ordered) + 1, width), dtype=np.uint32)
        for i, (state, rows) in enumerate(zip(ordered, self._features(padded), strict=True)):
            values[i], lines[i] = _raised(state.maxima, state.lines, rows[:, : len(state.numbers)], state.numbers)
        sources = values.argmax(axis=0)
        features = np.arange(width)
        return _Maxima(values[sources, features], sources, lines[sources, features])

    def _windows(self, vectors: Vectors, count: int) -> Vectors:
        """The first windows of a source with their neighbours, shape (count, window + 2 halo, C)."""
        window, halo = self.profile.window, self.profile.halo
        rows = np.arange(count)[:, None] * window + np.arange(window + 2 * halo)
        return np.asarray(vectors[rows])

    def _features(self, windows: Sequence[Vectors]) -> list[Vectors]:
        """Features of each source's windows, one after the other, shape (C, windows x window)."""
        if not windows:
            return []
        together = np.concatenate(windows)
        batches = [
            self._run(vectors=together[first : first + _BATCH_WINDOWS])[0]
            for first in range(0, len(together), _BATCH_WINDOWS)
        ]
        rows = np.concatenate([np.empty((0, self.profile.width, self.profile.window), dtype=np.float32), *batches])
        ends = np.cumsum([len(some) for some in windows]).tolist()
        return [
            rows[end - len(some) : end].transpose(1, 0, 2).reshape(self.profile.width, -1)
            for some, end in zip(windows, ends, strict=True)
        ]


def _raised(
    maxima: Vectors, lines: NDArray[np.uint32], features: Vectors, numbers: NDArray[np.uint32]
) -> tuple[Vectors, NDArray[np.uint32]]:
    """Maxima and their lines, raised by features of shape (C, lines); of equal ones the earliest line counts."""
    if not len(numbers):
        return maxima, lines
    best = features.argmax(axis=1)
    values = features[np.arange(len(features)), best]
    higher = values > maxima
    return np.where(higher, values, maxima), np.where(higher, numbers[best], lines)
