"""Scored lines in, blocks out: lines that are read together, such as a stack trace or a diagnostic with its source code.

A block is its first line and what goes on from it: indented lines, stack frames, lines that point with `^`. Behind the
frames of a Python traceback the line with the error belongs to it, too.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.reduce.context import LogLines
from stream_triage.stages.reduce.lines import COLUMNS

__all__ = ["Blocks", "find_blocks"]

# A longer block is divided: the whole of an indented dump says no more than its beginning.
LONGEST: Final = 60
_GAP, _INDENT, _FRAME, _CARET, _TRACE, _FAIL = (
    COLUMNS.index(name) for name in ("gap", "indent", "frame", "only_caret", "trace", "fail")
)


class Blocks(NamedTuple):
    """Of N lines: the number of the block of each, ascending from 0, and which blocks are to stay whole."""

    of_line: NDArray[np.intp]
    starts: NDArray[np.intp]
    whole: NDArray[np.bool_]
    """Whether each block has a stack frame or points at source code, or begins with a failure."""

    @property
    def ends(self) -> NDArray[np.intp]:
        """One past the last line of each block."""
        return np.append(self.starts[1:], len(self.of_line))


def find_blocks(log: LogLines) -> Blocks:
    """The blocks of a log."""
    numbers = log.numbers
    count = len(numbers)
    near = numbers[:, _GAP] == 0
    indented = numbers[:, _INDENT] > 0
    frame = numbers[:, _FRAME] > 0
    points = numbers[:, _CARET] > 0
    goes_on = near & (indented | frame | points)
    if count:
        goes_on[0] = False
    # GCC and javac print the line of source code with the indentation that it has, which may be none.
    goes_on[:-1] |= near[:-1] & points[1:]
    if count:
        goes_on[0] = False
    # The error that ends a traceback: the first line that is not indented, behind frames below `Traceback (most recent ...`.
    heads = np.flatnonzero(~goes_on)
    if len(heads) > 1:
        traceback = (numbers[heads[:-1], _TRACE] >= 3) & (np.diff(heads) > 1) & near[heads[1:]]
        goes_on[heads[1:][traceback]] = True
    starts = np.flatnonzero(~goes_on)
    of_line = np.cumsum(~goes_on) - 1
    inside = np.arange(count) - starts[of_line] if count else np.empty(0, dtype=np.intp)
    begins = ~goes_on | (inside % LONGEST == 0)
    starts = np.flatnonzero(begins)
    of_line = np.cumsum(begins) - 1
    if not count:
        return Blocks(of_line, starts, np.empty(0, dtype=bool))
    telling = (frame & goes_on) | points
    whole = np.logical_or.reduceat(telling, starts)
    lengths = np.diff(starts, append=count)
    whole |= (numbers[starts, _FAIL] > 0) & (lengths > 1) & (lengths <= LONGEST // 3)
    return Blocks(of_line, starts, whole & (lengths > 1))
