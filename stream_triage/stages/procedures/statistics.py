"""Lines of tables and counters of one source in, the values that they state out: largest and its line, mean, latest ones.

Which columns make which value, a dialect says. Columns are found by the names that the table prints above its rows, so their
number and order do not matter. Values are turned so that a larger one is worse: rates, CQI and RSRP count negative. Long
counters count by their number of digits, as masking counts numbers by their magnitude.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

from stream_triage.dialects.table import Value
from stream_triage.dialects.words import words_of

__all__ = ["Statistics", "Values"]

# Latest values kept of each kind.
LATEST: Final = 8
# Characters of a line that are read: the patterns below take a time that grows with the square of it.
LONGEST: Final = 2048
_COLUMN: Final = re.compile(r"\[([A-Za-z][^\]]*)\]")
_PAIR: Final = re.compile(r"([A-Za-z][\w()/-]*(?: [\w()/-]+)*)\s*[:=]\s*(-?\d+(?:\.\d+)?)")
_LAST_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?)\D*$")


class Values:
    """Values of one kind: the largest and its line, their sum and number, and the latest ones."""

    __slots__ = ("beyond", "count", "first_beyond", "largest", "latest", "line", "total", "worst")

    def __init__(self) -> None:
        self.largest, self.line, self.total, self.count = -1e9, 0, 0.0, 0
        self.worst = 0.0
        """The largest one as the log states it."""
        self.beyond = 0
        """How many that sum up more than a moment were beyond the limit."""
        self.first_beyond = 0
        """The line of the first of them."""
        self.latest: list[float] = []

    def add(self, stated: float, line: int, about: Value, *, lasting: bool) -> None:
        """Adds one value; of equal ones, the first line counts as that of the largest. `lasting`: not of a moment alone."""
        value = float(len(str(int(abs(stated))))) * (abs(stated) >= 1) if about.scale == "digits" else stated
        value = value if about.worse == "high" else -value
        if value > self.largest:
            self.largest, self.line, self.worst = value, line, stated
        if about.beyond(stated):
            self.beyond += lasting
            self.first_beyond = self.first_beyond or line
        self.total += value
        self.count += 1
        self.latest = [*self.latest[1 - LATEST :], value]


class Statistics:
    """Values of one source by name, and the table that its next lines belong to."""

    __slots__ = ("_columns", "_heading", "columns_of", "values")

    def __init__(self) -> None:
        self.values: dict[str, Values] = {}
        self.columns_of: dict[str, list[str]] = {}
        """By heading, the columns that its table had when they were printed last: a log may lose the line."""
        self._heading = ""
        self._columns: list[str] = []

    def leave(self) -> None:
        """A record begins: lines that follow belong to no earlier table."""
        self._heading, self._columns = "", []

    def begin(self, heading: str) -> None:
        """A table begins."""
        self._heading, self._columns = heading, self.columns_of.get(heading, [])

    def counter(self, name: str, line: str, number: int, about: Value) -> None:
        """A counter at the end of a line of its own."""
        if match := _LAST_NUMBER.search(line[-LONGEST:]):
            self.add(name, float(match[1]), number, about)

    def take(
        self, cells: str, line: str, number: int, tables: Mapping[str, Mapping[str, str]], about: Mapping[str, Value]
    ) -> None:
        """One line below a heading.

        Args:
            cells: How the line is part of a table, as in `Signal.cells`.
            line: The line.
            number: Its number.
            tables: Those of the dialect, by heading; what is below other headings is not read.
            about: What the values mean, by name.
        """
        wanted = tables.get(self._heading)
        if wanted is None:
            return
        if cells == "columns":
            self._columns = self.columns_of[self._heading] = [_name(name) for name in _COLUMN.findall(line)]
        elif cells == "row":
            row = line.split()
            if len(row) == len(self._columns):
                self._read(dict(zip(self._columns, map(_number, row), strict=True)), wanted, number, about)
        elif cells == "pairs":
            self._read({_name(name): float(value) for name, value in _PAIR.findall(line[:LONGEST])}, wanted, number, about)

    def _read(self, cells: Mapping[str, float], wanted: Mapping[str, str], number: int, about: Mapping[str, Value]) -> None:
        if not any(cells.values()):
            return
        for value, columns in wanted.items():
            name, _, divisor = columns.partition(" / ")
            stated = _cell(cells, name)
            if stated is None:
                continue
            if not divisor:
                self.add(value, stated, number, about[value])
            elif whole := _cell(cells, divisor):
                self.add(value, stated / whole, number, about[value])

    def add(self, name: str, stated: float, number: int, about: Value, *, lasting: bool = True) -> bool:
        """Adds a value and returns whether it is beyond its limit. `lasting`: it sums up a run, not a moment."""
        if not math.isfinite(stated):  # a number of hundreds of digits
            return False
        values = self.values.get(name)
        if values is None:
            values = self.values[name] = Values()
        values.add(stated, number, about, lasting=lasting)
        return about.beyond(stated)


def _cell(cells: Mapping[str, float], name: str) -> float | None:
    """The cell of a column. Words may stand before the name of a pair, as in `BCH CRC ok CQI: 7`."""
    if name in cells:
        return cells[name]
    return next((value for column, value in cells.items() if column.endswith(f" {name}")), None)


def _name(column: str) -> str:
    return " ".join(words_of(column).split())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
