"""The lines of a log in, how relevant each of them is out: word weights, then boosted trees on what stands around.

All is plain arrays of a bundle, `relevance.json` and `relevance.npz`. A log is read once, in order, and judged at its end,
since a line's relevance depends on where the log ends and on how often such a line occurs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_triage.errors import BundleError
from stream_triage.escapes import without_escapes
from stream_triage.stages.reduce.context import FEATURES, features
from stream_triage.stages.reduce.lines import BUCKETS, COLUMNS, LineTable, LogLines, read_lines

__all__ = ["ARRAYS", "PROFILE", "LogReader", "Relevance", "RelevanceProfile", "ScoredLog", "Trees"]

PROFILE: Final = "relevance.json"
ARRAYS: Final = "relevance.npz"
# Rows that descend the trees together: few, so that their conditions stay in the processor's cache.
ROWS: Final = 128
_GAP: Final = COLUMNS.index("gap")
_LARGEST_GAP: Final = 3


class RelevanceProfile(BaseModel):
    """`relevance.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...] = Field(description="what is read from a line, in the order of the arrays")
    features: tuple[str, ...] = Field(description="the features of the trees, in the order of the arrays")
    bias: float = Field(description="log-odds of a line without words")


class Trees:
    """T trees of equal depth D, complete: `feature` and `threshold` of shape (T, 2**D - 1), `value` of shape (T, 2**D).

    A row goes left if its feature is at most the threshold, as in scikit-learn.
    """

    def __init__(self, feature: NDArray[np.int16], threshold: NDArray[np.float32], value: NDArray[np.float32]) -> None:
        self._value = value
        self._depth = int(value.shape[1]).bit_length() - 1 if value.ndim == 2 else 0
        shape = (len(value), (1 << self._depth) - 1)
        if value.shape != (len(value), 1 << self._depth) or feature.shape != shape or threshold.shape != shape:
            raise BundleError(f"the trees of {ARRAYS} contradict each other; rebuild the bundle")
        if feature.size and not 0 <= int(feature.min()) <= int(feature.max()) < len(FEATURES):
            raise BundleError(f"the trees of {ARRAYS} name features that do not exist; rebuild the bundle")
        # A node of all trees after the other, so that the nodes of a level are in one piece.
        self._feature = np.ascontiguousarray(feature.T.astype(np.intp))
        self._threshold = np.ascontiguousarray(threshold.T)[..., np.newaxis]
        self._first_leaf = np.arange(len(value), dtype=np.int32)[:, np.newaxis] << self._depth

    def scores(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sum of all trees for each row; `table` has the shape (N, len(FEATURES)).

        All conditions of all trees are computed first, though a row needs few of them: comparing whole rows of numbers is
        several times as fast as picking single ones.
        """
        result = np.zeros(len(table), dtype=np.float32)
        for start in range(0, len(table) if len(self._value) else 0, ROWS):
            columns = np.ascontiguousarray(table[start : start + ROWS].T)
            right = columns[self._feature] > self._threshold
            leaf = self._first_leaf
            turns: list[NDArray[np.bool_]] = []
            for depth in range(self._depth):
                level = right[(1 << depth) - 1 : (2 << depth) - 1]
                for turn in turns:  # of the nodes of the level, the half that is below the turn
                    left_half, right_half = np.split(level, 2)
                    level = left_half ^ ((left_half ^ right_half) & turn)
                turns.append(level[0])
                leaf = leaf + (level[0].astype(np.int32) << (self._depth - 1 - depth))
            result[start : start + ROWS] = self._value.take(leaf).sum(axis=0)
        return result


class ScoredLog(NamedTuple):
    """The lines of a log that have text, in order, and how relevant they are."""

    number: NDArray[np.uint32]
    """Line number of each, from 1."""
    score: NDArray[np.float32]
    """Log-odds that a reader needs the line."""
    size: NDArray[np.uint16]
    """Characters of each, at most 65,535."""
    table: LogLines
    lines: int
    """Number of all lines, those without text included."""


class Relevance:
    """Weights of words and trees, ready to judge logs.

    Raises:
        BundleError: The arrays are incomplete or were made for other features.
    """

    def __init__(self, profile: RelevanceProfile, arrays: Mapping[str, NDArray[Any]]) -> None:
        if profile.columns != COLUMNS or profile.features != FEATURES:
            raise BundleError(f"{PROFILE} of this bundle was made for other features; rebuild the bundle")
        try:
            self.words = arrays["words"].astype(np.float32)
            self.trees = Trees(
                arrays["feature"].astype(np.int16),
                arrays["threshold"].astype(np.float32),
                arrays["value"].astype(np.float32),
            )
        except (KeyError, ValueError) as error:
            raise BundleError(f"{ARRAYS} of this bundle is incomplete ({error}); rebuild the bundle") from None
        if self.words.shape != (BUCKETS,):
            raise BundleError(f"{ARRAYS} of this bundle has {self.words.shape} words; rebuild the bundle")
        self.profile = profile

    @classmethod
    def from_files(cls, profile: Any, arrays: Mapping[str, NDArray[Any]]) -> "Relevance":
        """From `relevance.json` and `relevance.npz` of a bundle."""
        try:
            return cls(RelevanceProfile.model_validate(profile), arrays)
        except ValidationError as error:
            raise BundleError(
                f"{PROFILE} of this bundle has {error.error_count()} invalid field(s); rebuild the bundle"
            ) from None

    def reader(self) -> "LogReader":
        """What reads the lines of one log."""
        return LogReader(self)

    def scores(self, log: LogLines) -> NDArray[np.float32]:
        """The score of each line of a log."""
        scores = np.empty(len(log.words), dtype=np.float32)
        for start, table in features(log):
            scores[start : start + len(table)] = self.trees.scores(table)
        return scores


class LogReader:
    """Takes the lines of one log, in order; keeps about 50 bytes for each line with text, and none of the text."""

    def __init__(self, relevance: Relevance) -> None:
        self._relevance = relevance
        self._lines = 0
        self._gap = 0
        self._numbers: list[NDArray[np.uint32]] = []
        self._sizes: list[NDArray[np.uint16]] = []
        self._columns: tuple[list[NDArray[Any]], ...] = ([], [], [])
        """Of `LogLines`."""

    def add(self, lines: Sequence[str]) -> None:
        """Takes the next lines."""
        shown = [without_escapes(line) if "\x1b" in line else line for line in lines]
        kept = [i for i, line in enumerate(shown) if line and not line.isspace()]
        if kept:
            table = read_lines([shown[i] for i in kept])
            at = np.array(kept)
            gaps = np.diff(at, prepend=-1 - self._gap) - 1
            table.numbers[:, _GAP] = np.minimum(gaps, _LARGEST_GAP)
            self._append(log_lines(table, self._relevance.words, self._relevance.profile.bias))
            self._sizes.append(np.array([min(len(shown[i]), 65_535) for i in kept], dtype=np.uint16))
            self._numbers.append((at + self._lines + 1).astype(np.uint32))
            self._gap = len(lines) - 1 - kept[-1]
        else:
            self._gap += len(lines)
        self._lines += len(lines)

    def finish(self) -> ScoredLog:
        """Judges all lines. The reader is empty then."""
        if not self._numbers:
            self._append(log_lines(read_lines([]), self._relevance.words, 0.0))
            self._numbers.append(np.empty(0, dtype=np.uint32))
            self._sizes.append(np.empty(0, dtype=np.uint16))
        log = LogLines(*map(_taken, self._columns))
        return ScoredLog(_taken(self._numbers), self._relevance.scores(log), _taken(self._sizes), log, self._lines)

    def _append(self, part: LogLines) -> None:
        numbers, words, identity = self._columns
        numbers.append(part.numbers)
        words.append(part.words)
        identity.append(part.identity)


def _taken(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """The parts as one array; the list is emptied, so that a long log is not in memory twice."""
    whole = np.concatenate(parts)
    parts.clear()
    return whole


def log_lines(table: LineTable, words: NDArray[np.float32], bias: float) -> LogLines:
    """Lines with the weights of their words added up."""
    sums = np.bincount(table.bucket_line, words[table.buckets], minlength=len(table.numbers))
    return LogLines(table.numbers, (sums + bias).astype(np.float32), table.identity)
