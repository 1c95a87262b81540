"""Bytes of one source in, cut anywhere; whole lines of text out.

A line ends at LF, CRLF or a bare CR, as in Python's universal newlines, so line numbers agree with most editors. Damage is
repaired visibly and counted: invalid UTF-8 sequences become U+FFFD, NUL becomes U+2400, and a line above the limit is cut
before its last word and ends with an ellipsis.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["LineCutter", "RepairCounts"]

CUT_MARK: Final = " …".encode()
# A cut goes back to the last space within this many bytes. Half a word could be half a secret, which redaction would miss.
CUT_BACK_BYTES: Final = 1024


@dataclass(slots=True)
class RepairCounts:
    """What was repaired in one source so far; the fields are those of `records.Repairs`."""

    invalid_bytes: int = 0
    nul_bytes: int = 0
    cut_lines: int = 0
    dropped_bytes: int = 0


class LineCutter:
    """Collects the bytes of one source and returns its whole lines; lines above `line_bytes` bytes are cut.

    Memory stays below `line_bytes` plus the longest chunk: bytes of an endless line beyond the limit are dropped and counted
    at once.
    """

    __slots__ = ("_line_bytes", "_rest", "bytes_consumed", "repairs")

    def __init__(self, line_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._rest = b""
        self.bytes_consumed = 0
        self.repairs = RepairCounts()

    def feed(self, data: bytes) -> list[str]:
        """Takes the next bytes; returns the lines that they complete, without line ends."""
        self.bytes_consumed += len(data)
        data = self._rest + data if self._rest else data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        # A CR at the very end may be the first half of a CRLF, so it waits for the next byte.
        if end == len(data) and data.endswith(b"\r"):
            end -= 1
            end = max(data.rfind(b"\n", 0, end), data.rfind(b"\r", 0, end)) + 1
        whole, self._rest = data[:end], data[end:]
        lines = self._lines(whole) if whole else []
        self._shorten_rest()
        return lines

    def finish(self) -> list[str]:
        """The last line, if it has no line end."""
        rest, self._rest = self._rest, b""
        return self._lines(rest if rest.endswith(b"\r") else rest + b"\n") if rest else []

    def _lines(self, whole: bytes) -> list[str]:
        if b"\r" in whole:
            whole = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        whole = whole[:-1]
        pieces = whole.split(b"\n")
        if len(max(pieces, key=len)) > self._line_bytes:
            whole = b"\n".join(map(self._cut, pieces))
        return self._decode(whole).split("\n")

    def _cut(self, line: bytes) -> bytes:
        if len(line) <= self._line_bytes:
            return line
        kept = line[: self._line_bytes]
        space = max(kept.rfind(b" ", -CUT_BACK_BYTES), kept.rfind(b"\t", -CUT_BACK_BYTES))
        kept = kept[:space] if space > 0 else _whole_characters(kept)
        self.repairs.cut_lines += 1
        self.repairs.dropped_bytes += len(line) - len(kept)
        return kept + CUT_MARK

    def _shorten_rest(self) -> None:
        keep = self._line_bytes + 1  # one byte more than the limit, so that the line is still known to be too long
        if len(self._rest) > keep:
            # A CR that waits for the next byte must stay, or its line would never end.
            tail = b"\r" if self._rest.endswith(b"\r") else b""
            self.repairs.dropped_bytes += len(self._rest) - keep - len(tail)
            self._rest = self._rest[:keep] + tail

    def _decode(self, whole: bytes) -> str:
        if b"\0" in whole:
            self.repairs.nul_bytes += whole.count(b"\0")
            whole = whole.replace(b"\0", "␀".encode())
        try:
            return whole.decode()
        except UnicodeDecodeError:
            text = whole.decode(errors="replace")
            self.repairs.invalid_bytes += text.count("\ufffd") - whole.count("\ufffd".encode())
            return text


def _whole_characters(data: bytes) -> bytes:
    """Without an unfinished UTF-8 character at the end: the cut made it, and it must not count as damage of the log."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-back] if back < needed else data
        if byte < 0x80:
            break
    return data
