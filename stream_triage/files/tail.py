"""One file that may grow in; its appended text out, cut after each line that ends a run."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from stream_triage.files.listing import Listed, is_gone
from stream_triage.files.naming import is_packed, part_of
from stream_triage.files.plaintext import CHUNK_BYTES, Decoder, NotText, binary_reason, text_chunks
from stream_triage.files.unpack import open_file
from stream_triage.settings import InputSettings

__all__ = ["Tail"]

_BEGINNING_BYTES = 256


class Tail:
    """Reads the text that was appended since the last read.

    It follows the file, not the name: a file that was renamed is read to its end.

    Args:
        listed: The file.
        source: Source of the run that its text belongs to.
        order: Position among the rotated parts of the source; see `naming.Part`.
        settings: Limits.
        pattern: Matches the lines that end a run.
    """

    def __init__(
        self,
        listed: Listed,
        source: str,
        order: tuple[bool, str, int, bool],
        settings: InputSettings,
        pattern: re.Pattern[str] | None,
    ) -> None:
        self.path, self.shown, self.explicit = listed.path, listed.shown, listed.explicit
        self.source, self.order = source, order
        self.last_growth = 0.0
        self.dropped = False
        self._listed, self._settings, self._pattern = listed, settings, pattern
        self._packed = is_packed(listed.path.name)
        self._file: BinaryIO | None = None
        self._beginning = b""
        self._done = False  # not text, or packed and read
        self._start = 0  # offset of the open run, in bytes of text
        self.restart()

    def restart(self) -> None:
        """Reads the file from its beginning: it was emptied, or another one has its name."""
        self._decoder = Decoder()
        self._position = self._offset = self._skip = 0
        self._line = b""
        self._replaced = False
        if self._file:
            self._file.seek(0)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return self._listed.identity

    @property
    def is_open(self) -> bool:
        """Whether a file descriptor is in use."""
        return self._file is not None

    def grown(self) -> bool:
        """Whether the size differs from what was read, or a packed file was not read yet."""
        if self._done or self._packed:
            return not self._done
        size = self._size()
        if size is None or size == self._position:
            return False
        # While the file is open its inode cannot be given to another one.
        self._replaced = not self._file and not self.begins_like(self.path)
        return True

    def shrunk(self) -> bool:
        """Whether the file was emptied or replaced, so that it must be read from its beginning."""
        size = self._size()
        return not self._packed and size is not None and (size < self._position or self._replaced)

    def is_at(self, path: Path) -> bool:
        """Whether the file at `path`, which has the same inode, is this file. If it is not, this one is done.

        The content is compared only if the path has changed, or its name is one that rotation gives to one file after
        another.
        """
        if self._file or (path == self.path and not part_of(path.name).rotated) or self.begins_like(path):
            return True
        self._done = self._done or path == self.path
        return False

    def is_gone(self) -> bool:
        """Whether there is no file, or another one, at the last known path."""
        return is_gone(self.path, self._listed.identity)

    def begins_like(self, path: Path) -> bool:
        """Whether the file at `path` begins with the text that was read. An inode may be used again for another file."""
        try:
            with open(path, "rb") as file:
                return file.read(len(self._beginning)) == self._beginning
        except OSError:
            return False

    def appended(self) -> Iterator[tuple[bytes, bool]]:
        """The text up to the present end of the file, cut after each end line, and whether the piece ends with one.

        Raises:
            NotText: If the file contains binary data.
            Damage: If a packed file cannot be read any further.
            OSError: If the file cannot be opened or read.
        """
        for text in self._texts():
            skipped = min(self._skip, len(text))
            self._skip -= skipped
            for piece, ends in self._cut(text[skipped:]):
                self._offset += len(piece)
                yield piece, ends

    def rest(self) -> bytes:
        """The incomplete character at the end of a file that does not grow any more."""
        text = b"" if self._done else self._decoder.feed(b"", final=True)
        self._offset += len(text)
        return text

    def mark_start(self, before: bytes = b"") -> None:
        """Remembers that a run starts at this point, or `before` it: with the text that was returned last."""
        self._start = self._offset - len(before)

    def is_in_run(self) -> bool:
        """Whether the latest run has text of this file."""
        return self._offset > self._start

    def rewind(self) -> bool:
        """Goes back to the start of the run; returns false if the file is gone."""
        if self._done and not self._packed:
            return True
        self._line, self._offset, self._skip = b"", self._start, 0
        if self._packed:
            self._done, self._skip = not self.path.exists(), self._start
            return not self._done
        try:
            file = self._opened()
        except OSError:
            self._done = True
            return False
        if self._start and not self._decoder.transcodes:
            self._position = self._decoder.mark_bytes + self._start
        else:
            self._decoder, self._position, self._skip = Decoder(), 0, self._start
        file.seek(self._position)
        return True

    def release(self) -> None:
        """Closes the file. It is opened again when it has grown."""
        if self._file:
            self._file.close()
        self._file = None

    def _size(self) -> int | None:
        try:
            status = os.fstat(self._file.fileno()) if self._file else os.stat(self.path)
        except FileNotFoundError:
            return None
        return status.st_size if (status.st_dev, status.st_ino) == self._listed.identity else None

    def _opened(self) -> BinaryIO:
        if self._file is None:
            file = open(self.path, "rb", buffering=0)  # noqa: SIM115  # stays open between polls
            if self._listed.identity != (os.fstat(file.fileno()).st_dev, os.fstat(file.fileno()).st_ino):
                file.close()
                raise FileNotFoundError(f"{self.shown} was replaced")
            file.seek(self._position)
            self._file = file
        return self._file

    def _texts(self) -> Iterator[bytes]:
        if self._done:
            return
        if self._packed:
            self._done = True
            with open_file(self.path, self._listed.size, self._settings, lambda _: None) as reader:
                yield from text_chunks(reader, self._settings.encoding)
            return
        file = self._opened()
        while raw := file.read(CHUNK_BYTES):
            if not self._position:
                self._check_beginning(raw)
            self._position += len(raw)
            if text := self._decoder.feed(raw):
                yield text

    def _check_beginning(self, raw: bytes) -> None:
        self._beginning = raw[:_BEGINNING_BYTES]
        if reason := binary_reason(raw, self._settings.encoding):
            self._done = True
            raise NotText(reason)

    def _cut(self, text: bytes) -> Iterator[tuple[bytes, bool]]:
        start = position = 0
        while self._pattern and (newline := text.find(b"\n", position)) >= 0:
            line = (self._line + text[position:newline])[: self._settings.line_bytes]
            self._line, position = b"", newline + 1
            if self._pattern.search(line.decode("utf-8", "replace").rstrip("\r")):
                yield text[start:position], True
                start = position
        if self._pattern:
            self._line = (self._line + text[position:])[: self._settings.line_bytes]
        if start < len(text):
            yield text[start:], False
