"""Raw bytes in; what can be told of them without the bytes before and after: the text of a line, a line end that is missing.

For code that must cut or join bytes before they are decoded. It may be wrong about characters outside of ASCII in UTF-16.
"""

import re
from typing import Final

from stream_triage.stages.decode.decoder import AUTO
from stream_triage.stages.decode.wide import find_wide

__all__ = ["line_text", "missing_line_end", "raw_lines"]

# In UTF-16 and UTF-32, NULs stand before each byte of a big-endian line end, and after each of a little-endian one.
_WIDE_LINE: Final = re.compile(rb"\0[^\r\n]*(?:\r\0{0,3}\n|[\r\n]|\Z)|[^\r\n]*(?:\r\0{0,3}\n\0{0,3}|[\r\n]\0{0,3}|\Z)")
_LINE_END: Final = re.compile(rb"[\r\n]\0{0,3}\Z")
_WIDE_ENDS: Final = (
    (re.compile(rb"(?:[^\0]\0{3}){2}\Z"), b"\n\0\0\0"),
    (re.compile(rb"(?:\0{3}[^\0]){2}\Z"), b"\0\0\0\n"),
    (re.compile(rb"(?:[^\0]\0){2}\Z"), b"\n\0"),
    (re.compile(rb"(?:\0[^\0]){2}\Z"), b"\0\n"),
)


def raw_lines(data: bytes) -> list[bytes]:
    r"""The lines of text in any encoding, with their line ends. Joined, they are the data.

    >>> raw_lines(b"a\r\nb"), raw_lines("a\nb".encode("utf-16-le"))
    ([b'a\r\n', b'b'], [b'a\x00\n\x00', b'b\x00'])
    """
    if b"\0" not in data:
        return data.splitlines(keepends=True)
    return [line for line in _WIDE_LINE.findall(data) if line]


def line_text(line: bytes, encoding: str = AUTO) -> str:
    r"""The text of one raw line without its line end, to be compared with patterns.

    >>> line_text("done\r\n".encode("utf-16-le")), line_text(b"caf\xe9\n", "cp1252")
    ('done', 'café')
    """
    sign = line.find(b"\0")
    wide = find_wide(line, sign, at_start=True) if sign >= 0 else None
    if wide:
        before = line[: wide.start].replace(b"\0", b"").decode(errors="replace")
        text = before + line[wide.start + wide.mark_bytes :].decode(wide.encoding, "ignore")
    else:
        text = line.replace(b"\0", b"").decode("utf-8" if encoding == AUTO else encoding, "replace")
    return text.lstrip("\ufeff").rstrip("\r\n")


def missing_line_end(text: bytes) -> bytes:
    r"""The line end to put between this text and what follows, in the encoding of the text; empty if it ends with one.

    >>> missing_line_end(b"done"), missing_line_end(b"done\r\n"), missing_line_end("done".encode("utf-16-le"))
    (b'\n', b'', b'\n\x00')
    """
    if not text or _LINE_END.search(text, max(len(text) - 4, 0)):
        return b""
    return next((line_end for pattern, line_end in _WIDE_ENDS if pattern.search(text, max(len(text) - 8, 0))), b"\n")
