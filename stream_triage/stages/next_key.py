"""Keys in, the surprises in their order out: a network that has read passing runs says which key should come next.

A key, or the end of a source, that is not among the `top_k` likeliest is a surprise (LogGPT: Han et al., "LogGPT: Log
Anomaly Detection via GPT", IEEE BigData 2023). A key that passing runs do not show is `new` to the plain detector and
nothing here: it is context for what follows, no more.

A source is read in windows at fixed positions: each scores `stride` keys and reads up to `stride` keys before them. A key is
so judged by the same 128 to 255 keys before it however the lines came, and what is kept of a source does not grow.
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
"""Stands for every key that is not in the vocabulary."""
FIRST_KEY: Final = 3

INPUTS: Final = ("keys", "targets")
"""int64 (B, T), int64 (B, S): the keys that are read, and what came after each of the last S of them."""
OUTPUTS: Final = ("surprisal", "rank", "expected")
"""float (B, S) in bits, int64 (B, S) likelier keys, int64 (B, S, 3) the likeliest keys: all that is said of each target."""

MAX_SURPRISES: Final = 64
"""The strongest that are kept, of a source and of a run; later ones are counted."""
# Windows that the network reads at once. More are not faster, and their attention no longer fits the cache.
BATCH_WINDOWS: Final = 4
# Windows that are not full are padded to a multiple of this.
BUCKET_KEYS: Final = 32
# Index of a line without text, as the plain detector has it; a line that matches no template is -1.
_BLANK: Final = -2

Network = Callable[..., Sequence[NDArray[Any]]]


class NextKeyProfile(BaseModel):
    """What the network's numbers mean and what passing runs show; `next_key.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[str, ...] = Field(min_length=1, description="the vocabulary, in the order of its numbers from 3")
    stride: int = Field(default=128, gt=0, description="keys that a window scores; it reads as many before them")
    top_k: int = Field(gt=0, description="a key is a surprise if at least this many others were likelier")
    surprisal_high: float = Field(gt=0, description="bits a key; the mean of a passing run is hardly ever higher")
    surprised_rate: float = Field(
        default=0.0, ge=0, le=1, description="share of unseen passing runs with any surprise, by cross-fitting"
    )


@dataclass(frozen=True, slots=True)
class Order:
    """What is said of a run: the mean over `events` keys and ends in bits, beside what passing runs hardly ever exceed.

    `surprises` are sorted by surprisal. Of `count` it holds the strongest, and all ends.
    """

    mean_surprisal: float
    events: int
    surprises: list[Surprise]
    count: int
    surprisal_high: float


class _Found(NamedTuple):
    """One surprise, by numbers of the vocabulary; sorts the strongest first, of equal ones the earliest."""

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
        self.strongest: list[_Found] = []

    def copy(self) -> "_Tally":
        other = _Tally()
        other.bits, other.events, other.count = self.bits, self.events, self.count
        other.strongest = list(self.strongest)
        return other


class NextKeyState:
    """Of one source: the keys that may still be read, their line numbers, and the sums of what was scored.

    `keys[0]` stands at `scored - context`; after `advance` there are at most two strides and one of them.
    """

    __slots__ = ("context", "keys", "numbers", "tally")

    def __init__(self) -> None:
        self.keys: NDArray[np.int32] = np.array([START], dtype=np.int32)
        self.numbers: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self.context = 0
        """How many of `keys` stand before the first whose successor is not yet scored."""
        self.tally = _Tally()


class _Window(NamedTuple):
    """The keys it reads, what came after the last of them, and the line numbers of that."""

    tally: _Tally
    keys: NDArray[np.int32]
    targets: NDArray[np.int32]
    numbers: NDArray[np.int64]

    @property
    def context(self) -> int:
        return len(self.keys) - len(self.targets)


class NextKey:
    """`keys` are the bundle's template keys, in the order of their indexes; `network` has INPUTS and OUTPUTS."""

    def __init__(self, keys: Sequence[str], profile: NextKeyProfile, network: Network) -> None:
        index = {key: i for i, key in enumerate(keys)}
        stray = [key for key in profile.keys if key not in index]
        if stray:
            raise BundleError(f"the network of this bundle knows keys that its templates lack ({stray[0]}); rebuild it")
        self.profile = profile
        self._network = network
        self._stride = profile.stride
        self._keys = ("",) * FIRST_KEY + profile.keys
        # The last place is that of -1, a line without template.
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
                f"the next-key profile of this bundle is not complete ({error.error_count()} faults); rebuild it"
            ) from None

    def _try_network(self) -> None:
        """A network of a smaller vocabulary cannot read the last key, and one of shorter windows not two strides."""
        keys = np.full((1, 2 * self._stride), len(self._keys) - 1, dtype=np.int64)
        surprisal, rank, expected = self._network(keys=keys, targets=keys[:, self._stride :])
        if surprisal.shape != rank.shape or surprisal.shape != (1, self._stride) or expected.shape[:2] != rank.shape:
            raise BundleError("the next-key network of this bundle gives other shapes than it should; rebuild the bundle")

    def start(self) -> NextKeyState:
        return NextKeyState()

    def update(self, state: NextKeyState, indexes: Sequence[int], first_number: int) -> None:
        """Takes the next lines of a source, by template index, -1 (no template) or -2 (no text); nothing is scored yet."""
        lines = np.asarray(indexes, dtype=np.int64)
        events = np.flatnonzero(lines != _BLANK)
        state.keys = np.concatenate([state.keys, self._number_of_index[lines[events]]])
        state.numbers = np.concatenate([state.numbers, events + first_number])

    def advance(self, states: Iterable[NextKeyState]) -> None:
        """Scores all full windows of these sources, in batches; of each source only the last keys remain."""
        windows = []
        for state in states:
            windows += self._full_windows(state)
        self._score(windows)

    def finish(self, states: Mapping[str, NextKeyState], final: bool) -> Order:
        """All sources so far, in the order of their names; with `final` they also end. Lines may still follow."""
        self.advance(states.values())
        tallies = {source: states[source].tally.copy() for source in sorted(states)}
        self._score([w for source, tally in tallies.items() if (w := self._last_window(states[source], tally, final))])
        surprises = [self._surprise(source, found) for source, tally in tallies.items() for found in tally.strongest]
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
        """Cuts them off the state: a window is full when the key after its last one is there."""
        found, stride = [], self._stride
        first, begin = state.context, 0
        while first + stride < len(state.keys):
            after = slice(first + 1, first + stride + 1)
            found.append(_Window(state.tally, state.keys[begin : first + stride], state.keys[after], state.numbers[after]))
            begin, first = first, first + stride
        state.context = first - begin
        state.keys, state.numbers = state.keys[begin:].copy(), state.numbers[begin:].copy()
        return found

    def _last_window(self, state: NextKeyState, tally: _Tally, final: bool) -> _Window | None:
        targets, numbers = state.keys[state.context + 1 :], state.numbers[state.context + 1 :]
        if final:
            targets, numbers = np.append(targets, np.int32(END)), np.append(numbers, state.numbers[-1])
        keys = state.keys[: state.context + len(targets)]
        return _Window(tally, keys, targets, numbers) if len(targets) else None

    def _score(self, windows: Sequence[_Window]) -> None:
        """The first windows of sources, which read nothing before them, go apart from the later ones.

        Where nothing came that the network knows, as in logs of another stack, there is nothing to score.
        """
        windows = [window for window in windows if (window.targets != UNK).any()]
        for context in (0, self._stride):
            alike = [window for window in windows if window.context == context]
            for first in range(0, len(alike), BATCH_WINDOWS):
                self._score_batch(alike[first : first + BATCH_WINDOWS], context)

    def _score_batch(self, windows: Sequence[_Window], context: int) -> None:
        """What pads a window stands behind its keys, where no key looks."""
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
            # Most of many surprises need no more than a glance.
            weakest = -tally.strongest[-1].minus_surprisal
            surprising = surprising[(surprisal[surprising] > weakest) | (targets[surprising] == END)]
        found = [self._found(window, i, surprisal, rank, expected) for i in surprising.tolist()]
        if found:
            # The end is the last that is scored of a source, so nothing is kept in order behind it.
            ends = [one for one in found if one.key == END]
            lines = (one for one in (*tally.strongest, *found) if one.key != END)
            tally.strongest = nsmallest(MAX_SURPRISES, lines) + ends

    @staticmethod
    def _found(
        window: _Window,
        i: int,
        surprisal: NDArray[np.float32],
        rank: NDArray[np.int64],
        expected: NDArray[np.int64],
    ) -> _Found:
        likelier = tuple(expected[i].tolist())[: int(rank[i])]
        return _Found(-float(surprisal[i]), int(window.numbers[i]), int(window.targets[i]), int(rank[i]), likelier)

    def _surprise(self, source: str, found: _Found) -> Surprise:
        return Surprise(
            source=source,
            number=found.number or None,
            key=self._keys[found.key],
            rank=found.rank,
            expected=tuple(self._keys[number] for number in found.expected),
            surprisal=-found.minus_surprisal,
            end=found.key == END,
        )
