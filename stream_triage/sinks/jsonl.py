"""Verdicts go in; lines of one JSON document each come out, to a stream or at the end of a file."""

import errno
import os
from collections import deque
from pathlib import Path
from typing import Self, TextIO

from stream_triage.errors import StoreError
from stream_triage.ports import RunText
from stream_triage.records import Verdict

__all__ = ["JsonlSink"]


class JsonlSink:
    """Appends and never replaces: readers use the line with the highest `version` of a run.

    Every field is written, also if it is empty, so that all lines have the same columns. `close` leaves a stream open.
    If the reader of a pipe has gone, `flush` raises `BrokenPipeError` and drops what is buffered.
    """

    def __init__(self, target: TextIO | Path) -> None:
        self._name = str(target) if isinstance(target, Path) else getattr(target, "name", "the stream")
        try:
            self._output: _File | _Stream = _File(target) if isinstance(target, Path) else _Stream(target)
        except OSError as error:
            remedy = "choose a file in a folder that is writable"
            raise StoreError(f"{self._name} cannot be opened: {error.strerror}; {remedy}") from error
        self._closed = False

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Buffers a line until `flush`."""
        self._check_open()
        self._output.put(verdict.model_dump_json() + "\n")

    def flush(self) -> None:
        """Writes what is buffered, to disk if the target is a file. Raises `StoreError` and keeps what was not written."""
        self._check_open()
        try:
            self._output.flush()
        except BrokenPipeError:
            self._output.drop()
            raise
        except OSError as error:
            reason = f"verdicts cannot be written to {self._name}: {error.strerror}"
            raise StoreError(f"{reason}; free space or repair the target, then repeat: they are kept in memory") from error

    def close(self) -> None:
        """Flushes, and closes the file."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._output.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the sink to {self._name} is closed; write before closing it")


class _Stream:
    """A text stream of the caller. After an error the whole line is written again: how much of it got out is unknown."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque()

    def put(self, line: str) -> None:
        self._lines.append(line)

    def flush(self) -> None:
        while self._lines:
            self._stream.write(self._lines[0])
            self._stream.flush()
            self._lines.popleft()

    def drop(self) -> None:
        self._lines.clear()

    def close(self) -> None:
        self.drop()


class _File:
    """A file of this sink, unbuffered: after a full disk, writing continues in the middle of the line where it stopped."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # A crash can leave an incomplete line, which the next one must not continue.
        self._rest = bytearray(b"\n" if _ends_within_a_line(path) else b"")

    def put(self, line: str) -> None:
        self._rest += line.encode()

    def flush(self) -> None:
        while self._rest:
            del self._rest[: os.write(self._descriptor, self._rest)]
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # pipes and devices cannot be synced
                raise

    def drop(self) -> None:
        self._rest.clear()

    def close(self) -> None:
        os.close(self._descriptor)


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"
