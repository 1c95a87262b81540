"""Bytes in; where UTF-16 or UTF-32 begins in them, with or without a byte order mark, out.

Log text in UTF-16 or UTF-32 contains NULs in a regular pattern, since most of its characters are ASCII. Binary data and NULs
that a crash left behind do too, so a reading counts only if it gives text: hardly any control characters, some ASCII, and
other characters that are common in some language. Arbitrary bytes read as UTF-16 give rare Chinese characters instead.
"""

import codecs
import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

__all__ = ["RUN", "WINDOW_BYTES", "Wide", "char_bytes", "find_wide", "is_common", "next_sign"]

# A reading is judged by this many bytes.
WINDOW_BYTES: Final = 512
MARKS: Final = (  # UTF-32 first: its little-endian mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# ASCII text in one byte a character. In UTF-16 and UTF-32, a sequence of this length is a sequence of unusual characters.
RUN: Final = re.compile(rb"[\t\n\r\x1b -~]{4,}")
_LONG_RUN: Final = re.compile(rb"[\t\n\r\x1b -~]{12,}")
_BEFORE_LONG_RUN: Final = 8
_SIGN: Final = re.compile(rb"\0|\xff\xfe|\xfe\xff")
_CONTROL: Final = re.compile("[\0-\x06\x0e-\x1a\x1c-\x1f\x7f-\x9f\ue000-\uf8ff\ufffe\uffff]")
# Signs and emoji, which say nothing about a reading.
_NEUTRAL: Final = re.compile("[\u2000-\u2bff\u3000-\u303f\ufe0f\ufffd\U0001f000-\U0001faff]")
_MIN_CHARACTERS: Final = 4
MIN_WITHIN_LINE: Final = 8
_CONTROL_SHARE: Final = 0.02
# Least share of ASCII characters where nothing else speaks for the encoding: at the beginning of a line, and within a line,
# where binary data that was printed can look like a few characters.
_ASCII_SHARE: Final = 0.15
_ASCII_SHARE_WITHIN_LINE: Final = 0.4
_COMMON_SHARE: Final = 0.7


class Wide(NamedTuple):
    """A position in a window at which text in this encoding begins, and the length of the byte order mark there."""

    start: int
    mark_bytes: int
    encoding: str


def char_bytes(encoding: str) -> int:
    """The size of a code unit of UTF-16 or UTF-32."""
    return 4 if encoding.startswith("utf-32") else 2


def next_sign(data: bytes, start: int, end: int) -> int:
    """The position of the first NUL or byte order mark of UTF-16 in a part of the data; -1 if there is none."""
    match = _SIGN.search(data, start, end)
    return match.start() if match else -1


def find_wide(window: bytes, sign: int, *, at_start: bool = False, current: str | None = None) -> Wide | None:
    """Where UTF-16 or UTF-32 begins, or None if the window contains none.

    Args:
        window: A line and what follows it: `WINDOW_BYTES` after `sign`, or less at the end of the source.
        sign: Position of the first NUL or byte order mark in it.
        at_start: Whether the window is the beginning of the source, where a mark needs no confirmation.
        current: The encoding of the text before the window, which needs less confirmation than another one.
    """
    best, best_score = None, 0.0
    if current:
        best, best_score = Wide(0, 0, current), _score(_excerpt(window, current), current, 0.0)
    for candidate in _candidates(window, sign):
        start, mark_bytes, encoding = candidate
        if at_start and start == 0 and mark_bytes and _is_mark(window, encoding):
            return candidate
        if mark_bytes and start == 0 and len(window) == mark_bytes:
            return candidate  # a mark alone at the end
        excerpt = _excerpt(window[start + mark_bytes :], encoding)
        ascii_share = _ASCII_SHARE_WITHIN_LINE if start else 0.0 if mark_bytes else _ASCII_SHARE
        if start and len(excerpt) < MIN_WITHIN_LINE * char_bytes(encoding):
            continue
        score = _score(excerpt, encoding, ascii_share)
        if score > best_score:
            best, best_score = candidate, score
    return best


def is_common(character: str) -> bool:
    """Whether a character is ASCII, a letter of an alphabet, or one of the usual ones of Chinese, Japanese or Korean."""
    return character < "\u0700" or character in _common_characters()


def _candidates(window: bytes, sign: int) -> Iterator[Wide]:
    for mark, encoding in MARKS:
        if window.startswith(mark, sign):
            yield Wide(sign, len(mark), encoding)
    for encoding in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"):
        yield Wide(0, 0, encoding)
    # After other text on the same line: little-endian has its first NUL after the first character, big-endian before it.
    if sign > 0:
        yield Wide(sign - 1, 0, "utf-32-le")
        yield Wide(sign - 1, 0, "utf-16-le")
        yield Wide(sign, 0, "utf-32-be")
        yield Wide(sign, 0, "utf-16-be")
    yield Wide(sign + 1, 0, "utf-16-le")  # the NUL belongs to the line end before


def _is_mark(window: bytes, encoding: str) -> bool:
    """The mark of UTF-32 is also that of UTF-16 with a NUL after it."""
    if encoding != "utf-32-le":
        return True
    try:
        _strict(window[: len(window) // 4 * 4], encoding)
    except UnicodeDecodeError:
        return False
    return True


def _excerpt(data: bytes, encoding: str) -> bytes:
    """The first bytes, up to text in single bytes, which another writer may have appended; at least 8 bytes."""
    data = data[:WINDOW_BYTES]
    if run := _LONG_RUN.search(data, _BEFORE_LONG_RUN):
        data = data[: run.start()]
    return data[: len(data) // char_bytes(encoding) * char_bytes(encoding)]


def _score(data: bytes, encoding: str, ascii_share: float) -> float:
    """How well the bytes can be read so, up to 1; 0 if the reading gives no text."""
    if data.count(0) < ascii_share / 2 * len(data):  # every ASCII character has a NUL at least
        return 0.0
    try:
        text = _strict(data, encoding)
    except UnicodeDecodeError:
        return 0.0
    others = [character for character in text if character >= "\x80"]
    controls, neutral = len(_CONTROL.findall(text)), len(_NEUTRAL.findall(text))
    common = neutral + sum(map(is_common, _NEUTRAL.sub("", "".join(others))))
    enough = len(text) >= (_MIN_CHARACTERS if ascii_share else 1)
    if not enough or controls > _CONTROL_SHARE * len(text) or len(text) - len(others) < ascii_share * len(text):
        return 0.0
    if common - neutral < _COMMON_SHARE * (len(others) - neutral):
        return 0.0
    return (len(text) - len(others) + common - controls) / len(text)


def _strict(data: bytes, encoding: str) -> str:
    return codecs.getincrementaldecoder(encoding)("strict").decode(data)  # the window may end within a surrogate pair


@cache
def _common_characters() -> frozenset[str]:
    """Signs, kana, Hangul, and the first level of the Chinese and Japanese standards, which holds the usual characters."""
    parts = (
        ("gb2312", range(0xA1, 0xD8), 0xA1),
        ("big5", range(0xA1, 0xC7), 0x40),
        ("euc_jp", range(0xA1, 0xD0), 0xA1),
        ("euc_kr", range(0xA1, 0xC9), 0xA1),
    )
    thai = (chr(code) for code in range(0x0E01, 0x0E5C))
    return frozenset(thai).union(
        bytes((lead, trail)).decode(codec, "ignore")
        for codec, leads, first in parts
        for lead in leads
        for trail in range(first, 0xFF)
    )
