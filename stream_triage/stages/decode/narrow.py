"""Lines in which ASCII characters are single bytes in; their text out, some lines later if UTF-8 fails.

A few lines that are not UTF-8 are damage, many are in another encoding. So such lines wait until that is decided.
"""

from typing import Final

from stream_triage.stages.decode.damage import ERRORS
from stream_triage.stages.decode.detect import MAX_SAMPLE_BYTES, MULTIBYTE, detect, fits, is_promising

__all__ = ["MAX_FAILURES", "STRETCH_BYTES", "STRETCH_LINES", "NarrowLines"]

# Lines wait until there are so many bytes of them, or so many that are not UTF-8.
STRETCH_BYTES: Final = 32 * 1024
STRETCH_LINES: Final = 12
# After so many decisions that lines are damaged and not in another encoding, no more is tried.
MAX_FAILURES: Final = 8


class NarrowLines:
    """Decodes lines in UTF-8 or one legacy encoding at a time.

    Args:
        fixed: The encoding of all lines; without it, UTF-8, or what `detect` says where the bytes are not UTF-8.

    Attributes:
        detected: Encodings that were detected, in this order.
        utf8_seen: Whether characters outside of ASCII occurred in UTF-8.
    """

    def __init__(self, fixed: str | None = None) -> None:
        self.detected: list[str] = []
        self.utf8_seen = False
        self._fixed = self._legacy = fixed
        self._stretch: list[tuple[bytes, bool]] = []  # a line, and whether it is not in the encodings so far
        self._stretch_bytes = self._stretch_lines = self._failures = 0
        self._undecided: list[bytes] = []  # lines of earlier stretches that were too few

    @property
    def waiting(self) -> bool:
        """Whether lines wait for a decision."""
        return bool(self._stretch)

    @property
    def certain_codec(self) -> str:
        """Lines that are valid in this codec need no decision; several of them can be decoded together."""
        return "ascii" if self._legacy else "utf-8"

    def take(self, line: bytes) -> str:
        """The text of a line and of those that waited; empty if it waits itself."""
        text = self._decoded(line)
        if not self._stretch:
            if text is not None:
                return text
            if self._fixed or self._failures >= MAX_FAILURES or not is_promising(line):
                return self._damaged(line)
        self._stretch.append((line, text is None))
        self._stretch_bytes += len(line)
        self._stretch_lines += text is None
        enough = self._stretch_bytes >= STRETCH_BYTES or self._stretch_lines >= STRETCH_LINES
        return self.decide() if enough else ""

    def decide(self) -> str:
        """Decides now whether the lines that wait are damaged or in another encoding; returns their text."""
        if not self._stretch:
            return ""
        odd = [line for line, is_odd in self._stretch if is_odd]
        encoding = detect(odd) or (detect(self._undecided + odd) if self._undecided else None)
        if encoding:
            self._legacy = encoding
            self.detected.append(encoding)
            self._undecided = []
        else:
            self._failures += 1
            if sum(map(len, self._undecided)) < MAX_SAMPLE_BYTES:
                self._undecided += odd
        stretch, self._stretch, self._stretch_bytes, self._stretch_lines = self._stretch, [], 0, 0
        texts = (self._decoded(line) or self._damaged(line) for line, _ in stretch)
        return "".join(texts)

    def _decoded(self, line: bytes) -> str | None:
        """The line in UTF-8 or the legacy encoding; None if it is damaged or in another encoding."""
        if line.isascii():
            return line.decode("ascii")
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
        if self._legacy in MULTIBYTE and max(line) < 0xE0 and (legacy := fits(line, self._legacy)):
            return legacy
        self.utf8_seen = True
        return text

    def _damaged(self, line: bytes) -> str:
        encoding = self._fixed or (self._legacy if self._legacy in MULTIBYTE else None) or "utf-8"
        return line.decode(encoding, ERRORS)
