"""What each line says on its own in, what it says within its log out: the features that relevance is learned from.

A line is relevant for what stands around it, for how rare it is in this log, and for where it stands: before a step that
failed, near the end, behind the last command. All of it is computed for a stretch of lines at a time.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.reduce.lines import COLUMNS

__all__ = ["FEATURES", "LogLines", "features"]

# Lines on each side that the features of a line look at.
REACH: Final = 50
# Lines whose features are computed together.
STRETCH: Final = 8192
# Slots in which lines are counted by identity; two kinds of line rarely share one.
COUNT_SLOTS: Final = 1 << 20
FARTHEST: Final = 500

Floats = NDArray[np.float32]
_AT: Final = {name: i for i, name in enumerate(COLUMNS)}


class LogLines(NamedTuple):
    """All N lines of a log that have text; under 50 bytes each."""

    numbers: NDArray[np.uint8]
    """Shape (N, len(COLUMNS))."""
    words: Floats
    """How relevant the words of each line are, as log-odds; shape (N,)."""
    identity: NDArray[np.uint32]


_NEIGHBOURS: Final = (
    "words_before_1",
    "words_before_2",
    "words_after_1",
    "words_after_2",
    "words_best_before_3",
    "words_best_after_3",
    "words_best_before_10",
    "words_best_after_10",
    "words_mean_5",
    "words_mean_20",
    "words_mean_50",
)
_COUNTED: Final = (
    "fail",
    "fail_shouted",
    "fail_colon",
    "trace",
    "assert",
    "carets",
    "pass",
    "fetch",
    "summary",
    "gap",
    "only_rule",
)
_WINDOWS: Final = ((3, 3), (10, 0), (0, 10))
FEATURES: Final = (
    *COLUMNS,
    "words_score",
    *_NEIGHBOURS,
    *(f"{name}_{before}_{after}" for name in _COUNTED for before, after in _WINDOWS),
    "fail_after_50",
    "indent_before",
    "indent_after",
    "gap_after",
    "to_end",
    "from_start",
    "position",
    "repeats",
    "repeats_mean_5",
    "repeats_least_3",
    "first_of_kind",
    "below_best",
    "lines_above",
    "fail_lines_before",
    "fail_lines_after",
    "to_failed_exit",
    "from_failed_exit",
    "to_prompt",
    "from_prompt",
    "prompts_after",
    "to_best",
)


class _Log:
    """What is the same for all stretches of a log."""

    def __init__(self, log: LogLines) -> None:
        numbers = log.numbers
        self.count = len(log.words)
        slots = log.identity & np.uint32(COUNT_SLOTS - 1)
        self.slots = slots
        self.counts = np.bincount(slots, minlength=COUNT_SLOTS).astype(np.uint32)
        first = np.full(COUNT_SLOTS, self.count, dtype=np.int64)
        np.minimum.at(first, slots, np.arange(self.count))
        self.first = first
        self.best = int(log.words.argmax())
        # Quantiles at every 1/256, finer at the top, where the lines that matter are.
        ranks = np.unique(np.geomspace(1, self.count, 64).astype(np.int64))
        ordered = np.sort(log.words)
        self.limits, self.ranks = ordered[self.count - ranks][::-1], ranks[::-1]
        failing = numbers[:, _AT["fail"]] > 0
        self.failing = np.concatenate([[0], np.cumsum(failing, dtype=np.int32)])
        exits = (numbers[:, _AT["exit"]] > 0) & (numbers[:, _AT["zeros"]] == 0) & (numbers[:, _AT["figures"]] > 0)
        self.exits = np.flatnonzero(exits)
        self.prompts = np.flatnonzero(numbers[:, _AT["prompt"]])


def features(log: LogLines) -> Iterator[tuple[int, Floats]]:
    """Yields stretches of a log: the index of their first line, and their features, shape (lines, len(FEATURES))."""
    if not len(log.words):
        return
    whole = _Log(log)
    for start in range(0, whole.count, STRETCH):
        yield start, _stretch(log, whole, start, min(start + STRETCH, whole.count))


def _stretch(log: LogLines, whole: _Log, start: int, end: int) -> Floats:
    low, high = max(0, start - REACH), min(whole.count, end + REACH)
    size, shift = end - start, start - low
    # Lines outside the log are like its most common ones: no words of interest.
    pad = (REACH - shift, REACH - (high - end))
    words = np.pad(log.words[low:high], pad, constant_values=-8.0)
    numbers = np.pad(log.numbers[low:high], (pad, (0, 0)))
    repeats = np.pad(np.log1p(whole.counts[whole.slots[low:high]]).astype(np.float32), pad, constant_values=0.0)
    here = slice(REACH, REACH + size)
    index = np.arange(start, end)

    def shifted(values: NDArray[np.generic], by: int) -> NDArray[np.generic]:
        return values[REACH + by : REACH + by + size]

    def best(values: Floats, offsets: range, function: np.ufunc) -> Floats:
        result = shifted(values, offsets[0]).copy()
        for by in offsets[1:]:
            function(result, shifted(values, by), out=result)
        return result

    sums: dict[str, NDArray[np.float64]] = {}

    def total(name: str, values: NDArray[np.generic], before: int, after: int) -> NDArray[np.float64]:
        if name not in sums:
            sums[name] = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        first = REACH - before
        last = REACH + after + 1
        return sums[name][last : last + size] - sums[name][first : first + size]

    table = np.empty((size, len(FEATURES)), dtype=np.float32)
    table[:, : len(COLUMNS)] = numbers[here]
    own = words[here]
    three_before = best(words, range(-3, 0), np.maximum)
    three_after = best(words, range(1, 4), np.maximum)
    columns = [
        own,
        shifted(words, -1),
        shifted(words, -2),
        shifted(words, 1),
        shifted(words, 2),
        three_before,
        three_after,
        np.maximum(three_before, best(words, range(-10, -3), np.maximum)),
        np.maximum(three_after, best(words, range(4, 11), np.maximum)),
        total("words", words, 5, 5) / 11,
        total("words", words, 20, 20) / 41,
        total("words", words, 50, 49) / 100,
    ]
    for name in _COUNTED:
        columns += [total(name, numbers[:, _AT[name]], before, after) for before, after in _WINDOWS]
    columns.append(total("fail", numbers[:, _AT["fail"]], 0, REACH - 1))
    columns += [shifted(numbers[:, _AT["indent"]], -1), shifted(numbers[:, _AT["indent"]], 1)]
    columns.append(shifted(numbers[:, _AT["gap"]], 1))
    columns += [np.log1p(whole.count - 1 - index), np.log1p(index), index / whole.count]
    own_slots = whole.slots[start:end]
    columns += [
        repeats[here],
        total("repeats", repeats, 5, 5) / 11,
        best(repeats, range(-3, 4), np.minimum),
        whole.first[own_slots] == index,
        own - log.words[whole.best],
        np.log1p(whole.ranks[np.clip(np.searchsorted(whole.limits, own, side="right"), 1, len(whole.ranks)) - 1]),
        np.log1p(whole.failing[index]),
        np.log1p(whole.failing[-1] - whole.failing[index + 1]),
        _distance_after(whole.exits, index),
        _distance_before(whole.exits, index),
        _distance_after(whole.prompts, index),
        _distance_before(whole.prompts, index),
        np.log1p(len(whole.prompts) - np.searchsorted(whole.prompts, index, side="right")),
        np.clip(index - whole.best, -FARTHEST, FARTHEST),
    ]
    for i, column in enumerate(columns, len(COLUMNS)):
        table[:, i] = column
    return table


def _distance_after(marks: NDArray[np.intp], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Lines from each line to the next mark, 0 for a mark itself, capped; logarithmic."""
    places = np.searchsorted(marks, index)
    following = np.append(marks, index[-1] + FARTHEST)[places]
    return np.asarray(np.log1p(np.minimum(following - index, FARTHEST)))


def _distance_before(marks: NDArray[np.intp], index: NDArray[np.intp]) -> NDArray[np.float64]:
    places = np.searchsorted(marks, index, side="right")
    previous = np.concatenate([[index[0] - FARTHEST], marks])[places]
    return np.asarray(np.log1p(np.minimum(index - previous, FARTHEST)))
