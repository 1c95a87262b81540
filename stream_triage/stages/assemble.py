"""Text of one source in, cut anywhere; whole lines out.

A line ends at LF, CRLF or a bare CR, as in Python's universal newlines, so line numbers agree with most editors. CR CR LF
is one line end, too: terminals and Telnet clients write it for CRLF. A line above the limit is cut before its last word and
ends with an ellipsis.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["CutCounts", "LineCutter"]

CUT_MARK: Final = " …"
# A cut goes back to the last space within this many bytes. Half a word could be half a secret, which redaction would miss.
CUT_BACK_BYTES: Final = 1024
_CRS_LF: Final = re.compile("\r{1,2}\n")


@dataclass(slots=True)
class CutCounts:
    """What was cut off in one source so far; the fields are those of `records.Repairs`."""

    cut_lines: int = 0
    dropped_bytes: int = 0


class LineCutter:
    """Collects the text of one source and returns its whole lines; lines above `line_bytes` bytes in UTF-8 are cut.

    Memory stays below `line_bytes` characters plus the longest chunk: text of an endless line beyond the limit is dropped
    and counted at once.
    """

    __slots__ = ("_line_bytes", "_rest", "cuts")

    def __init__(self, line_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._rest = ""
        self.cuts = CutCounts()

    def feed(self, text: str) -> list[str]:
        """Takes the next text; returns the lines that it completes, without line ends."""
        text = self._rest + text if self._rest else text
        end = len(text) if text.endswith("\n") else max(text.rfind("\n"), text.rfind("\r")) + 1
        # A CR at the very end may belong to a CRLF, and two of them to a CR CR LF, so they wait for the next character.
        waiting = 2 if text.endswith("\r\r") else int(text.endswith("\r"))
        if waiting and end == len(text):
            end -= waiting
            end = max(text.rfind("\n", 0, end), text.rfind("\r", 0, end)) + 1
        whole, self._rest = text[:end], text[end:]
        lines = self._lines(whole) if whole else []
        self._shorten_rest()
        return lines

    def finish(self) -> list[str]:
        """The last line, if it has no line end."""
        rest, self._rest = self._rest, ""
        return self._lines(rest if rest.endswith("\r") else rest + "\n") if rest else []

    def _lines(self, whole: str) -> list[str]:
        if "\r" in whole:
            whole = _CRS_LF.sub("\n", whole).replace("\r", "\n")
        lines = whole.split("\n")
        lines.pop()  # what follows the last line end
        # A character has at most four bytes.
        if len(max(lines, key=len)) * (1 if whole.isascii() else 4) > self._line_bytes:
            lines = [self._cut(line) for line in lines]
        return lines

    def _cut(self, line: str) -> str:
        data = line.encode()
        if len(data) <= self._line_bytes:
            return line
        kept = data[: self._line_bytes]
        space = max(kept.rfind(b" ", -CUT_BACK_BYTES), kept.rfind(b"\t", -CUT_BACK_BYTES))
        shown = (kept[:space] if space > 0 else kept).decode(errors="ignore")  # the cut may be within a character
        self.cuts.cut_lines += 1
        self.cuts.dropped_bytes += len(data) - len(shown.encode())
        return shown + CUT_MARK

    def _shorten_rest(self) -> None:
        keep = self._line_bytes + 1  # one more than the limit, so that the line is still known to be too long
        if len(self._rest) > keep:
            # A CR that waits for the next character must stay, or its line would never end.
            tail = "\r\r" if self._rest.endswith("\r\r") else "\r" if self._rest.endswith("\r") else ""
            dropped = self._rest[keep : max(keep, len(self._rest) - len(tail))]
            self.cuts.dropped_bytes += len(dropped.encode())
            self._rest = self._rest[: min(keep, len(self._rest) - len(tail))] + tail
