"""Text of a source in; how much of the text of a new numbering the source has already out.

A sender that has lost its state often reads the log again from its beginning, and cuts it into other messages. So lines are
compared, not messages: their digests in the order in which they were passed on.
"""

from array import array
from typing import NamedTuple

__all__ = ["NOTHING", "Known", "Reread", "SourceLines"]

# Lines of a source whose digests are kept, from the first one on; 8 bytes each.
MAX_LINES = 65_536


class Known(NamedTuple):
    """What is known of the text of one message: all of it, or so many bytes at its beginning."""

    all: bool
    bytes: int


NOTHING = Known(False, 0)


class SourceLines:
    """The first lines of one source, as digests. They are compared within one process only, so `hash` will do."""

    __slots__ = ("digests",)

    def __init__(self) -> None:
        self.digests = array("q")

    @property
    def full(self) -> bool:
        """Whether later lines of the source are not kept."""
        return len(self.digests) >= MAX_LINES

    def add(self, text: bytes) -> None:
        """Adds the whole lines of a message."""
        if not self.full:
            self.digests.extend(map(hash, _lines(text)[: MAX_LINES - len(self.digests)]))


class Reread:
    """Compares the text of a new numbering with the first lines of its source, until it differs or goes on after them."""

    __slots__ = ("_at", "_lines", "_until", "differs", "over")

    def __init__(self, lines: SourceLines) -> None:
        self._lines = lines
        self._until = len(lines.digests)
        self._at = 0
        self.over = not self._until
        """Nothing more is compared."""
        self.differs = False
        """The first lines came again, and then others than the first time. Some may have come twice."""

    def known(self, text: bytes) -> Known:
        """How much of the next message the source has. A message that differs somewhere counts as unknown as a whole."""
        if self.over:
            return NOTHING
        at, size = self._at, 0
        for line in _lines(text):
            if at == self._until:  # the log goes on where it had ended; unless the lines after that were not kept
                self.over, self.differs = True, self._lines.full
                return Known(False, size)
            if hash(line) != self._lines.digests[at]:
                self.over, self.differs = True, at > 0
                return NOTHING
            at, size = at + 1, size + len(line) + 1
        self._at = at
        return Known(True, len(text))


def _lines(text: bytes) -> list[bytes]:
    """Cut at the byte of a line end in any encoding, as senders cut; the last line may lack it."""
    lines = text.split(b"\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines
