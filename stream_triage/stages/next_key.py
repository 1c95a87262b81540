"""Template keys in, those that came where others were likelier out: a network trained on passing runs predicts the next key.

A key, or the end of a source, that is not among the `top_k` likeliest is a surprise (Top-K of LogGPT: Han et al., "LogGPT:
Log Anomaly Detection via GPT", IEEE BigData 2023). A key that passing runs do not show is `new` to the plain detector. Here
it is context for the keys after it, and no surprise itself.

A source is read in windows at fixed positions. Each scores `stride` keys and reads up to `stride` keys before them, so a key
is always judged by the same 128 to 255 keys before it, however the lines were cut into batches. The state of a source does
not grow with its length.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_triage.errors import BundleError
from stream_triage.records import Surprise

__all__ = ["END", "FIRST_KEY", "INPUTS", "MAX_SURPRISES", "OUTPUTS", "START", "UNK", "NextKey", "NextKeyProfile", "Order"]

START: Final = 0
END: Final = 1
UNK: Final = 2
"""The number of every key that is not in the vocabulary."""
FIRST_KEY: Final = 3

INPUTS: Final = ("keys", "targets")
"""int64 (B, T) and int64 (B, S): the keys to read, and the key that came after each of the last S of them."""
OUTPUTS: Final = ("surprisal", "rank", "expected")
"""For each target: its surprisal in bits, float (B, S); how many keys were likelier, int64 (B, S); and the likeliest keys,
int64 (B, S, 3)."""

MAX_SURPRISES: Final = 64
"""Surprises that are kept of a source, and of a run; weaker ones are only counted."""
# Windows that the network reads at once. More are not faster, since their attention no longer fits the cache.
BATCH_WINDOWS: Final = 4
# Windows that are not full are padded to a multiple of this, so that the network sees few different shapes.
BUCKET_KEYS: Final = 32
# Template index of a line without text. The same number as in the plain detector; a stage does not import another.
_BLANK: Final = -2

Network = Callable[..., Sequence[NDArray[Any]]]


class NextKeyProfile(BaseModel):
    """The vocabulary of the network, and its limits from passing runs; `next_key.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[str, ...] = Field(min_length=1, description="the vocabulary: the first key has number 3")
    stride: int = Field(default=128, gt=0, description="keys that a window scores; it reads as many before them")
    top_k: int = Field(gt=0, description="a key is a surprise if at least this many others were likelier")
    surprisal_high: float = Field(gt=0, description="bits a key; the mean of a passing run is hardly ever higher")
    surprised_rate: float = Field(
        default=0.0, ge=0, le=1, description="share of unseen passing runs with any surprise, by cross-fitting"
    )


@dataclass(frozen=True, slots=True)
class Order:
    """What the network says about the order of a run's keys."""

    mean_surprisal: float
    """Of all `events`, in bits."""
    events: int
    """Number of keys and ends that were scored."""
    surprises: list[Surprise]
    """The strongest ones and all ends, sorted by surprisal."""
    count: int
    """Number of surprises, including those that are not in `surprises`."""
    surprisal_high: float
    """Mean surprisal that passing runs hardly ever exceed, in bits."""


class _Scored(NamedTuple):
    """One surprise, by numbers of the vocabulary. Sorts the strongest first, and the earliest first among equal ones."""

    minus_surprisal: float
    number: int
    key: int
    rank: int
    expected: tuple[int, ...]


class _Tally:
    """Sums over the scored keys of a source."""

    __slots__ = ("bits", "count", "events", "strongest")

    def __init__(self) -> None:
        self.bits = 0.0
        self.events = 0
        self.count = 0
        self.strongest: list[_Scored] = []

    def copy(self) -> "_Tally":
        other = _Tally()
        other.bits, other.events, other.count = self.bits, self.events, self.count
        other.strongest = list(self.strongest)
        return other


class NextKeyState:
    """Of one source: the keys that a window may still read, their line numbers, and sums over the keys already scored.

    After `advance` it holds at most two strides of keys and one more.
    """

    __slots__ = ("context", "keys", "numbers", "tally")

    def __init__(self) -> None:
        self.keys: NDArray[np.int32] = np.array([START], dtype=np.int32)
        self.numbers: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self.context = 0
        """The first `context` keys only serve as context: their successors are scored already."""
        self.tally = _Tally()


class _Window(NamedTuple):
    """The keys to read, the targets (what came after each of the last keys), and the line numbers of the targets."""

    tally: _Tally
    keys: NDArray[np.int32]
    targets: NDArray[np.int32]
    numbers: NDArray[np.int64]

    @property
    def context(self) -> int:
        return len(self.keys) - len(self.targets)


class NextKey:
    """Scores the order of keys with a network that has `INPUTS` and `OUTPUTS`.

    `keys` are the template keys of the bundle, by index.

    Raises:
        BundleError: The vocabulary has a key that is not among them, or the network gives results of another shape.
    """

    def __init__(self, keys: Sequence[str], profile: NextKeyProfile, network: Network) -> None:
        index = {key: i for i, key in enumerate(keys)}
        stray = [key for key in profile.keys if key not in index]
        if stray:
            raise BundleError(
                f"next_key.json of this bundle names key {stray[0]}, which templates.json does not have; rebuild the bundle"
            )
        self.profile = profile
        self._network = network
        self._stride = profile.stride
        self._keys = ("",) * FIRST_KEY + profile.keys
        # A line without template has index -1, which numpy takes as the last item.
        self._number_of_index = np.full(len(keys) + 1, UNK, dtype=np.int32)
        for number, key in enumerate(profile.keys, FIRST_KEY):
            self._number_of_index[index[key]] = number
        self._try_network()

    @classmethod
    def from_file(cls, keys: Sequence[str], profile: Any, network: Network) -> "NextKey":
        """From `next_key.json` of a bundle and its network."""
        try:
            return cls(keys, NextKeyProfile.model_validate(profile), network)
        except ValidationError as error:
            raise BundleError(
                f"next_key.json of this bundle has {error.error_count()} invalid field(s); rebuild the bundle"
            ) from None

    def _try_network(self) -> None:
        """Reads the last key over two strides: a network for fewer keys or shorter windows fails here and not later."""
        keys = np.full((1, 2 * self._stride), len(self._keys) - 1, dtype=np.int64)
        surprisal, rank, expected = self._network(keys=keys, targets=keys[:, self._stride :])
        if surprisal.shape != rank.shape or surprisal.shape != (1, self._stride) or expected.shape[:2] != rank.shape:
            raise BundleError(
                "next_key.onnx of this bundle gives results of another shape than expected; rebuild the bundle"
            )

    def start(self) -> NextKeyState:
        """The state of a source before its first line."""
        return NextKeyState()

    def update(self, state: NextKeyState, indexes: Sequence[int], first_number: int) -> None:
        """Takes the next lines of a source by template index, -1 (no template) or -2 (no text). Scores nothing yet."""
        lines = np.asarray(indexes, dtype=np.int64)
        events = np.flatnonzero(lines != _BLANK)
        state.keys = np.concatenate([state.keys, self._number_of_index[lines[events]]])
        state.numbers = np.concatenate([state.numbers, events + first_number])

    def advance(self, states: Iterable[NextKeyState]) -> None:
        """Scores all full windows of these sources in joint batches, and drops the keys that no later window reads."""
        windows = []
        for state in states:
            windows += self._full_windows(state)
        self._score(windows)

    def finish(self, states: Mapping[str, NextKeyState], final: bool) -> Order:
        """What is said of the run so far. With `final` the ends of the sources are scored too.

        The last, unfinished windows are scored into copies of the sums, so lines may still follow.
        """
        self.advance(states.values())
        tallies = {source: states[source].tally.copy() for source in sorted(states)}
        self._score([w for source, tally in tallies.items() if (w := self._last_window(states[source], tally, final))])
        surprises = [self._surprise(source, one) for source, tally in tallies.items() for one in tally.strongest]
        surprises.sort(key=lambda surprise: -surprise.surprisal)
        ends = [surprise for surprise in surprises if surprise.end]
        strongest = [surprise for surprise in surprises if not surprise.end][:MAX_SURPRISES] + ends
        bits, events = sum(tally.bits for tally in tallies.values()), sum(tally.events for tally in tallies.values())
        return Order(
            bits / events if events else 0.0,
            events,
            sorted(strongest, key=lambda surprise: -surprise.surprisal),
            sum(tally.count for tally in tallies.values()),
            self.profile.surprisal_high,
        )

    def _full_windows(self, state: NextKeyState) -> list[_Window]:
        """Takes the full windows off the state. A window is full when the key after its last one has come."""
        windows, stride = [], self._stride
        first, begin = state.context, 0
        while first + stride < len(state.keys):
            after = slice(first + 1, first + stride + 1)
            windows.append(_Window(state.tally, state.keys[begin : first + stride], state.keys[after], state.numbers[after]))
            begin, first = first, first + stride
        state.context = first - begin
        state.keys, state.numbers = state.keys[begin:].copy(), state.numbers[begin:].copy()
        return windows

    def _last_window(self, state: NextKeyState, tally: _Tally, final: bool) -> _Window | None:
        targets, numbers = state.keys[state.context + 1 :], state.numbers[state.context + 1 :]
        if final:
            targets, numbers = np.append(targets, np.int32(END)), np.append(numbers, state.numbers[-1])
        keys = state.keys[: state.context + len(targets)]
        return _Window(tally, keys, targets, numbers) if len(targets) else None

    def _score(self, windows: Sequence[_Window]) -> None:
        """Scores first windows of sources, which have no context, apart from later ones: their shapes differ.

        A window without a key that the network knows is skipped, as in logs of another stack.
        """
        windows = [window for window in windows if (window.targets != UNK).any()]
        for context in (0, self._stride):
            alike = [window for window in windows if window.context == context]
            for first in range(0, len(alike), BATCH_WINDOWS):
                self._score_batch(alike[first : first + BATCH_WINDOWS], context)

    def _score_batch(self, windows: Sequence[_Window], context: int) -> None:
        """Pads windows after their keys; attention is causal, so no key sees the padding."""
        longest = max(len(window.targets) for window in windows)
        scored = min(-(-longest // BUCKET_KEYS) * BUCKET_KEYS, self._stride)
        keys = np.full((len(windows), context + scored), START, dtype=np.int64)
        targets = np.full((len(windows), scored), END, dtype=np.int64)
        for row, window in enumerate(windows):
            keys[row, : len(window.keys)] = window.keys
            targets[row, : len(window.targets)] = window.targets
        surprisal, rank, expected = self._network(keys=keys, targets=targets)
        for row, window in enumerate(windows):
            self._take(window, surprisal[row], rank[row], expected[row])

    def _take(
        self, window: _Window, surprisal: NDArray[np.float32], rank: NDArray[np.int64], expected: NDArray[np.int64]
    ) -> None:
        tally, targets = window.tally, window.targets
        scored = targets != UNK
        tally.events += int(scored.sum())
        tally.bits += float(surprisal[: len(targets)][scored].sum(dtype=np.float64))
        surprising = np.flatnonzero(scored & (rank[: len(targets)] >= self.profile.top_k))
        tally.count += len(surprising)
        if len(tally.strongest) >= MAX_SURPRISES:
            # In a run full of surprises most are weaker than those already kept: leave them out before making records.
            weakest = -tally.strongest[-1].minus_surprisal
            surprising = surprising[(surprisal[surprising] > weakest) | (targets[surprising] == END)]
        scored_keys = [self._scored(window, i, surprisal, rank, expected) for i in surprising.tolist()]
        if scored_keys:
            # The end is kept whatever its surprisal, after the strongest ones. It is the last that is scored of a source, so
            # `strongest[-1]` above is never an end.
            ends = [one for one in scored_keys if one.key == END]
            lines = (one for one in (*tally.strongest, *scored_keys) if one.key != END)
            tally.strongest = nsmallest(MAX_SURPRISES, lines) + ends

    @staticmethod
    def _scored(
        window: _Window,
        i: int,
        surprisal: NDArray[np.float32],
        rank: NDArray[np.int64],
        expected: NDArray[np.int64],
    ) -> _Scored:
        likelier = tuple(expected[i].tolist())[: int(rank[i])]
        return _Scored(-float(surprisal[i]), int(window.numbers[i]), int(window.targets[i]), int(rank[i]), likelier)

    def _surprise(self, source: str, scored: _Scored) -> Surprise:
        return Surprise(
            source=source,
            number=scored.number or None,
            key=self._keys[scored.key],
            rank=scored.rank,
            expected=tuple(self._keys[number] for number in scored.expected),
            surprisal=-scored.minus_surprisal,
            end=scored.key == END,
        )
