"""Lines of a log in, blocks out: lines that are read together, such as a stack trace or a diagnostic with its source code.

Nothing here knows a tool. A block goes on by its form: indentation, a gutter, carets, a line that ends with a colon and
announces the next one, function names in turn with places in source files.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.reduce.lines import COLUMNS, LogLines

__all__ = ["Blocks", "find_blocks"]

# A longer block is divided: the whole of an indented dump says no more than its beginning.
LONGEST: Final = 60
_AT: Final = {name: i for i, name in enumerate(COLUMNS)}

Flags = NDArray[np.bool_]


class Blocks(NamedTuple):
    """Of N lines: the number of the block of each, ascending from 0, and which blocks are to stay whole."""

    of_line: NDArray[np.int32]
    starts: NDArray[np.intp]
    whole: Flags
    """Whether each block has a stack frame or points at source code, or begins with a failure."""

    @property
    def ends(self) -> NDArray[np.intp]:
        """One past the last line of each block."""
        return np.append(self.starts[1:], len(self.of_line))


def find_blocks(log: LogLines) -> Blocks:
    """The blocks of a log."""
    count = len(log.numbers)
    if not count:
        return Blocks(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.intp), np.empty(0, dtype=bool))
    lines = _Lines(log.numbers)
    goes_on = lines.in_one_piece()
    goes_on |= lines.introduced(goes_on)
    goes_on[0] = False
    goes_on |= lines.ends_traceback(goes_on)
    starts = np.flatnonzero(~goes_on)
    places = np.arange(count, dtype=np.int32)
    inside = places - starts.astype(np.int32)[np.cumsum(~goes_on, dtype=np.int32) - 1]
    begins = ~goes_on | (inside % LONGEST == 0)
    starts = np.flatnonzero(begins)
    of_line = np.cumsum(begins, dtype=np.int32) - 1
    lengths = np.diff(starts, append=count)
    whole = np.logical_or.reduceat(lines.telling & goes_on | lines.points, starts)
    whole |= lines.fail[starts] & (lengths <= LONGEST // 3)
    return Blocks(of_line, starts, whole & (lengths > 1))


def _before(flags: Flags, by: int = 1) -> Flags:
    """What the line `by` lines before each line has."""
    return np.concatenate([np.zeros(by, dtype=bool), flags[:-by]]) if by < len(flags) else np.zeros_like(flags)


def _after(flags: Flags, by: int = 1) -> Flags:
    """What the line `by` lines behind each line has."""
    return np.concatenate([flags[by:], np.zeros(by, dtype=bool)]) if by < len(flags) else np.zeros_like(flags)


class _Lines:
    """What the lines look like, each as an array of flags."""

    def __init__(self, numbers: NDArray[np.uint8]) -> None:
        def has(name: str, least: int = 1) -> Flags:
            return np.asarray(numbers[:, _AT[name]] >= least)

        self.near = ~has("gap")
        """No blank line before it."""
        self.close = ~has("gap", 2)
        """At most one."""
        # One blank only aligns numbers, unless the line before it is hardly indented either.
        slightly = has("indent") & _before(has("indent") & ~has("indent", 4))
        self.indented = has("indent", 2) | slightly | has("marker")
        self.frame = has("frame")
        self.points = has("only_caret")
        self.opens = has("opens")
        self.title = has("title")
        self.fail = has("fail")
        self.trace = has("trace")
        self.traceback = has("trace", 3) & _after(has("frame"))
        self.place = has("place")
        self.location = self.indented & self.place
        """A place in a source file below the name of a function, as Go and Rust write frames."""
        self.says = self.fail | has("assert")
        self.telling = self.frame | self.location | (has("marker") & self.says)

    def in_one_piece(self) -> Flags:
        """Lines that continue the line before them by their form alone."""
        inner = self.indented | self.frame | self.points
        goes_on = self.near & inner
        # A blank line within indented text. What follows it is part of the same text if that goes on with the indentation.
        goes_on |= self.close & self.indented & _before(self.indented)
        # GCC and javac print the line of source code with the indentation that it has, which may be none.
        goes_on |= self.near & _after(self.points & self.near)
        # A note of a compiler about the code that it has just shown, and the place below the code of a failed test.
        shown = self.points | self.frame | (self.indented & self.says)
        goes_on |= self.close & self.place & _before(shown)
        # Between two frames, whatever it is: the function of the next one, or the title of an inner trace.
        framed = self.frame | self.location
        goes_on |= self.near & _before(framed) & _after(framed & self.near)
        return goes_on

    def introduced(self, goes_on: Flags) -> Flags:
        """Lines that the line before announces: by a colon, a title, or a failure before its trace."""
        tells = self.trace | self.fail
        found = self.near & _before(self.opens)
        found |= self.close & _before(self.opens & tells)
        found |= self.close & _before(self.title)
        # What was expected, between the place of a failure and the values.
        found |= self.near & _before(self.place & self.fail) & _after(self.indented & self.near)
        # `goroutine 7 [running]:` and `Call Stack (most recent call first):` belong to what failed above them.
        within = goes_on | found
        begins_trace = self.opens & _after(within & self.near) & (_after(self.frame | self.place) | _after(self.place, 2))
        starts = np.flatnonzero(~within | (np.arange(len(within)) == 0))
        failed = np.logical_or.reduceat(self.fail | self.frame | self.location, starts)
        found |= self.close & begins_trace & _before(np.repeat(failed, np.diff(starts, append=len(within))))
        # Two lines that say what failed, the second one before its trace; and one more above them.
        for _ in range(2):
            found |= self.near & self.fail & _before(self.fail) & _after((goes_on | found) & self.near)
        return found

    def ends_traceback(self, goes_on: Flags) -> Flags:
        """The error that ends a Python traceback: the first line that is not indented below its frames."""
        heads = np.flatnonzero(~goes_on)
        found = np.zeros_like(goes_on)
        traced = np.maximum.accumulate(np.where(self.traceback, np.arange(len(goes_on), dtype=np.int32), np.int32(-1)))
        ends = heads[1:][(traced[heads[1:] - 1] >= heads[:-1]) & (np.diff(heads) > 1) & self.near[heads[1:]]]
        found[ends] = True
        # Another exception may be announced below.
        more = ends[ends < len(goes_on) - 1] + 1
        found[more[self.close[more] & self.opens[more] & self.fail[more]]] = True
        return found
