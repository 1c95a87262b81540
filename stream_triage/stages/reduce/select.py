"""Scored logs, marks and a budget in; the chosen lines out, most important first.

Lines compete by importance, never by their place in the log. A block counts as much as its best line, so that a stack trace
stays whole, and a block that came before counts less: the second of three equal traces tells nothing new.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.reduce.blocks import Blocks, find_blocks
from stream_triage.stages.reduce.budget import AUTO_LEAST, AUTO_SCORE, Budget, tokens_of
from stream_triage.stages.reduce.lines import LogLines
from stream_triage.stages.reduce.marks import ALWAYS, Mark, Why
from stream_triage.stages.reduce.relevance import ScoredLog

__all__ = ["Chosen", "Reduction", "importance", "select"]

# All in log-odds, the unit of scores. What the other lines of a block are worth below its best one.
BLOCK_STEP: Final = 1.0
# The text of a failure is read in one piece, with the dull lines in it: how many of them may stand between important lines,
# and what they count less than these. A gap of one line would take a line to announce.
BRIDGES: Final = ((1, 0.3), (3, 0.6), (8, 1.5))
# What an equal block counts less from the third one on; the last one counts in full, for it may be what ended the run.
REPEAT_STEP: Final = 2.0
SPARED: Final = 2
# What a line without words counts less, such as a progress bar, unless a block needs it.
WORDLESS_STEP: Final = 8.0
# What a mark adds that says how a run differs from passing ones. A run that stopped early differs in hundreds of lines,
# which must not push out the few that look like a failure.
BONUS: Final[Mapping[Why, float]] = {"anomaly": 3.5, "rare": 2.5, "relevant": 2.5}
# What a line adds that no good run has: more than any score, so that such lines come before all others, and of those the
# first one of each kind.
NEW_BONUS: Final = 20.0
NEW_KIND_BONUS: Final = 20.0
# Far above any score, so that marks come first, in this order.
MARKED: Final[Mapping[Why, float]] = {"evidence": 300.0, "rule": 290.0, "procedure": 200.0}
# Lines beside a mark. Above what `auto` asks for, below the marks.
CONTEXT_LINES: Final = 2
CONTEXT_BONUS: Final = 2.0
# A single mark that stands in a large block, such as a table, does not bring all of it.
NEAR_MARK: Final = 12

Floats = NDArray[np.float32]


class Chosen(NamedTuple):
    """A line of the reduction."""

    source: str
    number: int
    why: Why
    repeats: int
    score: float
    """Its importance, in log-odds; more than 100 for marks."""


class Reduction(NamedTuple):
    """The chosen lines, most important first, and what a budget left out of what else would always be there."""

    lines: list[Chosen]
    pushed_out: int


def importance(log: LogLines, score: Floats, blocks: Blocks) -> Floats:
    """Scores with blocks and short gaps kept together, and lines without words and repeated blocks moved down."""
    if not len(score):
        return score
    score = score - np.where((log.identity == 0) & ~blocks.whole[blocks.of_line], np.float32(WORDLESS_STEP), np.float32(0))
    for lines, step in BRIDGES:
        score = _bridged(score, lines, step)
    best = np.maximum.reduceat(score, blocks.starts)
    lifted = np.maximum(score, np.where(blocks.whole, best - BLOCK_STEP, -np.inf)[blocks.of_line])
    return np.asarray(lifted - _repeat_steps(log, blocks)[blocks.of_line], dtype=np.float32)


def _bridged(score: Floats, lines: int, step: float) -> Floats:
    """Scores that rise where important lines are near on both sides, at most so many lines away."""
    padded = np.pad(score, lines, constant_values=-np.inf)
    count = len(score)
    before, after = np.full(count, -np.inf, dtype=np.float32), np.full(count, -np.inf, dtype=np.float32)
    for by in range(1, lines + 1):
        np.maximum(before, padded[lines - by : lines - by + count], out=before)
        np.maximum(after, padded[lines + by : lines + by + count], out=after)
    return np.maximum(score, np.minimum(before, after) - step)


def _repeat_steps(log: LogLines, blocks: Blocks) -> Floats:
    """What each block loses for equal ones before and behind it."""
    sums = np.add.reduceat(log.identity.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), blocks.starts)
    _, kind, counts = np.unique(sums, return_inverse=True, return_counts=True)
    order = np.argsort(kind, kind="stable")
    first = np.cumsum(counts) - counts
    place = np.empty(len(kind), dtype=np.int64)
    place[order] = np.arange(len(kind)) - first[kind[order]]
    repeated = (place >= SPARED) & (place < counts[kind] - 1)
    return np.where(repeated, REPEAT_STEP, 0.0).astype(np.float32)


class _Source(NamedTuple):
    log: ScoredLog
    blocks: Blocks
    importance: Floats
    why: dict[int, Mark]
    """By index of a line, its strongest mark."""
    repeats: NDArray[np.int32]
    """How many lines are like each line."""
    new: NDArray[np.bool_] | None


def select(
    logs: Mapping[str, ScoredLog],
    marks: Sequence[Mark],
    budget: Budget,
    new: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Reduction:
    """Chooses lines of all sources together.

    Args:
        logs: Of each source.
        marks: What other stages know; of several marks of one line the first one in the order of `Why` counts.
        budget: An explicit budget holds whatever is marked.
        new: By source, the lines that no good run has; they come before all others but the marked ones.
    """
    sources = {
        name: _marked(logs[name], [mark for mark in marks if mark.source == name], new[name] if new else None)
        for name in sorted(logs)
    }
    total = sum(len(source.importance) for source in sources.values())
    names = list(sources)
    values = np.concatenate([source.importance for source in sources.values()]) if total else np.empty(0, dtype=np.float32)
    source_of = np.repeat(np.arange(len(names)), [len(source.importance) for source in sources.values()])
    offsets = np.cumsum([0, *(len(source.importance) for source in sources.values())])
    always = sum(mark.why in ALWAYS for source in sources.values() for mark in source.why.values())
    most = budget.most_lines(total)
    best = _best(values, max(most, always) if budget.is_auto else most)
    if budget.is_auto:
        # A few lines are always worth the look, and a short log is shown as a whole.
        best = best[(np.arange(len(best)) < AUTO_LEAST) | (values[best] >= AUTO_SCORE)]
    chosen = [
        _chosen(names[source_of[i]], sources[names[source_of[i]]], int(i - offsets[source_of[i]])) for i in best.tolist()
    ]
    if budget.tokens is not None:
        chosen = _within_tokens(chosen, sources, budget.tokens)
    kept = sum(line.why in ALWAYS for line in chosen)
    return Reduction(chosen, always - kept)


def _best(values: Floats, count: int) -> NDArray[np.intp]:
    """Indexes of the highest values, the highest first; of equal ones the earlier line."""
    if count < len(values):
        limit = np.partition(values, len(values) - count)[len(values) - count] if count else np.inf
        above, equal = np.flatnonzero(values > limit), np.flatnonzero(values == limit)
        candidates = np.concatenate([above, equal[: count - len(above)]])
    else:
        candidates = np.arange(len(values))
    return np.asarray(candidates[np.lexsort((candidates, -values[candidates]))])


def _marked(log: ScoredLog, marks: Sequence[Mark], new: NDArray[np.bool_] | None) -> _Source:
    blocks = find_blocks(log.table)
    score = log.score.copy()
    why: dict[int, Mark] = {}
    order = {name: i for i, name in enumerate((*MARKED, *BONUS))}
    marks = sorted(marks, key=lambda mark: order[mark.why])
    places = np.searchsorted(log.number, np.array([mark.number for mark in marks], dtype=np.uint32)).tolist()
    for mark, at in zip(marks, places, strict=True):
        if at == len(log.number) or log.number[at] != mark.number:
            continue  # a line without text
        if at in why:
            if mark.repeats > why[at].repeats:
                why[at] = why[at]._replace(repeats=mark.repeats)
        else:
            why[at] = mark
            score[at] += BONUS.get(mark.why, 0.0)
    values = importance(log.table, score, blocks)
    if new is not None:
        values += _new_bonus(log.table, new)
    for place, (at, mark) in enumerate(why.items()):
        if mark.why in MARKED:
            _lift(values, blocks, at, MARKED[mark.why] - place * 0.01, beside=mark.why in ALWAYS)
    _, kind, counts = np.unique(log.table.identity, return_inverse=True, return_counts=True)
    return _Source(log, blocks, values, why, counts.astype(np.int32)[kind], new)


def _new_bonus(log: LogLines, new: NDArray[np.bool_]) -> Floats:
    places = np.flatnonzero(new)
    _, first = np.unique(log.identity[places], return_index=True)
    bonus = np.where(new, np.float32(NEW_BONUS), np.float32(0))
    bonus[places[first]] += NEW_KIND_BONUS
    return bonus


def _lift(values: Floats, blocks: Blocks, at: int, value: float, *, beside: bool) -> None:
    """Raises a marked line, its block, and perhaps the lines beside it."""
    if beside:
        near = slice(max(0, at - CONTEXT_LINES), at + CONTEXT_LINES + 1)
        values[near] = np.maximum(values[near], AUTO_SCORE + CONTEXT_BONUS)
    block = blocks.of_line[at]
    if blocks.whole[block] or blocks.starts[block] == at:
        inside = slice(max(blocks.starts[block], at - NEAR_MARK), min(blocks.ends[block], at + NEAR_MARK))
        values[inside] = np.maximum(values[inside], value - BLOCK_STEP)
    values[at] = max(values[at], value)


def _chosen(name: str, source: _Source, i: int) -> Chosen:
    mark = source.why.get(i)
    value, own = float(source.importance[i]), float(source.log.score[i])
    why: Why = "context" if value > own + BLOCK_STEP else "relevant"
    if source.new is not None and source.new[i]:
        why = "new"
    if mark and (mark.why in MARKED or why != "new"):
        why = mark.why
    return Chosen(name, int(source.log.number[i]), why, mark.repeats if mark else int(source.repeats[i]), value)


def _within_tokens(chosen: Sequence[Chosen], sources: Mapping[str, _Source], tokens: int) -> list[Chosen]:
    """The most important lines whose text stays within so many tokens; at least one line."""
    kept: list[Chosen] = []
    used = 0.0
    for line in chosen:
        log = sources[line.source].log
        used += tokens_of(int(log.size[np.searchsorted(log.number, line.number)]))
        if used > tokens and kept:
            break
        kept.append(line)
    return kept
