"""Masked lines in, label scores out, with the share of every line in them: the residual char-CNN, served piece by piece.

The network has two parts. The first reads one line, in pieces of 256 symbols, and gives a vector for each; equal lines are
read once. The second reads the vectors of the folded lines of one source, in windows at fixed positions, and gives a row of
features for each line, made from it and its neighbours. A run's features are the maxima over all its lines, and a label's
score is linear in them. So a run may be of any length, what is kept of it is one row of maxima, and each maximum has a line
that it came from: weight times maximum is that line's share.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_triage.errors import BundleError
from stream_triage.inference import Network
from stream_triage.records import Explanation, LineShare

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
"""A longer line is read in pieces of this length, each a place of its own."""
BUCKET_SYMBOLS: Final = 32
"""Pieces are padded to a multiple of this, which depends on nothing but their own length."""
PAD: Final = 0
UNKNOWN: Final = 1
_FIRST_SYMBOL: Final = 2

_MARKER: Final = re.compile(r"<(?:num:-?e\d+|[a-z][a-z0-9_-]*)>")
# Markers become one character each of a private use area while a text is looked up.
_PRIVATE: Final = 0xE000
_CODE_POINTS: Final = 0x110000

# Pieces that go through the first part at once; more would only need more memory.
_BATCH_PIECES: Final = 256
_BATCH_WINDOWS: Final = 64

NetworkPart = Callable[..., Sequence[NDArray[Any]]]
Symbols = NDArray[np.uint8]
Vectors = NDArray[np.float32]


class Alphabet:
    """Characters, and markers such as `<num:e3>`, as numbers from 2; 0 pads and 1 is whatever else there is.

    >>> Alphabet(["a", "<hex>"]).encode(["a<hex>b", ""])
    [array([2, 3, 1], dtype=uint8), array([], dtype=uint8)]
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        if len(symbols) > 256 - _FIRST_SYMBOL or len(set(symbols)) < len(symbols):
            raise ValueError(f"{len(symbols)} symbols are too many for a byte, or some come twice")
        self.symbols: Final = tuple(symbols)
        self._markers: dict[str, str] = {}
        self._table = np.full(_CODE_POINTS, UNKNOWN, dtype=np.uint8)
        for code, symbol in enumerate(symbols, _FIRST_SYMBOL):
            if len(symbol) > 1:
                self._markers[symbol] = chr(_PRIVATE + code)
                symbol = self._markers[symbol]
            self._table[ord(symbol)] = code

    def __len__(self) -> int:
        """How many numbers there are, those for padding and unknown symbols included."""
        return len(self.symbols) + _FIRST_SYMBOL

    @staticmethod
    def cut(masked: str) -> list[str]:
        """The symbols of one line, as text.

        >>> Alphabet.cut("T310 <num:e3>")
        ['T', '3', '1', '0', ' ', '<num:e3>']
        """
        found, end = [], 0
        for match in _MARKER.finditer(masked):
            found += [*masked[end : match.start()], match[0]]
            end = match.end()
        return [*found, *masked[end:]]

    def encode(self, masked: Sequence[str]) -> list[Symbols]:
        """The symbols of each line, as numbers; one pass over all lines."""
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
    """One line in pieces, at least one, each padded to a multiple of 32.

    >>> [[len(piece) for piece in pieces(np.ones(symbols, dtype=np.uint8))] for symbols in (300, 0)]
    [[256, 64], [32]]
    """
    found = []
    for first in range(0, max(len(symbols), 1), PIECE_SYMBOLS):
        piece = symbols[first : first + PIECE_SYMBOLS]
        padded = np.zeros(-(-max(len(piece), 1) // BUCKET_SYMBOLS) * BUCKET_SYMBOLS, dtype=np.uint8)
        padded[: len(piece)] = piece
        found.append(padded)
    return found


class CharCNNProfile(BaseModel):
    """`charcnn.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbols: tuple[str, ...]
    width: int = Field(gt=0, description="numbers in a line's vector, and in a row of features")
    window: int = Field(gt=0, description="lines that a window gives features for")
    halo: int = Field(ge=0, description="neighbours on each side that a line's features are made from")
    temperature: float = Field(gt=0)
    missing_keys: tuple[str, ...] = Field(
        description="of each feature, the key whose lines most often give its maximum in passing runs; empty: none does"
    )


class CharState:
    """Of one source: lines that wait for their window, and the maxima so far.

    `vectors` begins with the `halo` lines before the first that has no features yet, zeros at the start of the source;
    `numbers` are the line numbers from that one on. `maxima` and `places`, shape (width,), are the features and the line
    number each came from, 0 where none did.
    """

    __slots__ = ("maxima", "numbers", "places", "vectors")

    def __init__(self, halo: int, width: int) -> None:
        self.vectors: Vectors = np.zeros((halo, width), dtype=np.float32)
        self.numbers: NDArray[np.uint32] = np.empty(0, dtype=np.uint32)
        self.maxima: Vectors = np.zeros(width, dtype=np.float32)
        self.places: NDArray[np.uint32] = np.zeros(width, dtype=np.uint32)


class _Maxima(NamedTuple):
    """Features of a run, and the source (its place among the sorted names) and line each came from."""

    values: Vectors
    sources: NDArray[np.intp]
    places: NDArray[np.uint32]


class CharCNN:
    """The network of one bundle, C features and L labels.

    `weights` and `means` have shape (L, C), `bias` (L,); `means` are the mean maxima of each label's training runs, against
    which shares are told.
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
            raise BundleError(f"the char-CNN of this bundle is not complete ({error.error_count()} faults)") from None
        except (KeyError, ValueError) as error:
            raise BundleError(f"the char-CNN of this bundle is incomplete ({error}); rebuild the bundle") from None

    def read(self, masked: Sequence[str], words: Sequence[Sequence[str]] = ()) -> list[Vectors]:
        """Vectors of each line, shape (pieces of the line, C). A line's vectors depend on nothing but the line."""
        cut = [pieces(symbols) for symbols in self.alphabet.encode(masked)]
        flat = [piece for line in cut for piece in line]
        vectors = np.empty((len(flat), self.profile.width), dtype=np.float32)
        lengths = np.array([len(piece) for piece in flat], dtype=np.intp)
        for length in np.unique(lengths).tolist():
            places = np.flatnonzero(lengths == length)
            for first in range(0, len(places), _BATCH_PIECES):
                some = places[first : first + _BATCH_PIECES]
                (vectors[some],) = self._lines(symbols=np.stack([flat[i] for i in some.tolist()]).astype(np.int64))
        ends = np.cumsum([len(line) for line in cut])
        return [vectors[end - len(line) : end] for line, end in zip(cut, ends.tolist(), strict=True)]

    def start(self) -> CharState:
        return CharState(self.profile.halo, self.profile.width)

    def update(self, state: CharState, features: Sequence[Vectors], numbers: Sequence[int]) -> None:
        """Takes folded lines, in order: the vectors of each, and its number. They wait until `advance`."""
        if features:
            state.vectors = np.concatenate([state.vectors, *features])
            repeated = np.repeat(np.asarray(numbers, dtype=np.uint32), [len(vectors) for vectors in features])
            state.numbers = np.concatenate([state.numbers, repeated])

    def advance(self, states: Sequence[CharState]) -> None:
        """Runs the windows that are full, of all these sources together; the rest waits.

        Windows lie at fixed positions of each source, so neither the cutting of the text nor the company of other sources
        changes what comes out.
        """
        window, halo = self.profile.window, self.profile.halo
        full = [(state, max(len(state.numbers) - halo, 0) // window) for state in states]
        full = [(state, count) for state, count in full if count]
        features = self._features([self._windows(state.vectors, count) for state, count in full])
        for (state, count), found in zip(full, features, strict=True):
            state.maxima, state.places = _raised(state.maxima, state.places, found, state.numbers[: count * window])
            state.vectors = state.vectors[count * window :].copy()
            state.numbers = state.numbers[count * window :].copy()

    def scores(self, states: Mapping[str, CharState]) -> NDArray[np.float64]:
        """Calibrated log-odds scores of the labels, shape (L,), of all that came so far; changes no state."""
        return self._bias + self._weights @ self._maxima(states).values

    def explain(self, states: Mapping[str, CharState], label: int, rival: int, missing: Collection[str]) -> Explanation:
        """Shares of lines and of `missing` keys in the log-odds of `label` against `rival` (indexes of labels).

        A feature counts its weight times what its maximum has above (or below) a run of the rival label. Above, that is the
        share of the line with the maximum; below, of the missing key whose line would have given it, if there is one.
        """
        maxima = self._maxima(states)
        weights = self._weights[label] - self._weights[rival]
        shares = weights * (maxima.values - self._means[rival])
        came = (maxima.values > self._means[rival]) & (maxima.places > 0)
        names = sorted(states)
        lines: dict[tuple[str, int], float] = {}
        for feature in np.flatnonzero(came).tolist():
            place = names[maxima.sources[feature]], int(maxima.places[feature])
            lines[place] = lines.get(place, 0.0) + float(shares[feature])
        absent: dict[str, float] = {}
        for feature in np.flatnonzero(~came).tolist():
            key = self.profile.missing_keys[feature]
            if key in missing:
                absent[key] = absent.get(key, 0.0) + float(shares[feature])
        baseline = self._bias[label] - self._bias[rival] + float(weights @ self._means[rival])
        rest = baseline + float(shares[~came].sum()) - sum(absent.values())
        return Explanation([LineShare(*place, share) for place, share in sorted(lines.items())], absent, rest)

    @property
    def linear(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (L, C) and bias (L,) of the scores."""
        return self._weights, self._bias

    def maxima(self, states: Mapping[str, CharState]) -> tuple[Vectors, list[tuple[str, int]]]:
        """Features of a run, and for each the source and line number it came from; number 0 where no line has it."""
        found, names = self._maxima(states), sorted(states)
        return found.values, [
            (names[s] if number else "", number)
            for s, number in zip(found.sources.tolist(), found.places.tolist(), strict=True)
        ]

    def _maxima(self, states: Mapping[str, CharState]) -> _Maxima:
        """Over all sources, their last windows included; of equal ones the first source by name has it."""
        ordered = [states[name] for name in sorted(states)]
        window, halo, width = self.profile.window, self.profile.halo, self.profile.width
        counts = [-(-len(state.numbers) // window) for state in ordered]
        padded = []
        for state, count in zip(ordered, counts, strict=True):
            behind = np.zeros((count * window + 2 * halo - len(state.vectors), width), dtype=np.float32)
            padded.append(self._windows(np.concatenate([state.vectors, behind]), count))
        values = np.zeros((len(ordered) + 1, width), dtype=np.float32)
        places = np.zeros((len(ordered) + 1, width), dtype=np.uint32)
        for i, (state, found) in enumerate(zip(ordered, self._features(padded), strict=True)):
            values[i], places[i] = _raised(state.maxima, state.places, found[:, : len(state.numbers)], state.numbers)
        sources = values.argmax(axis=0)
        features = np.arange(width)
        return _Maxima(values[sources, features], sources, places[sources, features])

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
        found = [
            self._run(vectors=together[first : first + _BATCH_WINDOWS])[0]
            for first in range(0, len(together), _BATCH_WINDOWS)
        ]
        rows = np.concatenate([np.empty((0, self.profile.width, self.profile.window), dtype=np.float32), *found])
        ends = np.cumsum([len(some) for some in windows]).tolist()
        return [
            rows[end - len(some) : end].transpose(1, 0, 2).reshape(self.profile.width, -1)
            for some, end in zip(windows, ends, strict=True)
        ]


def _raised(
    maxima: Vectors, places: NDArray[np.uint32], features: Vectors, numbers: NDArray[np.uint32]
) -> tuple[Vectors, NDArray[np.uint32]]:
    """Maxima and their places after features of shape (C, lines) came; of equal ones the earliest line keeps it."""
    if not len(numbers):
        return maxima, places
    best = features.argmax(axis=1)
    values = features[np.arange(len(features)), best]
    higher = values > maxima
    return np.where(higher, values, maxima), np.where(higher, numbers[best], places)
