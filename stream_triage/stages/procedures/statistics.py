"""Lines of tables and counters of one source in, the values that they state out: largest and its line, mean, latest ones.

Which columns make which value, a dialect says. Columns are found by the names that the table prints, in a line of their own
or behind its heading, so their number and order do not matter. Values are turned so that a larger one is worse: rates, CQI
and RSRP count negative. Long counters count by their number of digits, as masking counts numbers by their magnitude.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

from stream_triage.dialects.reader import Column, Signal
from stream_triage.dialects.table import Value
from stream_triage.dialects.words import spellings_of
from stream_triage.stages.procedures.trends import Trends, turned

__all__ = ["Statistics", "Values"]

About = Mapping[str, Value]
"""What values mean, by name."""
# Latest values kept of each kind.
LATEST: Final = 8
_COLUMN: Final = re.compile(r"\[([A-Za-z][^\]]*)\]")
# What separates names behind a heading, the likeliest first: `RLC [Tx PDUs] [Retx]`, `RLC|TXP|RTX`, `rlc { txPdus, retx }`,
# `RLC DRB:1 TxPdu Retx`.
_BETWEEN: Final = (re.compile(r"[\[\]]"), re.compile(r"[|;]"), re.compile(r"[,{:]"), re.compile(r"\s+"))
# Characters of a heading that may have names of columns.
HEADING_CHARACTERS: Final = 512
# Characters at the end of a counter's line that are read: the pattern takes a time that grows with the square of them.
LAST_CHARACTERS: Final = 256
_LAST_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?)\D*$")


class Values:
    """Values of one kind: the largest and its line, their sum and number, and the latest ones."""

    __slots__ = ("beyond", "count", "first_beyond", "largest", "latest", "line", "table", "total", "worst")

    def __init__(self) -> None:
        self.largest, self.line, self.total, self.count = -1e9, 0, 0.0, 0
        self.worst = 0.0
        """The largest one as the log states it."""
        self.beyond = 0
        """How many that sum up more than a moment were beyond the limit."""
        self.first_beyond = 0
        """The line of the first of them."""
        self.table: tuple[int, ...] = ()
        """The lines above it that say what its columns are."""
        self.latest: list[float] = []

    def add(self, stated: float, line: int, about: Value, *, lasting: bool) -> None:
        """Adds one value; of equal ones, the first line counts as that of the largest. `lasting`: not of a moment alone."""
        value = turned(stated, about)
        if value > self.largest:
            self.largest, self.line, self.worst = value, line, stated
        if about.beyond(stated):
            self.beyond += lasting
            self.first_beyond = self.first_beyond or line
        self.total += value
        self.count += 1
        self.latest = [*self.latest[1 - LATEST :], value]


class Layout(NamedTuple):
    """A checksum of the line of columns, their number, and where those of each value and its divisor are (-1: nowhere)."""

    line: int
    columns: int
    places: tuple[tuple[int, int], ...]


class Statistics:
    """Values of one source by name, and the table that its next lines belong to."""

    __slots__ = ("_above", "_heading", "_text", "layouts", "reading", "trends", "values")

    def __init__(self) -> None:
        self.values: dict[str, Values] = {}
        self.layouts: dict[str, Layout] = {}
        """By heading, that of its last line of columns: a log may lose the line."""
        self.reading = False
        """Whether the next lines may be rows of a table with values that are wanted."""
        self.trends: Trends | None = None
        """Those of the UE whose tables are read."""
        self._heading = self._text = ""
        self._above: tuple[int, ...] = ()
        """The heading and the line of columns of the table that is read."""

    def leave(self) -> None:
        """A record begins: lines that follow belong to no earlier table."""
        self.reading = False
        self.trends = None
        self._above = ()

    def begin(self, heading: str, line: str, number: int, *, wanted: bool) -> None:
        """A table begins with this line."""
        self._heading, self.reading, self._above = heading, wanted, (number,)
        self._text = line[:HEADING_CHARACTERS] if wanted else ""

    def counter(self, name: str, line: str, number: int, about: Value) -> None:
        """A counter at the end of a line of its own."""
        if match := _LAST_NUMBER.search(line[-LAST_CHARACTERS:]):
            self.add(name, float(match[1]), number, about)

    def take(self, signal: Signal, line: str, number: int, tables: Mapping[str, Sequence[Column]], about: About) -> None:
        """One line below a heading.

        Args:
            signal: How the line is part of a table.
            line: The line.
            number: Its number.
            tables: Those of the dialect, by heading; the heading must be among them.
            about: What the values mean, by name.
        """
        wanted = tables[self._heading]
        if signal.cells == "columns":
            self._above = (self._above[0], number) if self._above else (number,)
            known = self.layouts.get(self._heading)
            if known is None or known.line != crc32(line.encode()):
                self.layouts[self._heading] = _layout(line, _COLUMN.findall(line), wanted)
        elif signal.cells == "pairs":
            stated = [column for column in wanted if not signal.columns.isdisjoint(column.names)]
            self._read([_of_pairs(column, line) for column in stated], stated, number, about)
        else:
            row = line.split()
            layout = self._layout_of(len(row), wanted)
            if layout and len(row) == layout.columns:
                self._read([_of_row(row, column, divisor) for column, divisor in layout.places], wanted, number, about)

    def _layout_of(self, columns: int, wanted: Sequence[Column]) -> Layout | None:
        """The layout of the table for rows of that many columns: by its line of columns, or by the names in its heading."""
        known = self.layouts.get(self._heading)
        if (known and known.columns == columns) or not self._text:
            return known
        names = next(
            (found for found in map(_names_behind, _BETWEEN, [self._text] * len(_BETWEEN)) if len(found) >= columns), ()
        )
        if not names:
            return known
        layout = self.layouts[self._heading] = _layout(self._text, names[-columns:], wanted)
        return layout

    def _read(self, stated: Sequence[float | None], wanted: Sequence[Column], number: int, about: About) -> None:
        """Adds the values of a row.

        A row of zeros states that nothing was measured, but for the rate, which is then zero.
        """
        known = [(column.value, value) for column, value in zip(wanted, stated, strict=True) if value is not None]
        for name, value in known:
            if any(stated):
                self.add(name, value, number, about[name], trends=self.trends)
            elif self.trends is not None and about[name].worse == "low" and about[name].scale:
                self.trends.add(name, value, about[name])

    def add(
        self, name: str, stated: float, number: int, about: Value, *, lasting: bool = True, trends: Trends | None = None
    ) -> bool:
        """Adds a value, also to the trends of its UE, and returns whether it is beyond its limit.

        `lasting`: it sums up a run, not a moment.
        """
        if not math.isfinite(stated):  # a number of hundreds of digits
            return False
        if stated > about.most:
            return False
        values = self.values.get(name)
        if values is None:
            values = self.values[name] = Values()
        values.add(stated, number, about, lasting=lasting)
        if trends is not None:
            trends.add(name, stated, about)
        if values.first_beyond == number:
            values.table = self._above
        return about.beyond(stated)


def _layout(line: str, names: Sequence[str], wanted: Sequence[Column]) -> Layout:
    place: dict[str, int] = {}
    for number, name in enumerate(names):
        for spelling in spellings_of(name):
            place.setdefault(_singular(spelling), number)

    def of(names: Sequence[str], missing: int) -> int:
        return next((place[name] for name in map(_singular, names) if name in place), missing)

    places = tuple((of(one.names, -1), of(one.divisors, -1 - bool(one.divisors))) for one in wanted)
    return Layout(crc32(line.encode()), len(names), places)


def _singular(name: str) -> str:
    """The words of a name without the `s` of a plural."""
    return " ".join(word[:-1] if word.endswith("s") and len(word) > 2 else word for word in name.split())


def _names_behind(between: re.Pattern[str], text: str) -> list[str]:
    """The names in a heading, if that is what separates them."""
    parts = (part.strip(" \t{}[]().") for part in between.split(text))
    return [part for part in parts if part]


def _of_row(row: Sequence[str], column: int, divisor: int) -> float | None:
    """The value that a row of numbers states, if the table has its columns. A divisor of -1 is none, -2 a missing one."""
    if column < 0 or divisor < -1:
        return None
    value, whole = _number(row[column]), _number(row[divisor]) if divisor >= 0 else 1.0
    return None if value is None or not whole else value / whole


def _number(text: str) -> float | None:
    """None for what masking takes for a number, and Python does not, such as `1.2.3`."""
    try:
        return float(text)
    except ValueError:
        return None


def _of_pairs(column: Column, line: str) -> float | None:
    """The value that a row of names and numbers states."""
    match = column.pair.search(line)
    if match is None or not column.divisors:
        return float(match[1]) if match else None
    divisor = column.divisor_pair.search(line)
    return float(match[1]) / float(divisor[1]) if divisor and float(divisor[1]) else None
