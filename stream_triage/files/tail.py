"""One file that may grow in; its new bytes out, cut after each line that ends a run."""

import re
from collections.abc import Iterator
from pathlib import Path

from stream_triage.files.listing import Listed
from stream_triage.files.logfile import LogFile
from stream_triage.files.naming import part_of
from stream_triage.files.plaintext import NotText, require_text, text_chunks
from stream_triage.files.reader import Reader
from stream_triage.files.unpack import open_file
from stream_triage.settings import InputSettings
from stream_triage.stages.decode import AUTO, line_text
from stream_triage.stages.decode.wide import find_wide

__all__ = ["EndLines", "Tail"]

_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_LONGEST_MARK, _HEAD_BYTES = 4, 16
_MAY_BE_WIDE = re.compile(rb"\xff|\xfe|\0|.?\0|.?\Z", re.DOTALL)  # a byte order mark or a wide character, or its beginning


class EndLines:
    """Finds the lines that end a run, in bytes that come piece by piece.

    Args:
        pattern: Matches the lines; None if no line ends a run.
        line_bytes: Only so much of a line is compared.
        encoding: Of the lines, as in `input.encoding`.
    """

    def __init__(self, pattern: re.Pattern[str] | None, line_bytes: int, encoding: str = AUTO) -> None:
        self._pattern, self._line_bytes, self._encoding = pattern, line_bytes, encoding
        self._newline = b"\n"
        self._head = b""
        self._line = b""
        self._odd = b""  # the beginning of a character or mark of several bytes

    def cut(self, text: bytes) -> Iterator[tuple[bytes, bool]]:
        """Cuts the next bytes of the file after each end line; yields pieces, and whether they end with one."""
        if self._pattern is None:
            yield text, False
            return
        data, before = self._odd + text, len(self._odd)
        if not self._knows_encoding(text):
            self._odd = data
            yield text, False
            return
        newline = self._newline
        whole = len(data) - len(data) % len(newline)
        self._odd = data[whole:]
        start = position = 0
        while (end := _find_aligned(data[:whole], newline, position)) >= 0:
            line, self._line = self._line + data[position:end], b""
            position = end + len(newline)
            if self._matches(line):
                yield text[start : position - before], True
                start = position - before
        self._line = (self._line + data[position:whole])[: self._line_bytes]
        if start < len(text):
            yield text[start:], False

    def restart_line(self) -> None:
        """Forgets the line so far: what comes next is the beginning of a line."""
        self._line = self._odd = b""

    def _knows_encoding(self, text: bytes) -> bool:
        """Finds out how lines end. Returns false while too few bytes have come to know."""
        if len(self._head) < _HEAD_BYTES:
            self._head += text
            sign = self._head.find(b"\0")
            wide = find_wide(self._head, sign, at_start=True) if sign >= 0 else None
            marked = next((name for mark, name in _MARKS if self._head.startswith(mark)), "")
            self._newline = "\n".encode(marked or (wide.encoding if wide else "ascii"))
            if marked:
                return len(self._head) >= _LONGEST_MARK
        return len(self._head) >= _HEAD_BYTES or not _MAY_BE_WIDE.match(self._head)

    def _matches(self, line: bytes) -> bool:
        assert self._pattern
        return bool(self._pattern.search(line_text(line[: self._line_bytes], self._encoding)))


def _find_aligned(data: bytes, newline: bytes, start: int) -> int:
    while (end := data.find(newline, start)) >= 0 and end % len(newline):
        start = end + 1
    return end


class Tail:
    """Reads what was appended since the last read.

    Args:
        listed: The file.
        log: What is read of it; None for a packed file, which is read once.
        source: Source of the run that its text belongs to.
        settings: Limits.
        pattern: Matches the lines that end a run.
        poll: When the file was seen first. Among those of one poll, older parts come first.
    """

    def __init__(
        self,
        listed: Listed,
        log: LogFile | None,
        source: str,
        *,
        settings: InputSettings,
        pattern: re.Pattern[str] | None,
        poll: int,
    ) -> None:
        self.shown, self.explicit, self.identity = listed.shown, listed.explicit, listed.identity
        self.log, self.source = log, source
        self.order = (poll, part_of(listed.path.name).order)
        """Position among the parts of the source, which does not change: files are not created with older names."""
        self.last_growth = 0.0
        self.start = 0
        """Where the latest run starts in the file, in bytes."""
        self.late = False
        """Whether the file appeared after the run had ended that was the latest one then."""
        self.has_writer = True
        """False for a part that had been rotated before it was seen first."""
        self._path: Path = listed.path
        self.listed, self._settings = listed, settings
        self._pattern = pattern
        self._lines = EndLines(pattern, settings.line_bytes, settings.encoding)
        self._offset = 0
        self._done = False  # not text, or packed and read
        self._again = self._is_text = False

    @property
    def path(self) -> Path:
        """Where the file is, or was last."""
        return self.log.path if self.log else self._path

    @property
    def is_packed(self) -> bool:
        """Whether the file is compressed, so that it does not grow."""
        return self.log is None

    @property
    def waits_for_writer(self) -> bool:
        """Whether the file was renamed or deleted, and its writer may still have it open."""
        return self.has_writer and self.log is not None and not self._done and not self.log.ended and self.log.gone

    @property
    def was_replaced(self) -> bool:
        """Whether the content was replaced by another one that is not followed yet."""
        return self.log is not None and bool(self.log.replaced) and self.log.successor is not None and not self._done

    @property
    def was_copied(self) -> bool:
        """Whether there is a copy of the content, which was replaced since then."""
        return self.log is not None and self.log.copy is not None

    def successor(self, poll: int) -> "Tail | None":
        """What comes next, once, if the content of the file was replaced and all of it was read."""
        if self.log is None or not self.log.ended or self.log.successor is None or self._done:
            return None
        self._done = True
        following = Tail(
            self.listed, self.log.successor, self.source, settings=self._settings, pattern=self._pattern, poll=poll
        )
        if self.log.successor.gone:  # otherwise it is the newest part
            following.order = self.order
        return following

    def grown(self) -> bool:
        """Whether there is something to read, or the content was replaced."""
        if self._done or self.log is None:
            return not self._done
        return self._again or self.log.unread()

    def notice_writer(self, poll: int) -> None:
        """Notes that somebody may write to the file, which has not been renamed or deleted yet."""
        if self.log is not None and not self.log.gone:
            self.has_writer = True
            if not self.log.seen.size:  # whatever appears beside it is older
                self.order = (poll, self.order[1])

    def appended(self, reader: Reader, now: float, patient: bool = True) -> Iterator[tuple[bytes, bool]]:
        """What was appended up to now, cut after each end line, and whether the piece ends with one.

        Raises:
            NotText: If the file contains binary data.
            Damage: If a packed file cannot be read any further.
            OSError: If the file cannot be opened or read.
        """
        for text in self._texts(reader, now, patient):
            for piece, ends in self._lines.cut(text):
                self._offset += len(piece)
                yield piece, ends

    def mark_start(self, before: bytes = b"") -> None:
        """Remembers that a run starts at this point, or `before` it: with the text that was returned last."""
        self.start = self._offset - len(before)

    def is_in_run(self) -> bool:
        """Whether the latest run has text of this file."""
        return self._offset > self.start

    def rewind(self) -> bool:
        """Goes back to the start of the run; returns false if the file is gone."""
        if self.log is None:
            self._done = not self._path.exists()
            self._offset = self.start
            return not self._done
        if self._done or self.log.ended:
            return not self.is_in_run()
        try:
            self.log.open()
        except OSError:
            return not self.is_in_run()
        self._again, self._offset = self.is_in_run(), self.start
        return True

    def _texts(self, reader: Reader, now: float, patient: bool) -> Iterator[bytes]:
        if self._done:
            return
        if self.log is None:
            yield from self._unpacked()
            return
        if self._again:
            self._again = False
            self._lines.restart_line()
            yield from self.log.again(self.start)
        while True:
            _, data = reader.read(self.log, now, patient)
            if not data:
                return
            if not self._is_text:
                try:
                    require_text(data, self._settings.encoding)
                except NotText:
                    self._done = self.log.complete = True
                    raise
            self._is_text = True
            yield data

    def _unpacked(self) -> Iterator[bytes]:
        self._done = True
        skip = self._offset
        with open_file(self._path, self.listed.size, self._settings, lambda _: None) as packed:
            for text in text_chunks(packed, self._settings.encoding):
                yield text[skip:]
                skip = max(0, skip - len(text))
