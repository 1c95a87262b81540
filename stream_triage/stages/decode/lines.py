"""Bytes of one source in, cut anywhere, in any mixture of encodings; text out, with marks where bytes were no text.

Each decision rests on a bounded part of the bytes that begins at a fixed position, and waits until all of that part is
there. So the text does not depend on how the bytes were cut. Lines of ASCII or valid UTF-8, nearly all lines, need no
decision.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Final

from stream_triage.stages.decode.detect import MULTIBYTE, detect, fits
from stream_triage.stages.decode.wide import RUN, WINDOW_BYTES, Wide, char_bytes, find_wide, is_common, next_sign

__all__ = ["GAP", "INVALID", "MixedText"]

INVALID: Final = "\udcff"
"""Stands for an invalid sequence of bytes; no decoder gives this character."""
ERRORS: Final = "stream-triage-invalid"
"""Name of the error handler that gives `INVALID`."""
# A crash leaves blocks of NULs where data was not written to the disk yet. No text has so many in a row.
GAP: Final = bytes(64)
# A longer line goes on in parts of about this size.
PART_BYTES: Final = 64 * 1024
# Lines that are not UTF-8 wait until their encoding is decided, which is after so many bytes, or so many of these lines.
STRETCH_BYTES: Final = 16 * 1024
STRETCH_LINES: Final = 12
# After so many decisions that lines are damaged and not in another encoding, no more is tried.
MAX_FAILURES: Final = 8
# A line of UTF-16 or UTF-32 is decoded in parts of at most this size.
WIDE_PART_BYTES: Final = 1024
# A sequence of this length is ASCII, even where the bytes after it are missing.
LONG_RUN_BYTES: Final = 12
_COMMON_SHARE: Final = 0.6
_LINE_END: Final = re.compile(rb"[\r\n]")
_NULS: Final = re.compile(rb"\0+")
# Where UTF-16 stops and begins again at another position: a mark, or a line end in one byte, as tools add it that join files.
_JOINTS: Final = {
    "utf-16-le": re.compile(rb"[\r\n]?\xff\xfe|\xfe\xff|[\r\n](?:[^\0]\0){3}"),
    "utf-16-be": re.compile(rb"[\r\n]?\xfe\xff|\xff\xfe|[\r\n](?:\0[^\0]){3}"),
}


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return INVALID, error.end


codecs.register_error(ERRORS, _mark_invalid)


class MixedText:
    """Decodes UTF-8, UTF-16, UTF-32 and one legacy encoding at a time, and finds out which of them the bytes are in.

    Args:
        legacy: The encoding of the text that is not UTF-16 or UTF-32, a superset of ASCII. None means UTF-8, or what
            `detect` says where the bytes are not UTF-8.

    Attributes:
        encodings: Those that occurred, in this order.
        gap_bytes: Number of NULs in gaps that are not in the text.
        gap_lines: Number of lines with such gaps alone.
    """

    def __init__(self, legacy: str | None = None) -> None:
        self.encodings: dict[str, None] = {}
        self.gap_bytes = self.gap_lines = 0
        self._fixed = self._legacy = legacy
        self._wide: str | None = None
        self._held = b""
        self._stretch: list[bytes] = []
        self._stretch_bytes = self._stretch_lines = self._failures = 0
        self._in_gap = False
        self._begun = False
        self._within_line = False
        self._utf8_seen = False
        self._text: list[str] = []

    def feed(self, data: bytes) -> str:
        """The text of the whole lines so far, as far as their encoding is decided."""
        data = self._held + data if self._held else data
        self._held = data[self._take(data, final=False) :]
        return self._taken()

    def finish(self) -> str:
        """The rest of the text."""
        data, self._held = self._held, b""
        self._take(data, final=True)
        self._decide()
        return self._taken()

    def _taken(self) -> str:
        text, self._text = "".join(self._text), []
        return text.replace("\ufeff", "") if "\ufeff" in text else text  # marks at the beginnings of joined files

    def _take(self, data: bytes, *, final: bool) -> int:
        """Decodes what can be decided; returns how many bytes that were."""
        position = 0
        while position < len(data):
            if self._in_gap:
                after = self._take_gap(data, position)
            elif data.startswith(GAP, position):
                self._begin_gap()
                after = self._take_gap(data, position)
            elif data[position] == 0 and not final and not data[position:].strip(b"\0"):
                break  # perhaps the beginning of a gap
            elif self._wide:
                after = self._take_wide_lines(data, position, self._wide)
                after = after or self._take_wide(data, position, self._wide, final=final)
            else:
                after = self._take_valid(data, position) or self._take_line(data, position, final=final)
            if after is None:
                break
            position = after
        return position

    # ---- gaps

    def _begin_gap(self) -> None:
        self._decide()
        self._in_gap = True
        self._wide = None
        if self._within_line:
            self._add("\0")
            self.gap_bytes -= 1  # this one is counted with the NULs of the text
        else:
            self.gap_lines += 1

    def _take_gap(self, data: bytes, position: int) -> int:
        """All NULs from here on; what follows may be in any encoding."""
        match = _NULS.match(data, position)
        end = match.end() if match else position
        self.gap_bytes += end - position
        self._in_gap = end == len(data)
        self._begun = False
        return end

    # ---- text in one byte a character, or in several bytes outside of ASCII

    def _take_valid(self, data: bytes, position: int) -> int | None:
        """Decodes valid lines up to the first that needs a decision, at high speed; None if that is the first one."""
        if self._stretch or not self._begun:
            return None
        limit = min(position + PART_BYTES, len(data))
        nul = data.find(b"\0", position, limit)
        if nul >= 0:
            limit = max(nul - 1, position)  # the line end before a NUL may belong to it
        end = _last_line_end(data, position, limit)
        while end > position:
            try:
                text = str(memoryview(data)[position:end], "ascii" if self._legacy else "utf-8")
            except UnicodeDecodeError as error:
                end = _last_line_end(data, position, position + error.start)
                continue
            self._add_narrow(text)
            return end
        return None

    def _take_line(self, data: bytes, position: int, *, final: bool) -> int | None:
        """Decodes one line, or finds UTF-16 or UTF-32 in it; None if more bytes are needed to decide."""
        end = self._line_end(data, position, final=final)
        if end is None:
            return None
        sign = next_sign(data, position, end)
        # The first line of UTF-16 may be empty: its line end has a NUL after it.
        if sign < 0 and not self._begun and not data[position:end].strip(b"\r\n"):
            if end == len(data) and not final:
                return None
            sign = end if data[end : end + 1] == b"\0" else -1
        if sign >= 0:
            if len(data) < sign + WINDOW_BYTES and not final:
                return None
            wide = find_wide(data[position : sign + WINDOW_BYTES], sign - position, at_start=not self._begun)
            if wide:
                if wide.start:
                    self._add_line(data[position : position + wide.start])
                self._decide()
                self._begin_wide(wide.encoding)
                return position + wide.start + wide.mark_bytes
        self._add_line(data[position:end])
        return end

    def _line_end(self, data: bytes, position: int, *, final: bool) -> int | None:
        """Where the line, or the part of it before a gap, ends; a very long line is cut, after a space if there is one."""
        match = _LINE_END.search(data, position, position + PART_BYTES)
        end = match.end() if match else len(data) if final and len(data) - position < PART_BYTES else None
        gap = data.find(GAP, position, position + PART_BYTES if end is None else end)
        if gap >= 0:
            return gap
        if end is None and len(data) - position >= PART_BYTES:
            end = position + PART_BYTES
            space = data.rfind(b" ", position, end) + 1
            end = space or end - _unfinished(data[position:end])
        return end

    def _add_line(self, line: bytes) -> None:
        text = None if self._stretch else self._decoded(line)
        if text is not None:
            self._add_narrow(text)
        elif self._fixed or self._failures >= MAX_FAILURES:
            self._add_narrow(self._damaged(line))
        else:
            self._stretch.append(line)
            self._stretch_bytes += len(line)
            self._stretch_lines += self._decoded(line) is None
            if self._stretch_bytes >= STRETCH_BYTES or self._stretch_lines >= STRETCH_LINES:
                self._decide()

    def _decide(self) -> None:
        """Decides whether the waiting lines are damaged or in another encoding, and passes them on."""
        if not self._stretch:
            return
        encoding = detect([line for line in self._stretch if self._decoded(line) is None])
        if encoding:
            self._legacy = encoding
            self.encodings[f"{encoding} (detected)"] = None
        else:
            self._failures += 1
        for line in self._stretch:
            text = self._decoded(line)
            self._add_narrow(self._damaged(line) if text is None else text)
        self._stretch, self._stretch_bytes, self._stretch_lines = [], 0, 0

    def _decoded(self, line: bytes) -> str | None:
        """The line in UTF-8 or the legacy encoding; None if it is damaged or in another encoding."""
        if self._fixed:
            try:
                return line.decode(self._fixed)
            except UnicodeDecodeError:
                return None
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return fits(line, self._legacy) if self._legacy else None
        # Two bytes of a legacy encoding can happen to be valid UTF-8; three in a row hardly ever.
        if self._legacy in MULTIBYTE and not line.isascii() and max(line) < 0xE0:
            text = fits(line, self._legacy) or text
        return text

    def _damaged(self, line: bytes) -> str:
        encoding = self._fixed or (self._legacy if self._legacy in MULTIBYTE else None) or "utf-8"
        return line.decode(encoding, ERRORS)

    # ---- UTF-16 and UTF-32

    def _begin_wide(self, encoding: str) -> None:
        self._wide = encoding
        self._begun = True
        self.encodings[encoding] = None

    def _take_wide_lines(self, data: bytes, position: int, encoding: str) -> int | None:
        """Decodes lines of Latin text at high speed; None if a decision may be needed."""
        size, line_end = char_bytes(encoding), "\n".encode(encoding)
        end = data.rfind(line_end, position, position + PART_BYTES)
        if end < 0 or (end - position) % size:
            return None
        unit = data[position : end + size]
        high, low = _places(encoding)
        if unit[high::size].count(0) < len(unit) // size or 0 in unit[low::size]:
            return None
        try:
            self._add(unit.decode(encoding))
        except UnicodeDecodeError:
            return None
        return end + size

    def _take_wide(self, data: bytes, position: int, encoding: str, *, final: bool) -> int | None:
        """Decodes one line, or a part of it, unless other text begins in it; None if more bytes are needed to decide."""
        size = char_bytes(encoding)
        end = self._wide_end(data, position, encoding, final=final)
        if end is None:
            return None
        unit = data[position:end]
        if len(unit) < size:  # the source ends within a character, or with the line end of another encoding
            self._add(unit.strip(b"\0").decode("ascii", ERRORS))
            return end
        if not self._is_strange(unit, encoding):
            self._add(unit.decode(encoding, ERRORS))
            return end
        if len(data) - position < WINDOW_BYTES + WIDE_PART_BYTES and not final:
            return None
        joint = _joint(unit, encoding)
        other = self._other_text(unit[:joint], size, ends=final and joint is None and end == len(data))
        other = joint if other is None else other
        # The other text may be at the beginning already, in UTF-16 of the other byte order or after an odd number of bytes.
        window = data[position : position + min(WINDOW_BYTES, len(unit) if other is None else other)]
        again = find_wide(window, 0, current=encoding)
        if again and again != Wide(0, 0, encoding):
            # A line end in one byte, which the tool that joined the parts has put between them.
            self._add(unit[: again.start].decode("latin-1") if unit[: again.start] in (b"\n", b"\r") else "")
            self._begin_wide(again.encoding)
            return position + again.start + again.mark_bytes
        if other is not None:
            self._add(unit[: other // size * size].decode(encoding, ERRORS))
            self._wide = None
            return position + other
        self._add(unit.decode(encoding, ERRORS))
        return end

    def _wide_end(self, data: bytes, position: int, encoding: str, *, final: bool) -> int | None:
        """Where a line ends, or a part of it if it is long; before a gap, and never within a character."""
        size, line_end = char_bytes(encoding), "\n".encode(encoding)
        limit = min(position + WIDE_PART_BYTES, len(data))
        gap = data.find(GAP, position, limit)
        end = data.find(line_end, position, limit if gap < 0 else gap + len(GAP))
        while end >= 0 and (end - position) % size:
            end = data.find(line_end, end + 1, limit if gap < 0 else gap + len(GAP))
        if end >= 0:
            return end + size
        if gap >= 0:
            return position + -(-(gap - position) // size) * size  # NULs that complete a character are not of the gap
        if limit - position < WIDE_PART_BYTES:
            return len(data) if final else None
        if size == 2 and not _is_whole(data[limit - 2 : limit], encoding):
            return limit - 2
        return limit

    @staticmethod
    def _is_strange(unit: bytes, encoding: str) -> bool:
        """Whether the bytes may be other text: ASCII in a row, invalid, or with NULs in the wrong places."""
        if RUN.search(unit) or _joint(unit, encoding) is not None:
            return True
        try:
            unit.decode(encoding)
        except UnicodeDecodeError:
            return True
        size = char_bytes(encoding)
        high, low = _places(encoding)
        return unit[low::size].count(0) > unit[high::size].count(0)

    def _other_text(self, unit: bytes, size: int, *, ends: bool) -> int | None:
        """The position at which text in one byte a character begins, or None."""
        encoding = self._wide or ""
        for run in RUN.finditer(unit):
            start = run.start() + -run.start() % size
            reading = unit[start : start + (run.end() - start) // size * size].decode(encoding, "ignore")
            unusual = sum(map(is_common, reading)) < _COMMON_SHARE * ((run.end() - start) // size)
            long_enough = run.end() - start >= LONG_RUN_BYTES or b"\n" in run[0] or (ends and run.end() == len(unit))
            if unusual and long_enough:
                return self._with_beginning(unit, start, size)
        return None

    def _with_beginning(self, unit: bytes, start: int, size: int) -> int:
        """The position of the first character before ASCII that is not UTF-16 either."""
        first = (unit.rfind(b"\0", 0, start) + 1 + size - 1) // size * size
        before = unit[first:start]
        if not before or all(map(is_common, before.decode(self._wide or "", "ignore"))):
            return start
        return first

    # ---- what leaves

    def _add_narrow(self, text: str) -> None:
        self._begun = True
        if not text.isascii() and not self._legacy:
            self._utf8_seen = True
        if not text.isspace():
            self.encodings.setdefault("utf-8")
        self._add(text)

    def _add(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._within_line = text[-1] not in "\r\n"

    def named(self) -> Iterator[str]:
        """The encodings that people should know of: UTF-8 only if there are others beside it."""
        if self._fixed and self._fixed != "utf-8":
            yield self._fixed
        detected = [name for name in self.encodings if name.endswith(")")]
        others = [name for name in self.encodings if name != "utf-8"]
        for name in self.encodings:
            if name != "utf-8" or (
                others and (not self._fixed or self._fixed == "utf-8") and (self._utf8_seen or len(others) > len(detected))
            ):
                yield name


def _last_line_end(data: bytes, start: int, end: int) -> int:
    """The position after the last line end in a part of the data; 0 if there is none."""
    return 1 + max(data.rfind(b"\n", start, end), data.rfind(b"\r", start, end))


def _unfinished(data: bytes) -> int:
    """How many bytes at the end are the beginning of a character in UTF-8."""
    for back in range(1, 4):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < needed else 0
        if byte < 0x80:
            break
    return 0


def _places(encoding: str) -> tuple[int, int]:
    """The positions of the highest and the lowest byte in a code unit."""
    last = char_bytes(encoding) - 1
    return (last, 0) if encoding.endswith("le") else (0, last)


def _joint(unit: bytes, encoding: str) -> int | None:
    """The position at which UTF-16 begins again, or None."""
    pattern = _JOINTS.get(encoding)
    match = pattern.search(unit) if pattern else None
    while pattern and match and match.start() % 2:
        match = pattern.search(unit, match.start() + 1)
    return match.start() if match else None


def _is_whole(unit: bytes, encoding: str) -> bool:
    """Whether a code unit is not the first half of a character of two."""
    return not 0xD800 <= int.from_bytes(unit, "little" if encoding.endswith("le") else "big") < 0xDC00
