"""Text of a source in; how much of the text of a new numbering the source has already out.

A sender that has lost its state often reads the log again from its beginning, and cuts it into other messages. So lines are
compared, not messages: their digests in the order in which they were passed on.
"""

from array import array
from itertools import islice
from typing import NamedTuple

__all__ = ["NOTHING", "Known", "Reread", "SourceLines"]

# Lines of a source whose digests are kept, from the first one on; 8 bytes each.
MAX_LINES = 65_536
# Different lines that the end of a source and the beginning of a new numbering must have in common before they count as the
# same text. Logs repeat single lines by themselves.
OVERLAP_LINES = 3
# Lines of a source that are tried as the first line of an overlap, from the last one on.
MAX_MATCHES = 64


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

    __slots__ = ("_at", "_lines", "_matches", "_overlap", "_until", "differs", "over")

    def __init__(self, lines: SourceLines, *, overlaps: bool = True) -> None:
        """`overlaps`: whether an overlap is looked for, which takes some milliseconds."""
        self._lines = lines
        self._until = len(lines.digests)
        self._at = 0
        self._matches: list[int] | None = None if overlaps else []
        """Where the last line of an overlap may be in the text of the source; None before its first line."""
        self._overlap: set[int] = set()
        """Digests of the lines of the overlap."""
        self.over = not self._until
        """Nothing more is dropped."""
        self.differs = False
        """Some lines may have come twice: the text has lines of its source, but is not all of them in their order."""

    def known(self, text: bytes) -> Known:
        """How much of the next message the source has. A message that differs somewhere counts as unknown as a whole."""
        if self.over:
            self._look_for_overlap(text)
            return NOTHING
        at, size = self._at, 0
        for line in _lines(text):
            if at == self._until:  # the log goes on where it had ended; unless the lines after that were not kept
                self.over, self.differs, self._matches = True, self._lines.full, []
                return Known(False, size)
            if hash(line) != self._lines.digests[at]:
                self.over = True
                self.differs = at > 0 or self._lines.full  # the last lines cannot be compared if they were not kept
                self._look_for_overlap(text)
                return NOTHING
            at, size = at + 1, size + len(line) + 1
        self._at = at
        return Known(True, len(text))

    def _look_for_overlap(self, text: bytes) -> None:
        """Notices a sender that goes on some lines before the one where it had stopped.

        Its text begins with the last lines of the source. They are not dropped, since a log may repeat lines by itself.
        """
        if self.differs or self._matches == []:
            return
        digests, last = self._lines.digests, self._until - 1
        for digest in map(hash, _lines(text)):
            if self._matches is None:
                found = (at for at in range(last, -1, -1) if digests[at] == digest)
                self._matches = list(islice(found, MAX_MATCHES))
            else:
                self._matches = [at + 1 for at in self._matches if at < last and digests[at + 1] == digest]
            if not self._matches:
                return
            self._overlap.add(digest)
            if last in self._matches and len(self._overlap) >= OVERLAP_LINES:
                self.differs, self._matches = True, []
                return


def _lines(text: bytes) -> list[bytes]:
    """Cut at the byte of a line end in any encoding, as senders cut; the last line may lack it."""
    lines = text.split(b"\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    return lines
