"""Chunks of log text go in, are stored on disk, and come out in the same order until the broker has them.

Each line must reach the broker once, although the shipper may be killed, the power may fail, or the broker may be down
for hours. So a chunk is written to disk before it is sent, and it is sent again with the same text and the same number
after every crash: the worker recognises a repeat by its number only if the text was cut at the same place.

On disk, a spool is a folder of segments, `00000001.spool` and so on. A record in a segment is a frame (magic bytes,
lengths, checksums), a head (JSON) and a text. The first record of a segment is a snapshot of everything that reading
needs to continue: positions in the files and the next chunk numbers. The head of each later record holds what that chunk
changed. Recovery therefore needs one snapshot and the records after it, and no other file. The file `acknowledged` holds
the cursor up to which the broker has everything; segments before it are deleted.
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

__all__ = ["Cursor", "Record", "Spool"]

SEGMENT_BYTES = 16 << 20
# The first byte never occurs in UTF-8, so log text rarely looks like the start of a record.
MAGIC = b"\xf5shp"
# Magic, length of the head, length of the text, CRC-32 of the head, CRC-32 of the text.
_FRAME = struct.Struct("<4sIIII")


class Cursor(NamedTuple):
    """A position in the spool: a segment and the byte offset in it. Cursors compare in the order of writing."""

    segment: int
    offset: int


class Record(NamedTuple):
    """A chunk as it is stored. `end` is the cursor after it, `checksum` the CRC-32 of the text when it was written."""

    head: dict[str, Any]
    text: bytes
    end: Cursor
    checksum: int

    @property
    def damaged(self) -> bool:
        """Whether the text differs from what was written. The head is intact, otherwise there is no record."""
        return zlib.crc32(self.text) != self.checksum


class Spool:
    """A queue on disk for one process, which writes and reads it in one thread.

    Args:
        folder: Contains the segments. It must exist, and no other process may use it.
        on_problem: Called with a message for each damaged part and each missing segment.

    Attributes:
        bytes: Size of all segments, including those records that the broker has already.
        synced: The cursor up to which records survive a power failure. Only these are sent.
        acknowledged: The cursor up to which the broker has everything.
    """

    def __init__(self, folder: Path, on_problem: Callable[[str], None]) -> None:
        self._folder = folder
        self._on_problem = on_problem
        self._writing: Any | None = None
        self._reading: tuple[int, Any] | None = None
        self.bytes = sum(path.stat().st_size for path in self._segments())
        self.acknowledged = self._next = self._read_acknowledged()
        # Without segments, the next one gets a number after the acknowledged one: an old cursor must not cover new records.
        self._number = max(self._numbers(), default=self.acknowledged.segment)
        self.synced = Cursor(self._number, 0)

    def recover(self, apply: Callable[[dict[str, Any]], None], restore: Callable[[dict[str, Any]], None]) -> None:
        """Rebuilds the state of reading; to be called once, before anything else.

        What a crash left half-written at the end is cut off. It was never sent, because only synced records are sent,
        and its text is still in the log file, after the restored position.

        Args:
            apply: Called with the head of each record after the snapshot, in order.
            restore: Called with the head of the newest usable snapshot, before all calls of `apply`.
        """
        numbers = self._remove_unstarted_segments()
        if not numbers:
            self.acknowledged = self._next = Cursor(self._number + 1, 0)
            return
        self.acknowledged = self._next = max(self.acknowledged, Cursor(numbers[0], 0))
        # Usually the newest segment. Its snapshot may be damaged; then an earlier one and all records since do the same.
        first = next((number for number in reversed(numbers) if self._starts_with_snapshot(number)), numbers[0])
        for number in numbers[numbers.index(first) :]:
            end = 0
            with self._path(number).open("rb") as file:
                for record in self._scan(file, number, 0):
                    if "snapshot" not in record.head:
                        apply(record.head)
                    elif number == first:
                        restore(record.head)
                    end = record.end.offset
        self._continue_writing(numbers[-1], end)

    def append(self, head: dict[str, Any], text: bytes, snapshot: Callable[[], dict[str, Any]]) -> None:
        """Writes a record, which `unsent` gives out after the next `sync`.

        Args:
            head: JSON that describes the chunk.
            text: The chunk.
            snapshot: Called for the state of reading before this record, if the record starts a segment.

        Raises:
            OSError: The record could not be written, for example because the disk is full. Nothing of it remains, and
                the call can be repeated.
        """
        if self._writing is None or self._writing.tell() >= SEGMENT_BYTES:
            self._start_segment(snapshot())
        self._write(head, text)

    def sync(self) -> None:
        """Makes all records survive a power failure; from then on they may be sent. Costs one fsync."""
        if self._writing is not None:
            os.fsync(self._writing.fileno())
            self.synced = Cursor(self._number, self._writing.tell())

    def unsent(self) -> Iterator[Record]:
        """Yields the synced records that were not yielded since the last `rewind`, oldest first, without snapshots."""
        while self._next < self.synced:
            number = self._next.segment
            file = self._open_for_reading(number)
            if file is None:
                self._on_problem(f"{self._path(number)} is missing; the lines in it that were not sent are lost")
                self._pass(Cursor(number + 1, 0))
                continue
            limit = self.synced.offset if number == self.synced.segment else None
            for record in self._scan(file, number, self._next.offset, limit):
                if "snapshot" in record.head:
                    self._pass(record.end)
                    continue
                self._next = record.end
                yield record
                if self._reading is None or self._reading[1] is not file:
                    break  # the caller has called `rewind` meanwhile: start again from there
            else:
                if limit is not None:
                    return
                self._pass(Cursor(number + 1, 0))

    def rewind(self) -> None:
        """Makes `unsent` yield everything again that is not acknowledged. Needed after each lost connection."""
        self._close_reading()
        self._next = self.acknowledged

    def acknowledge(self, cursor: Cursor) -> None:
        """Notes that the broker has everything before `cursor`, and deletes the segments before it.

        Raises nothing if the disk is full: the next call makes up for it, and a crash before that means repeats, not gaps.
        """
        self.acknowledged = cursor
        temporary = self._folder / "acknowledged.new"
        with contextlib.suppress(OSError):
            # Replaced, not overwritten: a crash in between would leave an empty file, and everything would be sent again.
            temporary.write_text(f"{cursor.segment} {cursor.offset}\n")
            temporary.replace(self._folder / "acknowledged")
            for path in self._segments():
                if int(path.stem) < cursor.segment:
                    self.bytes -= path.stat().st_size
                    path.unlink()

    def set_aside(self, end: Cursor, data: bytes) -> Path:
        """Keeps what lies before a cursor and cannot be sent in a file, if the disk takes it; returns the path."""
        path = self._folder / f"{end.segment:08d}-{end.offset}.unsent"
        with contextlib.suppress(OSError):
            path.write_bytes(data)
        return path

    @property
    def empty(self) -> bool:
        """Whether the broker has everything that was appended, synced or not.

        After recovery, call `unsent` first: it passes over snapshots, which nobody acknowledges.
        """
        return self.acknowledged >= (self.synced if self._writing is None else Cursor(self._number, self._writing.tell()))

    def close(self) -> None:
        """Syncs and closes the files. What is not acknowledged stays for the next start."""
        if self._writing is not None:
            self.sync()
            self._writing.close()
            self._writing = None
        self._close_reading()

    def _pass(self, cursor: Cursor) -> None:
        """Moves over something that is never sent, so that no acknowledgement for it is waited for."""
        if self.acknowledged == self._next:
            self.acknowledged = cursor
        self._next = cursor

    def _remove_unstarted_segments(self) -> list[int]:
        """Removes newest segments without a whole record; returns the numbers of the others, oldest first.

        A shipper that is killed just after it has created a segment leaves one that is empty or ends within its snapshot.
        Continuing in it would mean continuing without positions: all files would be sent again from their beginning.
        """
        numbers = self._numbers()
        while numbers:
            path = self._path(numbers[-1])
            with path.open("rb") as file:
                if self._read(file, numbers[-1], 0) or self._find_record(file, 0) is not None:
                    return numbers
            self.bytes -= path.stat().st_size
            path.unlink()
            numbers.pop()
        return numbers

    def _starts_with_snapshot(self, number: int) -> bool:
        with self._path(number).open("rb") as file:
            record = self._read(file, number, 0)
        return record is not None and "snapshot" in record.head

    def _continue_writing(self, number: int, end: int) -> None:
        """Cuts the segment off at `end`, after its last whole record, and appends to it from now on."""
        path = self._path(number)
        self.bytes -= path.stat().st_size - end
        os.truncate(path, end)
        self._writing = path.open("ab")
        self._number = number
        self.synced = Cursor(number, end)
        if self.acknowledged > self.synced:
            # The disk has lost records that were synced and sent. Store the lower cursor, or it would cover new records.
            self.acknowledge(self.synced)
            self._next = self.acknowledged

    def _start_segment(self, snapshot: dict[str, Any]) -> None:
        """Closes the current segment and starts the next one with a snapshot. Can be repeated after an `OSError`."""
        if self._writing is not None:
            self.sync()
            self._writing.close()
        self._number += 1
        path = self._path(self._number)
        try:
            self._writing = path.open("ab")
            self._write({"snapshot": snapshot}, b"")
        except OSError:
            # A segment without a snapshot must not stay: records that were appended to it could not be recovered.
            if self._writing is not None:
                self._writing.close()
            self._writing = None
            path.unlink(missing_ok=True)
            self._number -= 1
            raise

    def _write(self, head: dict[str, Any], text: bytes) -> None:
        assert self._writing is not None
        raw = json.dumps(head, separators=(",", ":")).encode()
        frame = _FRAME.pack(MAGIC, len(raw), len(text), zlib.crc32(raw), zlib.crc32(text))
        start = self._writing.tell()
        try:
            self._writing.write(frame + raw)
            self._writing.write(text)
            self._writing.flush()
        except OSError:
            # On a full disk, a part may have been written. It would hide the next record, so it is cut off.
            with contextlib.suppress(OSError):
                self._writing.close()
            self._writing = None
            os.truncate(self._path(self._number), start)
            self._writing = self._path(self._number).open("ab")
            raise
        self.bytes += self._writing.tell() - start

    def _scan(self, file: Any, number: int, offset: int, limit: int | None = None) -> Iterator[Record]:
        """Yields records from `offset` to `limit`, or to the last whole record. Damaged parts are reported and skipped."""
        while limit is None or offset < limit:
            record = self._read(file, number, offset)
            if record is not None:
                offset = record.end.offset
                yield record
                continue
            resume = self._find_record(file, offset + 1)
            if resume is None:
                return
            file.seek(offset)
            kept = self.set_aside(Cursor(number, resume), file.read(resume - offset))
            self._on_problem(
                f"{self._path(number)} is damaged between bytes {offset} and {resume}; the lines stored there may be lost, "
                f"what is there is kept in {kept}"
            )
            offset = resume

    @staticmethod
    def _read(file: Any, number: int, offset: int) -> Record | None:
        """The record that starts at `offset`; None if no whole record with an intact head does."""
        file.seek(offset)
        frame = file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            return None
        magic, head_bytes, text_bytes, head_sum, text_sum = _FRAME.unpack(frame)
        raw = file.read(head_bytes) if magic == MAGIC else b""
        # Never empty: after a power failure zeros may follow the magic bytes, and the checksum of an empty head is 0.
        if not raw or zlib.crc32(raw) != head_sum:
            return None
        text = file.read(text_bytes)
        head = _head_of(raw)
        return Record(head, text, Cursor(number, file.tell()), text_sum) if head and len(text) == text_bytes else None

    @staticmethod
    def _find_record(file: Any, offset: int) -> int | None:
        """The offset of the first intact head at or after `offset`; None if there is none. Reads the rest of the segment."""
        file.seek(offset)
        rest = file.read()
        at = rest.find(MAGIC)
        while at >= 0:
            frame = rest[at : at + _FRAME.size]
            if len(frame) == _FRAME.size:
                _, head_bytes, _, head_sum, _ = _FRAME.unpack(frame)
                start = at + _FRAME.size
                raw = rest[start : start + head_bytes]
                if head_bytes and zlib.crc32(raw) == head_sum and _head_of(raw):
                    return int(offset + at)
            at = rest.find(MAGIC, at + 1)
        return None

    def _read_acknowledged(self) -> Cursor:
        try:
            segment, offset = map(int, (self._folder / "acknowledged").read_text().split())
            return Cursor(segment, offset)
        except (OSError, ValueError):
            # Missing or damaged: everything is sent again, and workers drop the repeats by their numbers.
            return Cursor(0, 0)

    def _segments(self) -> list[Path]:
        try:
            return [path for path in sorted(self._folder.glob("[0-9]*.spool")) if path.stem.isdecimal() and path.is_file()]
        except OSError as error:
            raise ShipError(f"{self._folder} cannot be read: {error.strerror}") from None

    def _numbers(self) -> list[int]:
        return [int(path.stem) for path in self._segments()]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.spool"

    def _open_for_reading(self, number: int) -> Any | None:
        """The open segment; None if it does not exist."""
        if self._reading is None or self._reading[0] != number:
            self._close_reading()
            try:
                self._reading = (number, self._path(number).open("rb"))
            except FileNotFoundError:
                return None
        return self._reading[1]

    def _close_reading(self) -> None:
        if self._reading is not None:
            self._reading[1].close()
            self._reading = None


def _head_of(raw: bytes) -> dict[str, Any] | None:
    """The head of a record; None if it is none. Its checksum says nothing about what another program has written."""
    try:
        head = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return head if isinstance(head, dict) else None
