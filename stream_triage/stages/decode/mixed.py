"""Bytes of one source in, cut anywhere, in any mixture of encodings; text out, with marks where bytes were no text.

Each decision rests on a bounded part of the bytes that begins at a fixed position, and waits until all of that part is
there. So the text does not depend on how the bytes were cut. Lines of ASCII or valid UTF-8, nearly all lines, need no
decision.
"""

import re
from typing import Final

from stream_triage.stages.decode.damage import Damage
from stream_triage.stages.decode.narrow import NarrowLines
from stream_triage.stages.decode.wide import WINDOW_BYTES, Wide, find_wide, next_sign
from stream_triage.stages.decode.wide_lines import WideLines

__all__ = ["GAP", "PART_BYTES", "MixedText"]

# A crash leaves blocks of NULs where data was not written to the disk yet. No text has so many in a row.
GAP: Final = bytes(64)
# A longer line goes on in parts of about this size.
PART_BYTES: Final = 64 * 1024
_LINE_END: Final = re.compile(rb"[\r\n]")
_NULS: Final = re.compile(rb"\0+")


class MixedText:
    """Decodes UTF-8, UTF-16, UTF-32 and one legacy encoding at a time, and finds out which of them the bytes are in.

    Args:
        damage: Counts the NULs of gaps; they are not in the text, except for one that shows where the gap is within a line.
        narrow: The encoding of the text that is not UTF-16 or UTF-32, a superset of ASCII; None if it is to be found out.

    Attributes:
        marked: Whether the text returned last may contain NULs or `INVALID`.
    """

    def __init__(self, damage: Damage, narrow: str | None = None) -> None:
        self.marked = False
        self._damage = damage
        self._encodings: dict[str, None] = {}  # as they occurred; what is neither UTF-16 nor UTF-32 is empty here
        self._fixed = narrow
        self._narrow = NarrowLines(narrow)
        self._wide: WideLines | None = None
        self._held = b""
        self._in_gap = False
        self._begun = False
        # Whether UTF-16 or UTF-32 ended here without a byte decoded. The same decisions again would go on for ever.
        self._settled = False
        self._within_line = False
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
        self.marked = True
        self._add(self._narrow.decide())
        return self._taken()

    @property
    def waiting(self) -> bool:
        """Whether lines wait until their encoding is decided."""
        return self._narrow.waiting

    def decide(self) -> str:
        """The text of the lines that wait, as far as their encoding can be told by now."""
        self.marked = True
        self._add(self._narrow.decide())
        return self._taken()

    def encodings(self) -> list[str]:
        """The encodings so far, in the order of their first use; none if all was UTF-8."""
        narrow = [self._fixed or "utf-8"]
        detected = [f"{encoding} (detected)" for encoding in dict.fromkeys(self._narrow.detected)]
        if detected:  # then the lines in ASCII are no reason to name UTF-8 beside it
            narrow = [*narrow, *detected] if self._narrow.utf8_seen or len(self._encodings) > 1 else detected
        elif self._fixed not in (None, "utf-8"):
            self._encodings.setdefault("")
        names = [name for found in self._encodings for name in ([found] if found else narrow)]
        return [] if names == ["utf-8"] else names

    def _taken(self) -> str:
        text, self._text = "".join(self._text), []
        return text.replace("\ufeff", "") if "\ufeff" in text else text  # marks at the beginnings of joined files

    def _take(self, data: bytes, *, final: bool) -> int:
        """Decodes what can be decided; returns how many bytes that were."""
        position, self.marked = 0, False
        while position < len(data):
            if self._in_gap or data.startswith(GAP, position):
                self.marked = True
                after: int | None = self._take_gap(data, position)
            elif data[position] == 0 and not final and not data[position:].strip(b"\0"):
                break  # perhaps the beginning of a gap
            elif self._wide:
                self.marked = True
                after = self._take_wide(self._wide, data, position, final=final)
            else:
                after = self._take_certain(data, position)
                if after is None:
                    after = self._take_line(data, position, final=final)
                    self.marked = self.marked or after is not None
            if after is None:
                break
            position = after
        return position

    def _take_gap(self, data: bytes, position: int) -> int:
        """All NULs from here on; what follows may be in any encoding."""
        if not self._in_gap:
            self._add(self._narrow.decide())
            self._in_gap, self._begun, self._settled, self._wide = True, False, False, None
            if self._within_line:
                self._add("\0")
                self._damage.nul_bytes -= 1  # it is counted with the NULs of the text
            else:
                self._damage.damaged_lines += 1
        match = _NULS.match(data, position)
        end = match.end() if match else position
        self._damage.nul_bytes += end - position
        self._in_gap = end == len(data)
        return end

    def _take_wide(self, wide: WideLines, data: bytes, position: int, *, final: bool) -> int | None:
        taken = wide.take(data, position, final=final, settled=self._settled)
        if taken is None:
            return None
        self._settled = taken.end == position
        self._add(taken.text)
        if taken.encoding != wide.encoding:
            self._begin_wide(taken.encoding)
        return taken.end

    def _begin_wide(self, encoding: str | None) -> None:
        self._wide = WideLines(encoding, GAP) if encoding else None
        if encoding:
            self._encodings.setdefault(encoding)

    def _take_certain(self, data: bytes, position: int) -> int | None:
        """Decodes lines up to the first that needs a decision, at high speed; None if that is the first one."""
        if self._narrow.waiting or not self._begun:
            return None
        limit = min(position + PART_BYTES, len(data))
        nul = data.find(b"\0", position, limit)
        if nul >= 0:
            limit = max(nul - 1, position)  # the line end before a NUL may belong to it
        end = _last_line_end(data, position, limit)
        while end > position:
            try:
                text = str(memoryview(data)[position:end], self._narrow.certain_codec)
            except UnicodeDecodeError as error:
                end = _last_line_end(data, position, position + error.start)
                continue
            self._narrow.utf8_seen = self._narrow.utf8_seen or not text.isascii()
            self._settled = False
            self._add_narrow(text)
            return end
        return None

    def _take_line(self, data: bytes, position: int, *, final: bool) -> int | None:
        """Decodes one line, or finds UTF-16 or UTF-32 in it; None if more bytes are needed to decide."""
        end = self._line_end(data, position, final=final)
        if end is None:
            return None
        sign = next_sign(data, position, end)
        if sign < 0 and not self._begun and not data[position:end].strip(b"\r\n"):
            # The first line of UTF-16 may be empty: its line end has a NUL after it.
            if end == len(data) and not final:
                return None
            sign = end if data[end : end + 1] == b"\0" else -1
        if sign >= 0:
            if len(data) < sign + WINDOW_BYTES and not final:
                return None
            window = data[position : sign + WINDOW_BYTES]
            wide = find_wide(window, sign - position, at_start=not self._begun)
            if wide and not (self._settled and wide.start + wide.mark_bytes == 0):
                return position + self._take_before(wide, window)
        self._settled = False
        self._add_narrow(self._narrow.take(data[position:end]), seen=data[position:end])
        return end

    def _take_before(self, wide: Wide, window: bytes) -> int:
        """Decodes the beginning of a line in which UTF-16 or UTF-32 begins; returns its length with the mark."""
        self._settled = False
        if wide.start:
            self._add_narrow(self._narrow.take(window[: wide.start]), seen=window[: wide.start])
        self._add(self._narrow.decide())
        self._begun = True
        self._begin_wide(wide.encoding)
        return wide.start + wide.mark_bytes

    def _line_end(self, data: bytes, position: int, *, final: bool) -> int | None:
        """Where the line, or the part of it before a gap, ends; a very long line is cut, after a space if there is one."""
        match = _LINE_END.search(data, position, position + PART_BYTES)
        end = match.end() if match else len(data) if final and len(data) - position < PART_BYTES else None
        gap = data.find(GAP, position, position + PART_BYTES if end is None else end)
        if gap >= 0:
            return gap
        if end is None and len(data) - position >= PART_BYTES:
            end = position + PART_BYTES
            end = data.rfind(b" ", position, end) + 1 or end - _unfinished(data[position:end])
        return end

    def _add_narrow(self, text: str, seen: bytes = b"") -> None:
        """Adds text; `seen` are the bytes of a line whose text may come later."""
        self._begun = True
        if (text and not text.isspace()) or seen.strip():
            self._encodings.setdefault("")
        self._add(text)

    def _add(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._within_line = text[-1] not in "\r\n"


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
