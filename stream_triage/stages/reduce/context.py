"""What each line says on its own in, what it says within its log out: the features that relevance is learned from.

A line is relevant for what stands around it, for how rare it is in this log, and for where it stands: before a step that
failed, near the end, behind the last command. All of it is computed for a stretch of lines at a time.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.reduce.blocks import find_blocks
from stream_triage.stages.reduce.lines import COLUMNS, LogLines

__all__ = ["FEATURES", "features"]

# Lines on each side that the features of a line look at.
REACH: Final = 50
# Lines whose features are computed together.
STRETCH: Final = 8192
FARTHEST: Final = 500
# Words score of what is outside the log.
NO_WORDS: Final = -8.0

Floats = NDArray[np.float32]
_AT: Final = {name: i for i, name in enumerate(COLUMNS)}


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
    "kinds_after",
    "last_of_kind",
    "block_size",
    "block_place",
    "block_whole",
    "block_best",
    "block_fails",
    "block_traces",
    "step_size",
    "step_fails",
    "step_best",
    "step_failed",
    "steps_after_with_fails",
)


class _Log:
    """What is the same for all stretches of a log."""

    def __init__(self, log: LogLines) -> None:
        numbers = log.numbers
        self.count = len(log.words)
        _, self.first, kind, self.counts = np.unique(
            log.identity, return_index=True, return_inverse=True, return_counts=True
        )
        self.kind = kind.astype(np.int32)
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
        last = np.empty_like(self.first)
        last[self.kind] = np.arange(self.count, dtype=np.int32)  # of equal indexes, the last one counts
        self.last = last
        news = np.zeros(self.count, dtype=bool)
        news[self.first] = True
        self.kinds_after = len(self.first) - np.cumsum(news, dtype=np.int32)
        self.block = find_blocks(log)
        self.blocks = _Groups(log, self.block.of_line, self.block.starts)
        begins = numbers[:, _AT["prompt"]] > 0
        begins[0] = True
        self.steps = _Groups(log, np.cumsum(begins, dtype=np.int32) - 1, np.flatnonzero(begins))
        self.step_exits = np.add.reduceat(exits, self.steps.starts, dtype=np.int32)
        failed = np.cumsum(self.steps.fails > 0)
        self.steps_after = failed[-1] - failed


class _Groups:
    """Sums over groups of adjacent lines: blocks, or what one command printed."""

    def __init__(self, log: LogLines, of_line: NDArray[np.int32], starts: NDArray[np.intp]) -> None:
        self.of_line, self.starts = of_line, starts
        self.size = np.diff(starts, append=len(of_line))
        self.best = np.maximum.reduceat(log.words, starts)
        self.fails = np.add.reduceat(log.numbers[:, _AT["fail"]] > 0, starts, dtype=np.int32)
        self.traces = np.add.reduceat(log.numbers[:, _AT["trace"]] > 0, starts, dtype=np.int32)


def features(log: LogLines) -> Iterator[tuple[int, Floats]]:
    """Yields stretches of a log: the index of their first line, and their features, shape (lines, len(FEATURES))."""
    if not len(log.words):
        return
    whole = _Log(log)
    for start in range(0, whole.count, STRETCH):
        yield start, _stretch(log, whole, start, min(start + STRETCH, whole.count))


class _Stretch:
    """Lines `start` to `end` of a log, the last one excluded, with `REACH` lines on each side; lines outside it are dull."""

    def __init__(self, log: LogLines, whole: _Log, start: int, end: int) -> None:
        low, high = max(0, start - REACH), min(whole.count, end + REACH)
        pad = (REACH - (start - low), REACH - (high - end))
        self.size = end - start
        self.index = np.arange(start, end)
        self.words: Floats = np.pad(log.words[low:high], pad, constant_values=NO_WORDS)
        self.numbers = np.pad(log.numbers[low:high], (pad, (0, 0)))
        repeats = np.log1p(whole.counts[whole.kind[low:high]]).astype(np.float32)
        self.repeats: Floats = np.pad(repeats, pad, constant_values=0.0)

    def at(self, values: NDArray[Any], by: int) -> NDArray[Any]:
        """The value of the line that is `by` lines behind each line."""
        return values[REACH + by : REACH + by + self.size]

    def best(self, values: Floats, offsets: range, of: np.ufunc) -> Floats:
        """The highest or lowest value (`np.maximum`, `np.minimum`) among lines at these offsets."""
        result: Floats = self.at(values, offsets[0]).copy()
        for by in offsets[1:]:
            of(result, self.at(values, by), out=result)
        return result

    def totals(self, values: NDArray[Any], windows: Iterable[tuple[int, int]]) -> list[NDArray[np.float64]]:
        """For each window, the sum from so many lines before to so many behind each line, the line itself included."""
        sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        return [
            sums[REACH + after + 1 : REACH + after + 1 + self.size] - sums[REACH - before : REACH - before + self.size]
            for before, after in windows
        ]


def _stretch(log: LogLines, whole: _Log, start: int, end: int) -> Floats:
    stretch = _Stretch(log, whole, start, end)
    table = np.empty((stretch.size, len(FEATURES)), dtype=np.float32)
    table[:, : len(COLUMNS)] = stretch.at(stretch.numbers, 0)
    columns = [*_of_words(stretch), *_of_counts(stretch), *_of_place(log, whole, stretch), *_of_groups(whole, stretch)]
    for i, column in enumerate(columns, len(COLUMNS)):
        table[:, i] = column
    return table


def _of_words(stretch: _Stretch) -> list[NDArray[Any]]:
    """What the words of a line and of the lines around it say."""
    words = stretch.words
    before = stretch.best(words, range(-3, 0), np.maximum)
    after = stretch.best(words, range(1, 4), np.maximum)
    five, twenty, fifty = stretch.totals(words, [(5, 5), (20, 20), (50, 49)])
    return [
        stretch.at(words, 0),
        *(stretch.at(words, by) for by in (-1, -2, 1, 2)),
        before,
        after,
        np.maximum(before, stretch.best(words, range(-10, -3), np.maximum)),
        np.maximum(after, stretch.best(words, range(4, 11), np.maximum)),
        five / 11,
        twenty / 41,
        fifty / 100,
    ]


def _of_counts(stretch: _Stretch) -> list[NDArray[Any]]:
    """How often lines around a line say something, and their indentation."""
    columns: list[NDArray[Any]] = []
    for name in _COUNTED:
        columns += stretch.totals(stretch.numbers[:, _AT[name]], _WINDOWS)
    columns += stretch.totals(stretch.numbers[:, _AT["fail"]], [(0, REACH - 1)])
    indents = stretch.numbers[:, _AT["indent"]]
    return [*columns, stretch.at(indents, -1), stretch.at(indents, 1), stretch.at(stretch.numbers[:, _AT["gap"]], 1)]


def _of_place(log: LogLines, whole: _Log, stretch: _Stretch) -> list[NDArray[Any]]:
    """Where a line stands in its log, how rare it is, and how it compares with the others."""
    index, own = stretch.index, stretch.at(stretch.words, 0)
    (repeats,) = stretch.totals(stretch.repeats, [(5, 5)])
    place = np.clip(np.searchsorted(whole.limits, own, side="right"), 1, len(whole.ranks)) - 1
    return [
        np.log1p(whole.count - 1 - index),
        np.log1p(index),
        index / whole.count,
        stretch.at(stretch.repeats, 0),
        repeats / 11,
        stretch.best(stretch.repeats, range(-3, 4), np.minimum),
        whole.first[whole.kind[index]] == index,
        own - log.words[whole.best],
        np.log1p(whole.ranks[place]),
        np.log1p(whole.failing[index]),
        np.log1p(whole.failing[-1] - whole.failing[index + 1]),
        _distance_after(whole.exits, index),
        _distance_before(whole.exits, index),
        _distance_after(whole.prompts, index),
        _distance_before(whole.prompts, index),
        np.log1p(len(whole.prompts) - np.searchsorted(whole.prompts, index, side="right")),
        np.clip(index - whole.best, -FARTHEST, FARTHEST),
    ]


def _of_groups(whole: _Log, stretch: _Stretch) -> list[NDArray[Any]]:
    """What the block of a line says, and the step of the build that it is in."""
    index = stretch.index
    block, step = whole.blocks.of_line[index], whole.steps.of_line[index]
    together = whole.block.whole[block]
    own = stretch.at(stretch.words, 0)
    return [
        np.log1p(whole.kinds_after[index]),
        whole.last[whole.kind[index]] == index,
        # An indented dump is no block that is read together.
        np.where(together, whole.blocks.size[block], 1),
        np.where(together, index - whole.blocks.starts[block], 0),
        together,
        np.where(together, whole.blocks.best[block], own),
        np.where(together, whole.blocks.fails[block], 0),
        np.where(together, whole.blocks.traces[block], 0),
        np.log1p(whole.steps.size[step]),
        np.log1p(whole.steps.fails[step]),
        whole.steps.best[step] - own,
        whole.step_exits[step],
        np.log1p(whole.steps_after[step]),
    ]


def _distance_after(marks: NDArray[np.intp], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Lines from each line to the next mark, 0 for a mark itself, capped; logarithmic."""
    places = np.searchsorted(marks, index)
    following = np.append(marks, index[-1] + FARTHEST)[places]
    return np.asarray(np.log1p(np.minimum(following - index, FARTHEST)))


def _distance_before(marks: NDArray[np.intp], index: NDArray[np.intp]) -> NDArray[np.float64]:
    places = np.searchsorted(marks, index, side="right")
    previous = np.concatenate([[index[0] - FARTHEST], marks])[places]
    return np.asarray(np.log1p(np.minimum(index - previous, FARTHEST)))
