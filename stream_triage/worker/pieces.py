"""Text of a message in, pieces out, cut where lines start or end a run.

Boundaries come from the text of the messages, never from how it was packed into them: the same lines in other messages,
or the same messages read at another pace, give the same runs.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from stream_triage.stages.decode import AUTO, line_text, raw_lines

__all__ = ["Cutter", "Piece"]


class Piece(NamedTuple):
    """Text within one run."""

    text: bytes | None
    starts: bool
    """Its first line starts a run."""
    ends: bool
    """Its last line ends a run."""


class Cutter:
    """Cuts text in an encoding before lines that match `start_pattern` and after lines that match `end_pattern`."""

    def __init__(self, start_pattern: str | None = None, end_pattern: str | None = None, encoding: str = AUTO) -> None:
        self._encoding = encoding
        self._start = re.compile(start_pattern) if start_pattern else None
        self._end = re.compile(end_pattern) if end_pattern else None

    def pieces(self, text: bytes | None) -> list[Piece]:
        r"""The text in order, line ends included; one piece where no line is a boundary.

        >>> Cutter("^START").pieces(b"one\nSTART\ntwo\n")
        [Piece(text=b'one\n', starts=False, ends=False), Piece(text=b'START\ntwo\n', starts=True, ends=False)]
        """
        if text is None or not (self._start or self._end):
            return [Piece(text, False, False)]
        return list(self._cut(text))

    def _cut(self, text: bytes) -> Iterator[Piece]:
        lines: list[bytes] = []
        starts = False
        for line in raw_lines(text) or [b""]:  # an empty message is an empty line
            shown = line_text(line, self._encoding)
            if self._start and self._start.search(shown):
                if lines:
                    yield Piece(b"".join(lines), starts, False)
                lines, starts = [], True
            lines.append(line)
            if self._end and self._end.search(shown):
                yield Piece(b"".join(lines), starts, True)
                lines, starts = [], False
        if lines:
            yield Piece(b"".join(lines), starts, False)
