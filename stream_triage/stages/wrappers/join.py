"""Lines without their wrappers in, in order; the same with partial lines joined out.

Container runtimes cut long lines, and GitLab splits what a program flushes in pieces. The joined text takes the place of
the physical line that begins it; the lines that continue it stay as lines without text, so line numbers do not change.
"""

from dataclasses import dataclass
from typing import Final

from stream_triage.stages.wrappers.layout import Unwrapped

__all__ = ["Joiner"]

# A line that is not complete after so many lines or characters goes on as it is.
MOST_WAITING: Final = 256
MOST_CHARACTERS: Final = 65_536


@dataclass(slots=True)
class _Waiting:
    line: Unwrapped
    open: bool
    """The next line of the stream continues this one."""
    may_go_on: bool
    """The next line of the stream continues this one if it says so."""


class Joiner:
    """Of one service. With `look_ahead`, each line waits for the next one, which may continue it."""

    def __init__(self, *, look_ahead: bool) -> None:
        self._look_ahead = look_ahead
        self._waiting: list[_Waiting] = []
        self._characters = 0

    def add(self, line: Unwrapped) -> list[Unwrapped]:
        """Takes the next line; returns the lines that are complete now."""
        part = line.split
        beginning = next((w for w in reversed(self._waiting) if w.line.split.stream == part.stream and _unfinished(w)), None)
        if beginning is not None and (beginning.open or part.more):
            joined = beginning.line.split
            beginning.line = beginning.line._replace(split=joined._replace(body=joined.body + part.body))
            beginning.open = part.open
            line = line._replace(split=part._replace(body=""), stamp=False)
            self._waiting.append(_Waiting(line, open=False, may_go_on=False))
        else:
            if beginning is not None:
                beginning.may_go_on = False
            self._waiting.append(_Waiting(line, part.open, self._look_ahead))
        self._characters += len(part.body)
        if len(self._waiting) > MOST_WAITING or self._characters > MOST_CHARACTERS:
            return self.finish()
        return self._complete()

    def finish(self) -> list[Unwrapped]:
        """The lines that still wait, complete or not."""
        lines = [waiting.line for waiting in self._waiting]
        self._waiting, self._characters = [], 0
        return lines

    def _complete(self) -> list[Unwrapped]:
        count = next((i for i, waiting in enumerate(self._waiting) if _unfinished(waiting)), len(self._waiting))
        lines = [waiting.line for waiting in self._waiting[:count]]
        del self._waiting[:count]
        self._characters = sum(len(waiting.line.split.body) for waiting in self._waiting)
        return lines


def _unfinished(waiting: _Waiting) -> bool:
    return waiting.open or waiting.may_go_on
