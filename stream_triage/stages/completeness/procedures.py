"""Lines of one source with their clues in, in order; the procedures of 3GPP that were begun and not answered, out.

Requests are kept by procedure and UE. One line of a request or its answer may name the UE and another may not, so
matching is lenient: an answer without a UE closes all requests of its procedure.
"""

import re
from typing import Final

from stream_triage.stages.completeness.clock import clock
from stream_triage.stages.completeness.clues import Clues
from stream_triage.stages.completeness.tester import Request

__all__ = ["MAX_OPEN", "OpenProcedures"]

MAX_OPEN: Final = 1024
# A line may name a UE by number and by RNTI; the RNTI is the same in all programs.
_RNTI: Final = re.compile(r"\b(?:rnti|RNTI)\s*[:=\[]?\s*(?:0x)?([0-9a-f]*\d[0-9a-f]*)\b")
_UE: Final = re.compile(r"\b(?:UE|ue)(?:[ _-]?[Ii][Dd])?\s*[:=\[#]?\s*([0-9a-f]*\d[0-9a-f]*)\b")


class OpenProcedures:
    """Procedures of one source, by the indexes of `PROCEDURES`. Bounded."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, str], Request] = {}
        """Requests without an answer, by procedure and UE ("" if the line names none)."""
        self.begun: set[int] = set()
        self.closed: set[int] = set()
        """Procedures that this log completed at least once."""
        self.repeated: set[int] = set()
        """Procedures that one UE began again without an answer."""
        self.unasked: dict[int, int] = {}
        """Procedures whose answer came before any request, with its line."""

    def take(self, line: str, clue: Clues, number: int) -> None:
        """Takes the next line that opens or closes something."""
        match = _RNTI.search(line) or _UE.search(line)
        ue = match[1].lstrip("0") or "0" if match else ""
        if clue.gone:
            for key in [key for key in self.open if not ue or key[1] in ("", ue)]:
                del self.open[key]
        for index, opens in clue.events:
            if opens:
                self._begin(index, ue, Request(number, clock(line)))
            elif self._close(index, ue):
                self.closed.add(index)
            elif index not in self.begun and not clue.failure:
                self.unasked.setdefault(index, number)

    def _begin(self, index: int, ue: str, request: Request) -> None:
        self.begun.add(index)
        if (index, ue) in self.open:
            self.repeated.add(index)
        elif not ue and any(key[0] == index for key in self.open):
            return  # the same request, told by another layer
        self.open.pop((index, ""), None)
        if len(self.open) < MAX_OPEN:
            self.open[index, ue] = request

    def _close(self, index: int, ue: str) -> bool:
        """Closes the requests that an answer may belong to; false if there is none."""
        mine = [key for key in self.open if key[0] == index and (not ue or key[1] in ("", ue))]
        # A program may use the number of the UE in one line and its RNTI in another.
        others = [key for key in self.open if key[0] == index and len(key[1]) != len(ue)]
        for key in mine or others[:1]:
            del self.open[key]
        return bool(mine or others)
