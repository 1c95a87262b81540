"""One file on disk in; the bytes that are new since the last read out, and whether those before are still the same.

A file is identified by device, inode and, where the system gives it, its birth time. What is read from it is one content:
if the file is truncated or overwritten, its content ends, and the next one is another `LogFile` for the same inode.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .file_status import Identity, Status, birth_time, status_of
from .fingerprint import BLOCK_BYTES, Content, Fingerprint

__all__ = ["LogFile"]

READ_BYTES = 1 << 20
# So many NUL bytes in a row are no text but a gap: what a crash leaves, or a part of the file that was not written yet. A
# few may belong to text: UTF-32 has up to five.
GAP_BYTES = 8
# How long a gap may stay before the text behind it is read. File servers write blocks out of order.
GAP_SECONDS = 3.0


class LogFile:
    """A file that is followed.

    Attributes:
        path: Where it is, or was last.
        base: The path that it had before rotation.
        identity: Of the file.
        generation: 1 for the first content that was seen of this file, 2 after it was truncated or overwritten, and so on.
        seen: What was read.
        gone: Whether it was renamed or deleted. A writer that has it open may go on for a while.
        deleted: Whether it has no name any more, or none that is followed.
        replaced: Why its content ended, "" while it has not.
        ended: Whether nothing more can come.
        resumed: Whether it was read before a restart.
        copy: The content of the copy that was found when this content had been replaced.
        successor: The next content of the same file, to be read when this one has ended.
        complete: Set by the caller when it expects nothing more. The file is then closed, and may be deleted unnoticed.
        grown_at: When bytes came last, in the seconds of the caller's clock.
        skipped: How many NUL bytes were skipped.
        failure: Why a copy could not be read to its end.
    """

    def __init__(self, path: Path, base: Path, identity: Identity, now: float, generation: int = 1) -> None:
        self.path, self.base, self.identity, self.generation = path, base, identity, generation
        self.seen = Fingerprint()
        self.gone = self.deleted = self.ended = self.resumed = False
        self.replaced = ""
        self.copy: Content | None = None
        self.successor: LogFile | None = None
        self.grown_at = now
        self.complete = False
        self.skipped = 0
        self.failure = ""
        self.status: Status | None = None  # at the last look
        self.descriptor: int | None = None
        self._checked: tuple[int, int] | None = None  # size and time when everything had been read
        self._rest: Iterator[bytes] | None = None  # of a copy
        self._watched: tuple[int, list[tuple[int, bytes]]] = (0, [])  # size and blocks at the last call of `watch`
        self._gap: tuple[int, int, float] | None = (
            None  # start and end of NUL bytes that may still be filled, and since when
        )

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode, which no other file has as long as this one exists."""
        return self.identity[:2]

    @property
    def held_gap(self) -> int:
        """How many NUL bytes there are behind what was read, which may still be filled."""
        return self._gap[1] - self._gap[0] if self._gap else 0

    def open(self) -> None:
        """Opens the file, so that it can be read to its end after it was deleted.

        Raises:
            OSError: It cannot be opened, or another file has its path now.
        """
        if self.descriptor is not None:
            return
        # Non-blocking: opening a named pipe would wait for its writer.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if status_of(descriptor)[:2] != self.key or birth_time(descriptor) != self.identity.birth:
            os.close(descriptor)
            raise FileNotFoundError(2, "another file has its name", str(self.path))
        self.descriptor = descriptor

    def release(self) -> None:
        """Closes the file. `read` opens it again."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None

    def resume(self, seen: Fingerprint, modified: int) -> None:
        """Continues after what was read before a restart, when the file had this modification time (0: not known).

        The file must be open.
        """
        self.seen, self.resumed = seen, True
        status = self._look()
        assert status is not None
        if self._has_seen(status, whole=False):
            self._checked = (seen.size, modified)

    def unread(self, status: Status | None = None) -> bool:
        """Whether there is something to read or to check. Takes one stat, unless the caller has made it just now."""
        if self.ended or self.replaced:
            return self._rest is not None
        status = status or self._look()
        if status is None:
            return False
        return self._checked != (status.size, status.modified) or (self._gap is not None and self._gap[1] < status.size)

    def read(self, now: float, patient: bool = True) -> tuple[int, bytes]:
        """The next bytes, up to 1 MiB, and their position in the file; no bytes if there are none, or none yet.

        If the position is not where the last read ended, NUL bytes were skipped between. If the content before was changed,
        `replaced` is set and nothing is returned.

        Args:
            now: The time, in seconds.
            patient: Whether to wait for gaps to be filled.

        Raises:
            OSError: The file cannot be read now.
        """
        if self._rest is not None:
            return self._read_rest(now)
        if self.replaced or self.ended or not self.unread():
            return self.seen.size, b""
        self.open()
        status = self._look()
        data = self._pread(READ_BYTES, self.seen.size)
        # After reading, not before: the file may be overwritten in between.
        if status is None or not self._has_seen(status, whole=not data):
            return self.seen.size, b""
        if not data:
            self._mark_checked(status)
            return self.seen.size, b""
        self._checked = None
        data = self._text(data, now, status, patient)
        position = self.seen.size
        if data:
            self.grown_at = now
            self.seen.add(data)
            if self.seen.size == status.size:
                self._mark_checked(status)
        return position, data

    def verify(self) -> bool:
        """Compares everything that was read with the file; returns false, and sets `replaced`, if it was changed.

        A file that is gone cannot be compared, and counts as unchanged.
        """
        if self.replaced or self.ended or self._rest is not None:
            return not self.replaced
        try:
            self.open()
        except OSError:
            return True
        status = self._look()
        return status is None or self._has_seen(status, whole=True)

    def again(self, start: int) -> Iterator[bytes]:
        """What was read from a position on, once more.

        Raises:
            OSError: The file is gone.
        """
        self.open()
        gaps = [(first, first + size) for first, size in self.seen.gaps if first >= start]
        for first, last in [*gaps, (self.seen.size, self.seen.size)]:
            while start < first and (data := self._pread(min(READ_BYTES, first - start), start)):
                start += len(data)
                yield data
            start = last

    def watch(self) -> bool:
        """Whether a file of which nothing was read yet still begins as it did at the last call."""
        if self.descriptor is None or self.replaced:
            return True
        size, blocks = self._watched
        now = status_of(self.descriptor).size
        same = now >= size and all(self._pread(BLOCK_BYTES, start).startswith(block) for start, block in blocks)
        starts = (self._gap[1] if self._gap else 0, max(0, now - BLOCK_BYTES))
        self._watched = (now, [(start, self._pread(BLOCK_BYTES, start)) for start in starts])
        return same

    def length_of_part(self, pieces: Iterable[bytes]) -> int | None:
        """The length of a text with which the file begins, before anything was read of it; None for other texts."""
        if self.descriptor is None:
            return None
        length = 0
        for piece in pieces:
            if self._pread(len(piece), length) != piece:
                return None
            length += len(piece)
        return length or None

    def check(self) -> None:
        """Compares the marked blocks, even if nothing shows that an open file has changed; may set `replaced`."""
        if self.replaced or self.ended or self._rest is not None or (self.descriptor is None and not self.unread()):
            return
        with contextlib.suppress(OSError):
            self.open()
            assert self.descriptor is not None
            self._has_seen(status_of(self.descriptor), whole=False)

    def has_filled_gap(self) -> bool:
        """Whether bytes came into a gap after it had been skipped. They are not read."""
        return bool(self.seen.gaps) and self.descriptor is not None and self.seen.has_filled_gap(self._pread)

    def continue_from(self, pieces: Iterator[bytes]) -> None:
        """Reads what is missing from a copy, then ends. What was read must have been found at the beginning of the copy."""
        self._rest = self._texts_beyond(pieces)

    def _texts_beyond(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        known = self.seen.size
        for piece in pieces:
            data = piece[known:]
            known -= len(piece) - len(data)
            while data:
                text, gap, behind = data.partition(bytes(GAP_BYTES))
                if text:
                    yield text
                data = behind.lstrip(b"\0")
                if gap:
                    self.skipped += len(gap + behind) - len(data)
                    self.seen.skip(len(gap + behind) - len(data))

    def _read_rest(self, now: float) -> tuple[int, bytes]:
        assert self._rest is not None
        try:
            for text in self._rest:
                position = self.seen.size
                self.seen.add(text)
                self.grown_at = now
                return position, text
        except (OSError, EOFError) as error:
            self.failure = str(error)
        self._rest, self.ended = None, True
        return self.seen.size, b""

    def _look(self) -> Status | None:
        """The present status; None if the file is gone and not open."""
        if self.descriptor is not None:
            self.status = status_of(self.descriptor)
            return self.status
        try:
            status = status_of(self.path)
            if status[:2] != self.key or (status != self.status and birth_time(self.path) != self.identity.birth):
                return None
        except (FileNotFoundError, NotADirectoryError):
            return None
        self.status = status
        return status

    def _mark_checked(self, status: Status) -> None:
        self._checked = (status.size, status.modified)

    def _has_seen(self, status: Status, whole: bool) -> bool:
        """Whether the file still begins with what was read; sets `replaced` if not."""
        if status.size < self.seen.size:
            self.replaced = "was truncated"
        elif not self.seen.is_in(self._pread) or (whole and not self.seen.is_whole_in(self._pread)):
            self.replaced = "was overwritten"
        return not self.replaced

    def _text(self, data: bytes, now: float, status: Status, patient: bool) -> bytes:
        """The text at the beginning of what was read. Skips NUL bytes, unless they are at the end or came just now."""
        start = self.seen.size
        text, separator, _ = data.partition(bytes(GAP_BYTES))
        if text or not separator:
            self._gap = None
            return text + bytes(-(start + len(text)) % 4) if separator and b"\0" in text[-8:] else text
        end, behind = self._end_of_gap(data, start, status.size)
        if self._gap is None or self._gap[:2] != (start, end):
            self._gap = (start, end, now)
        if end == status.size:
            self._mark_checked(status)
        if end == status.size or (patient and now - self._gap[2] < GAP_SECONDS):
            self.watch()
            return b""
        if b"\0" in behind[:8]:
            end -= end % 4  # UTF-16 or UTF-32, of which no character may be cut; so are the bytes before the gap
        self.skipped += end - start
        self.seen.skip(end - start)
        self._gap = None
        return self._text(self._pread(READ_BYTES, end), now, status, patient)

    def _end_of_gap(self, data: bytes, start: int, size: int) -> tuple[int, bytes]:
        """Where the NUL bytes end that the data begins with, and what is behind.

        A gap may be many gigabytes that take no space on disk.
        """
        assert self.descriptor is not None
        while data and not data.strip(b"\0"):
            start += len(data)
            if hasattr(os, "SEEK_DATA"):
                try:
                    start = os.lseek(self.descriptor, start, os.SEEK_DATA)
                except OSError:
                    return size, b""
            data = self._pread(READ_BYTES, start)
        behind = data.lstrip(b"\0")
        return start + len(data) - len(behind), behind

    def _pread(self, size: int, position: int) -> bytes:
        assert self.descriptor is not None
        return os.pread(self.descriptor, size, position)
