"""Bytes of a file in; UTF-8 text in chunks out, or `NotText`."""

import codecs
from collections.abc import Iterator

from stream_triage.files.kinds import kind_of_content
from stream_triage.files.unpack import Damage, Reader

__all__ = ["CHUNK_BYTES", "Decoder", "NotText", "binary_reason", "text_chunks"]

CHUNK_BYTES = 256 * 1024
SNIFF_BYTES = 8 * 1024
_LIVE_BYTES = 4 * 1024  # held back of a pipe, since the run id is made from as much

_BOMS = (  # UTF-32 first: its mark begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, ""),
)
_CONTROL = bytes({*range(32), 127} - set(b"\b\t\n\f\r\x1b"))
_CONTROL_SHARE = 0.10
_INVALID_SHARE = 0.20  # of random bytes, about 0.4 are invalid UTF-8 and 0.1 are control characters
_INVALID_CONTROL_SHARE = 0.02  # text in an 8-bit alphabet is invalid UTF-8 too, but has next to no control characters


class NotText(Exception):
    """Content that is not text. The message says what it is, `no_log` whether it certainly contains no log."""

    def __init__(self, reason: str, *, no_log: bool = False) -> None:
        super().__init__(reason)
        self.no_log = no_log


def _invalid(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


# What cannot be transcoded becomes the byte 0xFF, which is then counted and shown like any other invalid UTF-8.
codecs.register_error("stream-triage-invalid", _invalid)


class Decoder:
    """Converts text with a byte order mark to UTF-8 without one. Text without a mark is not changed.

    `mark_bytes` is the length of the mark, 0 if there is none or not enough was fed.
    """

    def __init__(self) -> None:
        self._start: bytes | None = b""  # the bytes so far, while they may be part of a mark
        self._decoder: codecs.IncrementalDecoder | None = None
        self.mark_bytes = 0

    @property
    def transcodes(self) -> bool:
        """Whether the text is UTF-16 or UTF-32, so that its size changes."""
        return self._decoder is not None

    def feed(self, raw: bytes, final: bool = False) -> bytes:
        """The next bytes as UTF-8. An incomplete character at their end waits for the rest, unless they are `final`."""
        if self._start is not None:
            raw = self._start + raw
            if not final and any(raw != mark and mark.startswith(raw) for mark, _ in _BOMS):
                self._start = raw
                return b""
            self._start = None
            raw = self._without_mark(raw)
        if self._decoder is None:
            return raw
        return self._decoder.decode(raw, final).encode("utf-8", "surrogateescape")

    def _without_mark(self, raw: bytes) -> bytes:
        for mark, encoding in _BOMS:
            if raw.startswith(mark):
                self.mark_bytes = len(mark)
                if encoding:
                    self._decoder = codecs.getincrementaldecoder(encoding)("stream-triage-invalid")
                return raw[len(mark) :]
        return raw


def binary_reason(head: bytes) -> str | None:
    """Why content with this beginning is not a log, or None if it is text. Only the first 8 KiB count.

    Binary data is recognised by the magic bytes of other formats, by a tenth or more of NUL and other control characters, or
    by many invalid UTF-8 sequences together with some control characters. A crash may leave a few NULs in a log.
    """
    head = head[:SNIFF_BYTES]
    if kind := kind_of_content(head):
        return kind.reason
    text = Decoder().feed(head)
    controls = len(text) - len(text.translate(None, _CONTROL))
    invalid = text.decode("utf-8", "replace").count("�")
    if controls >= _CONTROL_SHARE * len(text) > 0:
        return "is binary data, not a log"
    if invalid >= _INVALID_SHARE * len(text) and controls >= _INVALID_CONTROL_SHARE * len(text) > 0:
        return "is binary data, not a log"
    return None


def text_chunks(reader: Reader, live: bool = False) -> Iterator[bytes]:
    """The text of one file: at least one chunk, and the first has the 4 KiB that a run id needs if there are as many.

    With `live`, later chunks are yielded as soon as their bytes come.

    Raises:
        NotText: If the content is binary data; before the first chunk.
        Damage: If the file cannot be read any further; after all text before it.
    """
    head = reader.peek(_LIVE_BYTES if live else SNIFF_BYTES)
    if reason := binary_reason(head):
        raise NotText(reason)
    decoder = Decoder()
    yielded = False
    damage: Damage | None = None
    while damage is None:
        try:
            raw = reader.read1(CHUNK_BYTES) if live and yielded else reader.read(CHUNK_BYTES if not live else _LIVE_BYTES)
        except Damage as error:
            damage, raw = error, b""
        text = decoder.feed(raw, final=not raw)
        if text or not (raw or yielded or damage):
            yielded = True
            yield text
        if not raw:
            break
    if damage:
        raise damage
