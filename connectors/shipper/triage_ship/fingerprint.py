"""What was read of a file in; whether the file still begins with it out.

Only checksums are kept, so that the state is small and can be stored: the CRC-32 of everything that was read, and marks
at some positions. A mark has the CRC-32 of everything before it and that of the block just before it. Blocks are compared
whenever a file has grown, which costs a few reads of 256 bytes; the whole is compared when a file must not have changed.
"""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["BLOCK_BYTES", "PACKED", "Content", "Fingerprint", "Mark", "pieces_of"]

BLOCK_BYTES = 256
PIECE_BYTES = 1 << 20
_MOST_MARKS = 8
_MOST_GAPS = 16
PACKED: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
"""How the compressed files are opened that the standard library can read, by suffix."""


class Mark(NamedTuple):
    """A position, the CRC-32 of all bytes before it, and the CRC-32 of the (up to) 256 bytes before it."""

    position: int
    before: int
    block: int


class Content(NamedTuple):
    """Length and CRC-32 of a text that was read."""

    size: int
    checksum: int


class Fingerprint:
    """Grows with what is read.

    Attributes:
        size: How many bytes were read or skipped.
        checksum: Their CRC-32; None if it is not known, in a state that an older version stored.
        head: The first bytes, up to 256; shorter if they are not known.
        gaps: Start and length of NUL bytes that were skipped, the last ones.
    """

    def __init__(self) -> None:
        self.size = 0
        self.checksum: int | None = 0
        self.head = b""
        self.gaps: list[tuple[int, int]] = []
        self._marks: list[Mark] = []
        self._tail = b""

    def add(self, data: bytes) -> None:
        """Adds bytes that were read."""
        if self.size < BLOCK_BYTES < self.size + len(data):  # the first mark is at the end of the first block
            first = BLOCK_BYTES - self.size
            self._extend(data[:first])
            data = data[first:]
        if data:
            self._extend(data)

    def skip(self, size: int) -> None:
        """Adds a gap of NUL bytes."""
        self.gaps = [*self.gaps, (self.size, size)][-_MOST_GAPS:]
        for start in range(0, size, PIECE_BYTES):
            self.add(bytes(min(PIECE_BYTES, size - start)))

    def _extend(self, data: bytes) -> None:
        if self.size == len(self.head) < BLOCK_BYTES:
            self.head += data[: BLOCK_BYTES - len(self.head)]
        self.size += len(data)
        if self.checksum is None:
            return
        self.checksum = zlib.crc32(data, self.checksum)
        self._tail = (self._tail + data[-BLOCK_BYTES:])[-BLOCK_BYTES:]
        if self._marks and self.size <= BLOCK_BYTES:
            self._marks.pop()  # the first block is still growing
        self._marks.append(Mark(self.size, self.checksum, zlib.crc32(self._tail)))
        if len(self._marks) > _MOST_MARKS:
            self._drop_mark()

    def _drop_mark(self) -> None:
        """Drops the mark whose neighbours are closest, so that marks stay spread over the file; not the first or last."""
        marks = self._marks
        index = min(range(1, len(marks) - 1), key=lambda each: marks[each + 1].position - marks[each - 1].position)
        del marks[index]

    @property
    def content(self) -> Content | None:
        """What was read; None if nothing was."""
        return Content(self.size, self.checksum) if self.size and self.checksum is not None else None

    def copy(self) -> "Fingerprint":
        """A fingerprint that grows on its own."""
        other = Fingerprint()
        other.__dict__.update(self.__dict__)
        other.gaps, other._marks = list(self.gaps), list(self._marks)
        return other

    def state(self) -> dict[str, Any]:
        """All of it as JSON, but for the blocks, which are read from the file again."""
        state: dict[str, Any] = {"offset": self.size, "crc": self.checksum, "marks": [list(mark) for mark in self._marks]}
        return state | ({"gaps": [list(gap) for gap in self.gaps]} if self.gaps else {})

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "Fingerprint":
        """What `state` returned, or a position of triage-ship before it had checksums of the whole."""
        fingerprint = cls()
        fingerprint.size = state["offset"]
        fingerprint.gaps = [(start, size) for start, size in state.get("gaps", ())]
        if "crc" in state:
            fingerprint.checksum = state["crc"]
            fingerprint._marks = [Mark(*mark) for mark in state["marks"]]
        elif fingerprint.size:
            length, checksum = state["head"]
            fingerprint.checksum = None
            fingerprint._marks = [Mark(length, checksum, checksum)] if length else []
        return fingerprint

    def is_in(self, read: Callable[[int, int], bytes]) -> bool:
        """Whether the marked blocks are the same in a file, of which `read(size, position)` returns bytes.

        Must have returned true after `of_state` before more is added.
        """
        block = b""
        for mark in self._marks:
            start = max(0, mark.position - BLOCK_BYTES)
            block = self._with_gaps(read(mark.position - start, start), start)
            if len(block) < mark.position - start or zlib.crc32(block) != mark.block:
                return False
            if not start or mark.position == BLOCK_BYTES:
                self.head = block
        if self.checksum is None:
            return self._complete(read)
        self._tail = block
        return True

    def is_whole_in(self, read: Callable[[int, int], bytes]) -> bool:
        """Whether a file begins with everything that was read. Reads all of it."""
        return self.checksum is None or self._checksum(read) == self.checksum

    def has_filled_gap(self, read: Callable[[int, int], bytes]) -> bool:
        """Whether bytes were written into a gap after it had been skipped."""
        return any(read(min(size, PIECE_BYTES), start).strip(b"\0") for start, size in self.gaps)

    def length_of_copy(self, pieces: Iterable[bytes]) -> int | None:
        """The length of a text that begins with what was read, or with which what was read begins; None for other texts.

        Of a text that is shorter than what was read, only the part up to the last mark in it is known to be equal.
        """
        if not self.size or self.checksum is None:
            return None
        stops = [(mark.position, mark.before) for mark in self._marks] + [(self.size, self.checksum)]
        length = checksum = 0
        head, marked = b"", False
        for piece in pieces:
            head += piece[: BLOCK_BYTES - len(head)]
            start = 0
            while stops and stops[0][0] <= length + len(piece):
                position, expected = stops.pop(0)
                checksum = zlib.crc32(piece[start : position - length], checksum)
                start = position - length
                if checksum != expected:
                    return None
                marked = marked or not self._is_in_gap(position)
            checksum = zlib.crc32(piece[start:], checksum)
            length += len(piece)
        shared = min(len(head), len(self.head))
        alike = head[:shared] == self.head[:shared]
        return length if alike and (marked or head[:shared].strip(b"\0")) else None

    def _is_in_gap(self, position: int) -> bool:
        """Whether the block before a position is a part of a gap, so that it is equal in many files."""
        return any(start <= max(0, position - BLOCK_BYTES) and position <= start + size for start, size in self.gaps)

    def _complete(self, read: Callable[[int, int], bytes]) -> bool:
        """Computes the checksums that an older version did not store."""
        size, gaps = self.size, self.gaps
        fresh = Fingerprint()
        while fresh.size < size:
            data = read(min(PIECE_BYTES, size - fresh.size), fresh.size)
            if not data:
                return False
            fresh.add(data)
        self.__dict__.update(fresh.__dict__, gaps=gaps)
        return True

    def _checksum(self, read: Callable[[int, int], bytes]) -> int:
        """The CRC-32 of the first `size` bytes of a file, or of all bytes if there are fewer."""
        checksum = position = 0
        while position < self.size and (data := read(min(PIECE_BYTES, self.size - position), position)):
            checksum = zlib.crc32(self._with_gaps(data, position), checksum)
            position += len(data)
        return checksum if position == self.size else -1

    def _with_gaps(self, data: bytes, position: int) -> bytes:
        """The bytes as they were read: gaps that were filled since then are NULs."""
        for start, size in self.gaps:
            first, last = max(start, position), min(start + size, position + len(data))
            if first < last:
                data = data[: first - position] + bytes(last - first) + data[last - position :]
        return data


def pieces_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file, decompressed if its name says that it is compressed.

    Raises:
        EOFError: It is compressed and ends early: it may still be written.
        OSError: It cannot be read, or is not what its name says.
    """
    try:
        with PACKED.get(path.suffix.lower(), open)(os.fspath(path), "rb") as file:
            while piece := file.read1(PIECE_BYTES):  # `read` returns nothing of what comes before damage
                yield piece
    except (zlib.error, lzma.LZMAError) as error:
        raise OSError(f"{path} is damaged: {error}") from error
