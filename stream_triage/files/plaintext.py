"""Bytes of a file in; the same bytes in chunks out if they are text, otherwise `NotText`."""

import re
from collections.abc import Iterator

from stream_triage.files.kinds import kind_of_content
from stream_triage.files.unpack import Reader
from stream_triage.stages.decode import AUTO, GAP, Decoder

__all__ = ["CHUNK_BYTES", "NotText", "require_text", "text_chunks"]

CHUNK_BYTES = 256 * 1024
SNIFF_BYTES = 8 * 1024
_UNKNOWN_DATA = "is binary data of no known kind and may be a log; convert it to text, or name it in input.pass_over"
MAX_GAP_BYTES = 16 * 1024 * 1024  # of NULs before the text
_LIVE_BYTES = 4 * 1024  # held back of a pipe, since the run id is made from as much

_CONTROL = re.compile("[\0-\x07\x0b\x0e-\x1a\x1c-\x1f\x7f␀]")  # with the sign that `Decoder` puts in place of NUL
_CONTROL_SHARE = 0.10
_INVALID_SHARE = 0.20  # of random bytes, about 0.4 are invalid UTF-8 and 0.1 are control characters
_INVALID_CONTROL_SHARE = 0.02  # text in an 8-bit alphabet is invalid UTF-8 too, but has next to no control characters


class NotText(Exception):
    """Content that is not text. The message says what it is, `no_log` whether it certainly contains no log."""

    def __init__(self, reason: str, *, no_log: bool = False) -> None:
        super().__init__(reason)
        self.no_log = no_log


def require_text(head: bytes, encoding: str = AUTO, name: str = "") -> None:
    """Raises `NotText` if content with this beginning is not a log. Only 8 KiB count, after NULs at the beginning.

    Binary data is recognised by the magic bytes of other formats, by a tenth or more of NUL and other control characters, or
    by many invalid byte sequences together with some control characters. UTF-16 and UTF-32 are text, with or without a byte
    order mark. A crash may leave blocks of NULs in a log, which do not count. The name counts as in `kind_of_content`.
    """
    if kind := kind_of_content(head, name):
        raise NotText(kind.reason, no_log=kind.no_log)
    body = head.lstrip(b"\0")[:SNIFF_BYTES] if head.startswith(GAP) else head[:SNIFF_BYTES]
    if head and not body:
        raise NotText(_UNKNOWN_DATA)
    decoder = Decoder(encoding)
    text = decoder.feed(body) + decoder.finish()
    controls, invalid = len(_CONTROL.findall(text)), decoder.damage.invalid_bytes
    if controls >= _CONTROL_SHARE * len(text) > 0:
        raise NotText(_UNKNOWN_DATA)
    if invalid >= _INVALID_SHARE * len(text) and controls >= _INVALID_CONTROL_SHARE * len(text) > 0:
        raise NotText(_UNKNOWN_DATA)


def text_chunks(reader: Reader, encoding: str = AUTO, live: bool = False, name: str = "") -> Iterator[bytes]:
    """The bytes of one text file: at least one chunk, and the first has 4 KiB if there are as many.

    With `live`, later chunks are yielded as soon as their bytes come.

    Raises:
        NotText: If the content is binary data; before the first chunk.
        Damage: If the file cannot be read any further; after all bytes before it.
    """
    require_text(_head(reader, _LIVE_BYTES if live else SNIFF_BYTES), encoding, name)
    yielded = False
    while True:
        raw = reader.read1(CHUNK_BYTES) if live and yielded else reader.read(CHUNK_BYTES if not live else _LIVE_BYTES)
        if raw or not yielded:
            yielded = True
            yield raw
        if not raw:
            break


def _head(reader: Reader, size: int) -> bytes:
    """The first bytes; more of them if the content begins with NULs, up to `MAX_GAP_BYTES`."""
    head = reader.peek(size)
    while head.startswith(GAP) and len(head.lstrip(b"\0")) < size <= len(head) < MAX_GAP_BYTES:
        missing = size - len(head.lstrip(b"\0"))
        longer = reader.peek(max(len(head) + missing, 2 * len(head) if missing == size else 0))
        if len(longer) == len(head):
            break
        head = longer
    return head
