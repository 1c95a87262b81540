"""Bytes in UTF-16 or UTF-32 in; their text out, and where other text begins in them."""

import re
from typing import Final, NamedTuple

from stream_triage.stages.decode.damage import ERRORS
from stream_triage.stages.decode.wide import RUN, WINDOW_BYTES, Wide, char_bytes, find_wide, is_common

__all__ = ["Taken", "WideLines"]

# A line is decoded in parts of at most this size.
PART_BYTES: Final = 1024
BLOCK_BYTES: Final = 64 * 1024
# ASCII of this length is text, whatever comes after it.
LONG_RUN_BYTES: Final = 12
_COMMON_SHARE: Final = 0.6
# Where UTF-16 stops and begins again at another position: a mark, or a line end in one byte, which tools put between files.
_JOINTS: Final = {
    "utf-16-le": re.compile(rb"[\r\n]?\xff\xfe|\xfe\xff|[\r\n](?:[^\0]\0){3}"),
    "utf-16-be": re.compile(rb"[\r\n]?\xfe\xff|\xff\xfe|[\r\n](?:\0[^\0]){3}"),
}


class Taken(NamedTuple):
    """The text of the bytes up to `end`, and the encoding of those after it; None if it is not UTF-16 or UTF-32."""

    text: str
    end: int
    encoding: str | None


class WideLines:
    """Decodes text in one of the encodings. Keeps no state."""

    def __init__(self, encoding: str, gap: bytes) -> None:
        """`gap` is a number of NULs that are no text."""
        self.encoding = encoding
        self._size = char_bytes(encoding)
        self._line_end = "\n".encode(encoding)
        self._gap = gap
        little = encoding.endswith("le")
        self._high, self._low = (self._size - 1, 0) if little else (0, self._size - 1)
        self._byte_order: Final = "little" if little else "big"

    def take(self, data: bytes, position: int, *, final: bool, settled: bool) -> Taken | None:
        """Decodes some lines or a part of one; None if more bytes are needed to decide what they are.

        With `settled`, the bytes are in this encoding; without, none may be taken, if other text begins with the first one.
        """
        return self._take_latin(data, position) or self._take_part(data, position, final=final, settled=settled)

    def _take_latin(self, data: bytes, position: int) -> Taken | None:
        """Decodes lines in which nothing is strange at high speed: the high bytes are NUL, the low ones are not."""
        end = data.rfind(self._line_end, position, position + BLOCK_BYTES)
        if end < 0 or (end - position) % self._size:
            return None
        end += self._size
        block = data[position:end]
        if block[self._high :: self._size].count(0) < len(block) // self._size or 0 in block[self._low :: self._size]:
            return None
        try:
            return Taken(block.decode(self.encoding), end, self.encoding)
        except UnicodeDecodeError:
            return None

    def _take_part(self, data: bytes, position: int, *, final: bool, settled: bool) -> Taken | None:
        end = self._part_end(data, position, final=final)
        if end is None:
            return None
        part = data[position:end]
        if len(part) < self._size:  # the source ends within a character, or with the line end of another encoding
            return Taken(part.strip(b"\0").decode("ascii", ERRORS), end, self.encoding)
        if not settled and self._is_strange(part):
            if len(data) - position < WINDOW_BYTES + PART_BYTES and not final:
                return None
            if other := self._take_before_other(data, position, part, ends=final and end == len(data)):
                return other
        return Taken(part.decode(self.encoding, ERRORS), end, self.encoding)

    def _take_before_other(self, data: bytes, position: int, part: bytes, *, ends: bool) -> Taken | None:
        """Decodes what comes before other text in this part; None if there is none."""
        joint = self._joint(part)
        other = self._narrow_start(part[:joint], ends=ends and joint is None)
        other = joint if other is None else other
        # The other text may be at the beginning already, in UTF-16 of the other byte order or after an odd number of bytes.
        window = data[position : position + min(WINDOW_BYTES, len(part) if other is None else other)]
        again = find_wide(window, 0, current=self.encoding)
        if again and again != Wide(0, 0, self.encoding):
            skipped = part[: again.start]  # a line end in one byte is one
            text = skipped.decode("ascii") if skipped in (b"\n", b"\r") else ""
            return Taken(text, position + again.start + again.mark_bytes, again.encoding)
        if other is None:
            return None
        return Taken(part[: other // self._size * self._size].decode(self.encoding, ERRORS), position + other, None)

    def _part_end(self, data: bytes, position: int, *, final: bool) -> int | None:
        """Where a line ends, or a part of it if it is long; before a gap, and never within a character."""
        limit = min(position + PART_BYTES, len(data))
        gap = data.find(self._gap, position, limit)
        search_end = limit if gap < 0 else gap + len(self._gap)
        end = data.find(self._line_end, position, search_end)
        while end >= 0 and (end - position) % self._size:
            end = data.find(self._line_end, end + 1, search_end)
        if end >= 0:
            return end + self._size
        if gap >= 0:  # NULs that complete a character are not of the gap
            return position + -(-(gap - position) // self._size) * self._size
        if limit - position < PART_BYTES:
            return len(data) if final else None
        return limit - self._size if self._ends_within_pair(data[limit - self._size : limit]) else limit

    def _ends_within_pair(self, unit: bytes) -> bool:
        """Whether a code unit of UTF-16 is the first half of a character of two."""
        high_surrogate = range(0xD800, 0xDC00)
        return self._size == 2 and int.from_bytes(unit, self._byte_order) in high_surrogate

    def _is_strange(self, part: bytes) -> bool:
        """Whether the bytes may be other text: ASCII in a row, invalid, or with NULs in the wrong places."""
        if RUN.search(part) or self._joint(part) is not None:
            return True
        try:
            part.decode(self.encoding)
        except UnicodeDecodeError:
            return True
        return part[self._low :: self._size].count(0) > part[self._high :: self._size].count(0)

    def _joint(self, part: bytes) -> int | None:
        """The position at which UTF-16 begins again, or None."""
        pattern = _JOINTS.get(self.encoding)
        match = pattern.search(part) if pattern else None
        while pattern and match and match.start() % self._size:
            match = pattern.search(part, match.start() + 1)
        return match.start() if match else None

    def _narrow_start(self, part: bytes, *, ends: bool) -> int | None:
        """The position at which text begins whose ASCII characters are single bytes, or None."""
        for run in RUN.finditer(part):
            start = run.start() + -run.start() % self._size
            characters = (run.end() - start) // self._size
            reading = part[start : start + characters * self._size].decode(self.encoding, "ignore")
            is_text = run.end() - start >= LONG_RUN_BYTES or b"\n" in run[0] or (ends and run.end() == len(part))
            if is_text and sum(map(is_common, reading)) < _COMMON_SHARE * characters:
                return self._with_beginning(part, start)
        return None

    def _with_beginning(self, part: bytes, start: int) -> int:
        """The position of the first character before ASCII that is not UTF-16 either."""
        first = -(-(part.rfind(b"\0", 0, start) + 1) // self._size) * self._size
        before = part[first:start].decode(self.encoding, "ignore")
        return start if all(map(is_common, before)) else first
