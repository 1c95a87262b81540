"""Chunks on disk between reading and sending: what is cut once is sent so, after whatever crash, until the broker has it.

A spool is a folder of segments, `00000001.spool` and so on. A segment begins with a snapshot of all that reading needs to
go on (positions of files, numbers of the next chunks); then come records, each with checksums of its head and of its text.
What a record says of its file and number goes on from the snapshot, so reading needs no other memory. `acknowledged` names
the place up to which the broker has everything; segments before it are removed.
"""

import contextlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from triage_ship.errors import ShipError

__all__ = ["Place", "Record", "Spool"]

SEGMENT_BYTES = 16 << 20
MARK = b"\xf5shp"
# Mark, lengths and checksums of head and text.
_FRAME = struct.Struct("<4sIIII")


class Place(NamedTuple):
    """Behind a record."""

    segment: int
    offset: int


class Record(NamedTuple):
    """`head` is plain JSON, `checksum` that of the text as it was written (CRC-32)."""

    head: dict[str, Any]
    text: bytes
    end: Place
    checksum: int

    @property
    def damaged(self) -> bool:
        return zlib.crc32(self.text) != self.checksum


class Spool:
    """One writer, one reader, in one process. `on_trouble` is told of damage."""

    def __init__(self, folder: Path, on_trouble: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_trouble = on_trouble
        self._writing: Any | None = None
        self._reading: Any | None = None
        self.bytes = sum(path.stat().st_size for path in self._segments())
        numbers = [int(path.stem) for path in self._segments()]
        self._number = numbers[-1] if numbers else 0
        self.synced = Place(self._number, 0)
        self.acknowledged = self._read_acknowledged(numbers[0] if numbers else 1)
        self._next = self.acknowledged

    def recover(self, apply: Callable[[dict[str, Any]], None], restore: Callable[[dict[str, Any]], None]) -> None:
        """Brings reading to where it stopped: the newest snapshot, then the heads of the records behind it.

        What a crash left unfinished at the end is cut off: it was never sent, and will be read again.
        """
        if not self._number:
            return
        path, offset, first = self._path(self._number), 0, True
        with path.open("rb") as file:
            for record in self._scan(file, self._number, 0):
                (restore if first else apply)(record.head)
                offset, first = record.end.offset, False
        size = path.stat().st_size
        if first and size:  # it ended before its snapshot was written: the segment before has all
            self.bytes -= size
            path.unlink()
            self._number -= 1
            self.recover(apply, restore)
            return
        if size > offset:
            os.truncate(path, offset)
            self.bytes -= size - offset
        self._writing = path.open("ab")
        self.synced = Place(self._number, offset)
        if self._next > self.synced:
            self._next = self.acknowledged = self.synced

    def append(self, head: dict[str, Any], text: bytes, snapshot: Callable[[], dict[str, Any]]) -> None:
        """Raises `OSError` where the disk is full, and has then written nothing."""
        if self._writing is None or self._writing.tell() >= SEGMENT_BYTES:
            self._turn(snapshot())
        self._put(head, text)

    def sync(self) -> None:
        """What was appended survives a power cut now, and may be sent."""
        if self._writing is not None:
            self._writing.flush()
            os.fsync(self._writing.fileno())
            self.synced = Place(self._number, self._writing.tell())

    def unsent(self) -> Iterator[Record]:
        """The synced records that were not given out yet, snapshots left out."""
        while self._next < self.synced:
            if self._reading is None or self._reading[0] != self._next.segment:
                self._close_reading()
                path = self._path(self._next.segment)
                if not path.exists():
                    self._on_trouble(f"{path} is gone; what it held and was not sent is lost")
                    self._next = Place(self._next.segment + 1, 0)
                    continue
                self._reading = (self._next.segment, path.open("rb"))
            number, file = self._reading
            limit = self.synced.offset if number == self.synced.segment else None
            found = False
            for record in self._scan(file, number, self._next.offset, limit):
                found = True
                self._next = record.end
                if "snapshot" not in record.head:
                    yield record
                    if self._reading is None or self._reading[1] is not file:
                        break  # sent again from an earlier place meanwhile
            if not found or (self._reading and self._reading[1] is file and self._next < self.synced):
                if number >= self.synced.segment:
                    return
                self._next = Place(number + 1, 0)

    def rewind(self) -> None:
        """All that is not acknowledged is given out once more."""
        self._close_reading()
        self._next = self.acknowledged

    def acknowledge(self, place: Place) -> None:
        """The broker has everything before `place`."""
        self.acknowledged = place
        temporary = self._folder / "acknowledged.new"
        with contextlib.suppress(OSError):  # on a full disk it is known again with the next one
            temporary.write_text(f"{place.segment} {place.offset}\n")
            temporary.replace(self._folder / "acknowledged")
            for path in self._segments():
                if int(path.stem) < place.segment:
                    self.bytes -= path.stat().st_size
                    path.unlink()

    @property
    def empty(self) -> bool:
        """Nothing waits, not even for the disk."""
        return self._writing is None or self.acknowledged >= Place(self._number, self._writing.tell())

    def close(self) -> None:
        if self._writing is not None:
            self.sync()
            self._writing.close()
            self._writing = None
        self._close_reading()

    def _turn(self, snapshot: dict[str, Any]) -> None:
        """To a new segment, which begins with all that reading knows."""
        if self._writing is not None:
            self.sync()
            self._writing.close()
        self._number += 1
        self._writing = self._path(self._number).open("ab")
        try:
            self._put({"snapshot": snapshot}, b"")
        except OSError:
            self._writing.close()
            self._path(self._number).unlink()
            self._number -= 1
            self._writing = self._path(self._number).open("ab") if self._number else None
            raise

    def _put(self, head: dict[str, Any], text: bytes) -> None:
        assert self._writing is not None
        raw = json.dumps(head, separators=(",", ":")).encode()
        framed = _FRAME.pack(MARK, len(raw), len(text), zlib.crc32(raw), zlib.crc32(text))
        start = self._writing.tell()
        try:
            self._writing.write(framed + raw)
            self._writing.write(text)
            self._writing.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self._writing.close()
            os.truncate(self._path(self._number), start)
            self._writing = self._path(self._number).open("ab")
            raise
        self.bytes += self._writing.tell() - start

    def _scan(self, file: Any, number: int, offset: int, limit: int | None = None) -> Iterator[Record]:
        """From `offset` on, to `limit` or to what is no whole record any more."""
        while limit is None or offset < limit:
            file.seek(offset)
            frame = file.read(_FRAME.size)
            if len(frame) < _FRAME.size:
                return
            mark, head_bytes, text_bytes, head_sum, text_sum = _FRAME.unpack(frame)
            raw = file.read(head_bytes) if mark == MARK else b""
            text = file.read(text_bytes) if mark == MARK and zlib.crc32(raw) == head_sum else None
            if text is None or len(text) < text_bytes:
                beyond = self._resume(file, offset + 1)
                if beyond is None:
                    return
                self._on_trouble(
                    f"{self._path(number)} is damaged between bytes {offset} and {beyond}; lines may be missing there"
                )
                offset = beyond
                continue
            offset = file.tell()
            yield Record(json.loads(raw), text, Place(number, offset), text_sum)

    def _resume(self, file: Any, offset: int) -> int | None:
        """Where the next whole record begins, none where no more comes."""
        file.seek(offset)
        rest = file.read()
        at = rest.find(MARK)
        while at >= 0:
            frame = rest[at : at + _FRAME.size]
            if len(frame) == _FRAME.size:
                _, head_bytes, _, head_sum, _ = _FRAME.unpack(frame)
                start = at + _FRAME.size
                if zlib.crc32(rest[start : start + head_bytes]) == head_sum and head_bytes:
                    return int(offset + at)
            at = rest.find(MARK, at + 1)
        return None

    def _read_acknowledged(self, first: int) -> Place:
        try:
            segment, offset = map(int, (self._folder / "acknowledged").read_text().split())
            return max(Place(segment, offset), Place(first, 0))
        except (OSError, ValueError):
            return Place(first, 0)  # sent again, and known by its numbers

    def _segments(self) -> list[Path]:
        try:
            return sorted(self._folder.glob("[0-9]*.spool"))
        except OSError as error:
            raise ShipError(f"{self._folder} cannot be read: {error.strerror}") from None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.spool"

    def _close_reading(self) -> None:
        if self._reading is not None:
            self._reading[1].close()
            self._reading = None
