"""Rows of statistics tables in, the values that show a bad link out: largest and its line, mean, latest ones.

What a row of GETSTATS means depends on the heading above it. Values are turned so that a larger one is worse: rates and CQI
count negative. Long counters count by their number of digits, as masking counts numbers by their magnitude.
"""

import re
from typing import Final

__all__ = ["Tables", "Values"]

# Latest values kept of each kind.
LATEST: Final = 8

_CQI: Final = re.compile(r"CQI: (\d{1,2})")


class Values:
    """Values of one kind: the largest and its line, their sum and number, and the latest ones."""

    __slots__ = ("count", "largest", "latest", "line", "total")

    def __init__(self) -> None:
        self.largest, self.line, self.total, self.count = -1e9, 0, 0.0, 0
        self.latest: list[float] = []

    def add(self, value: float, line: int) -> None:
        """Adds one value; of equal ones, the first line counts as that of the largest."""
        if value > self.largest:
            self.largest, self.line = value, line
        self.total += value
        self.count += 1
        self.latest = [*self.latest[1 - LATEST :], value]


class Tables:
    """Values of one source by name, and the heading that the next rows belong to."""

    __slots__ = ("_heading", "values")

    def __init__(self) -> None:
        self.values: dict[str, Values] = {}
        self._heading = ""

    def leave(self) -> None:
        """A record begins: rows that follow belong to no earlier heading."""
        self._heading = ""

    def counter(self, name: str, line: str, number: int) -> None:
        """A counter of the radio unit, printed at the end of a line of its own."""
        digits = line.rpartition(" ")[2]
        if digits.isdigit():
            self._add(name, _magnitude(digits), number)

    def take(self, table: str, line: str, number: int) -> None:
        """One line of a table, as `Signal.table` names it."""
        if table == "row":
            self._row(line, number)
        elif table == "rate":
            words = line.split()
            if self._heading in ("dl", "ul") and len(words) > 1 and words[1].isdigit():
                self._add(f"{self._heading}_rate", -_magnitude(words[1]), number)
        elif table in ("silent", "heard"):
            if match := _CQI.search(line):
                self._add("cqi", -float(match[1]), number)
        else:
            self._heading = table

    def _row(self, line: str, number: int) -> None:
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            return
        if not any(row):
            return
        # The widths are those of the tables in public logs; rows of other releases are skipped.
        heading, width = self._heading, len(row)
        if heading in ("dl", "ul") and width == 6:
            self._add(f"{heading}_bler", row[2], number)
        elif heading == "harq" and width == 5 and row[1]:
            self._add("duplicates", row[3] / row[1], number)
            self._add("discards", row[4] / row[1], number)
        elif heading == "rlc" and width == 4 and row[0]:
            self._add("retransmissions", row[1] / row[0], number)
        elif heading == "pdcp" and width == 4 and row[0]:
            self._add("pdcp_discards", row[1] / row[0], number)

    def _add(self, name: str, value: float, number: int) -> None:
        values = self.values.get(name)
        if values is None:
            values = self.values[name] = Values()
        values.add(value, number)


def _magnitude(digits: str) -> float:
    return float(len(digits.lstrip("0")))
