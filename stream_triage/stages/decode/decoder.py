"""Bytes of one source in, cut anywhere; its text out. What is no text is replaced visibly and counted."""

import codecs
import re
from copy import deepcopy
from typing import Final, Protocol

from stream_triage.stages.decode.damage import ERRORS, INVALID, Damage
from stream_triage.stages.decode.mixed import MixedText

__all__ = ["AUTO", "Decoder"]

AUTO: Final = "auto"
_LINE_END: Final = re.compile("[\r\n]")
# Their ASCII bytes can be halves of other characters.
_STATEFUL: Final = ("hz", "iso2022")


class Decoder:
    """Converts the bytes of one source to text.

    Args:
        encoding: The encoding of the bytes, or `auto`: UTF-8, UTF-16 or UTF-32 as they come, with or without byte order
            marks, and what is not UTF-8 as charset-normalizer says, if that is certain enough.

    Attributes:
        bytes_consumed: How many bytes were fed.
        damage: What was replaced.
    """

    __slots__ = ("_damaged", "_reader", "bytes_consumed", "damage")

    def __init__(self, encoding: str = AUTO) -> None:
        self.bytes_consumed = 0
        self.damage = Damage()
        self._damaged = False  # the line that is not complete yet
        self._reader: _Reader = _reader(encoding, self.damage)

    @property
    def encoding(self) -> str:
        """The encodings so far, in the order of their first use, with commas between; empty for UTF-8."""
        return ", ".join(self._reader.encodings())

    def feed(self, data: bytes) -> str:
        """The text that is certain now: with `auto`, whole lines whose encoding is decided."""
        self.bytes_consumed += len(data)
        return self._repaired(self._reader.feed(data))

    def finish(self) -> str:
        """The rest of the text."""
        return self._repaired(self._reader.finish())

    def decided(self) -> tuple["Decoder", str]:
        """The text of the lines that wait until their encoding is decided, and a decoder that has decided now.

        This decoder stays as it is, since its decision must not depend on when somebody asks.
        """
        if not self._reader.waiting:
            return self, ""
        decided = deepcopy(self)
        return decided, decided._repaired(decided._reader.decide())

    def _repaired(self, text: str) -> str:
        if not self._reader.marked or ("\0" not in text and INVALID not in text):
            self._damaged = self._damaged and not _LINE_END.search(text)
            return text
        self.damage.invalid_bytes += text.count(INVALID)
        self.damage.nul_bytes += text.count("\0")
        for i, line in enumerate(_LINE_END.split(text)):
            was_damaged = self._damaged and i == 0
            self._damaged = was_damaged or "\0" in line or INVALID in line
            self.damage.damaged_lines += self._damaged and not was_damaged
        return text.replace("\0", "␀").replace(INVALID, "\ufffd")


class _Reader(Protocol):
    @property
    def marked(self) -> bool:
        """Whether the text returned last may contain `INVALID` or NULs."""

    @property
    def waiting(self) -> bool:
        """Whether lines wait until their encoding is decided."""

    def feed(self, data: bytes) -> str: ...

    def decide(self) -> str:
        """The text of the lines that wait."""

    def finish(self) -> str: ...

    def encodings(self) -> list[str]: ...


class _OneEncoding:
    """Decodes an encoding in which a byte means nothing without those before it, such as ISO-2022-JP or UTF-16."""

    marked = True
    waiting = False

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)(ERRORS)

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(data).replace("\ufeff", "")

    def decide(self) -> str:
        return ""

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)

    def encodings(self) -> list[str]:
        return [self._encoding]


def _reader(encoding: str, damage: Damage) -> _Reader:
    if encoding == AUTO:
        return MixedText(damage)
    name = codecs.lookup(encoding).name
    sample = bytes((*b"\t\n\r\x1b", *range(0x20, 0x7F)))
    is_superset = sample.decode(name, "replace") == sample.decode("ascii")
    if not is_superset or name.startswith((*_STATEFUL, "utf-16", "utf-32")):
        return _OneEncoding(name)
    return MixedText(damage, name)
