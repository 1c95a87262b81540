"""Messages that came before their turn go in; the same messages come out when their turn has come.

Together they may be much larger than memory: a worker has thousands of open runs, and each may wait for a message that is
missing. Which messages are given up must depend on the messages of their run alone, never on what other runs hold, because a
worker that reads the run again may not read those. So none is given up for a limit over all runs. Beyond that limit,
messages are compressed and go to temporary files without names, of which nothing is left when the process ends.

The text in these files is not redacted yet.
"""

import os
import pickle
import tempfile
from pathlib import Path
from typing import BinaryIO, Final, cast

import zstandard

from stream_triage.errors import StoreError
from stream_triage.spool import write_at
from stream_triage.worker.messages import Message

__all__ = ["EarlyBudget", "EarlyMessage"]

# Early messages in memory, over all runs of a worker.
MEMORY_BYTES: Final = 64 << 20
# Beside its text and its headers, what a message takes.
MESSAGE_BYTES: Final = 1024
# The space of a file is free again when none of its messages waits, so files are not large.
FILE_BYTES: Final = 64 << 20


class EarlyBudget:
    """Keeps early messages, `memory_bytes` of them in memory. For one thread; all partitions of a worker share one."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, folder: Path | None = None) -> None:
        """`folder` is where the temporary files are; by default where the system has them."""
        self._memory_bytes = memory_bytes
        self._folder = folder or Path(tempfile.gettempdir())
        self._file: _File | None = None
        self.in_memory = 0
        """Size of the messages in memory."""

    def keep(self, message: Message) -> "EarlyMessage":
        """Keeps a message as long as the returned object lives. Raises `StoreError` when the disk is full."""
        size = _size(message)
        if self.in_memory + size <= self._memory_bytes:
            return EarlyMessage(self, message, size)
        data = zstandard.ZstdCompressor(level=1).compress(pickle.dumps(message, protocol=5))
        try:
            if self._file is None or self._file.size + len(data) > FILE_BYTES:
                self._file = _File(self._folder)
            return EarlyMessage(self, self._file.write(data), 0)
        except OSError as error:
            reason = f"messages that wait for an earlier one cannot be kept in {self._folder}: {error.strerror}"
            raise StoreError(f"{reason}; free space there, or set TMPDIR to another folder") from error


class EarlyMessage:
    """One message that waits. Its memory, or its place on the disk, is free again when this object is gone."""

    __slots__ = ("_budget", "_kept", "_size")

    def __init__(self, budget: EarlyBudget, kept: "Message | _Place", size: int) -> None:
        self._budget = budget
        self._kept = kept
        self._size = size
        budget.in_memory += size

    def __del__(self) -> None:
        # Messages go with their run, and runs with their partition; nobody would tell the budget of each.
        self._budget.in_memory -= self._size

    def message(self) -> Message:
        """The message. Raises `StoreError` if it cannot be read from the disk."""
        return self._kept.read() if isinstance(self._kept, _Place) else self._kept


class _File:
    """A temporary file without a name. It is closed, and its space is free, when its last place is gone."""

    def __init__(self, folder: Path) -> None:
        self._file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder, buffering=0))  # noqa: SIM115 - closed in __del__
        self.size = 0

    def __del__(self) -> None:
        file = getattr(self, "_file", None)  # missing if it could not be opened
        if file is not None:
            file.close()

    def write(self, data: bytes) -> "_Place":
        """After an `OSError`, nothing was added: `size` grows last."""
        write_at(self._file.fileno(), data, self.size)
        place = _Place(self, self.size, len(data))
        self.size += len(data)
        return place

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)


class _Place:
    """Where a message is in a file."""

    __slots__ = ("_file", "_offset", "_size")

    def __init__(self, file: _File, offset: int, size: int) -> None:
        self._file, self._offset, self._size = file, offset, size

    def read(self) -> Message:
        try:
            data = zstandard.ZstdDecompressor().decompress(self._file.read(self._offset, self._size))
        except (OSError, zstandard.ZstdError) as error:
            raise StoreError(f"a message that waited for an earlier one cannot be read back: {error}") from error
        message = pickle.loads(data)  # noqa: S301 - written by this process, to a file that no other can open
        assert isinstance(message, Message)
        return message


def _size(message: Message) -> int:
    record, text = message.record, message.text
    size = MESSAGE_BYTES + len(record.value or b"") + sum(len(name) + len(value or b"") for name, value in record.headers)
    size += len(text) if text is not None and text is not record.value else 0
    return size + sum(map(_size, message.parts))
