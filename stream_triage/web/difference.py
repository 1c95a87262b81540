"""Two runs of a test case in; how the lines that are worth reading differ out.

Lines are compared by their masked text, so that times, addresses and counters do not count. Which lines are worth reading
depends on the run, so a line may be missing in the other run's choice and still be in its text: if that text is at hand, the
difference says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

from stream_triage.ports import RunText
from stream_triage.records import ReducedLine
from stream_triage.stages.normalise import mask
from stream_triage.web.run_view.shown import shown

__all__ = ["DifferenceRow", "SourceDifference", "differences", "kinds_of"]

# Chosen lines of one source that are compared, and lines of a whole text that are looked through.
MOST_CHOSEN: Final = 2_000
MOST_LINES: Final = 50_000
READ_LINES: Final = 5_000
LONGEST_COMPARED: Final = 2_000

Side = Literal["both", "here", "there", "here, not chosen there", "there, not chosen here"]


@dataclass(frozen=True)
class DifferenceRow:
    """A line of one run or of both."""

    side: Side
    here: int | None
    """Its number in this run."""
    there: int | None
    """Its number in the other run."""
    text: str
    hidden: int
    """Characters that were cut off."""


@dataclass(frozen=True)
class SourceDifference:
    """The lines of one source."""

    source: str
    rows: tuple[DifferenceRow, ...]

    @property
    def here(self) -> int:
        """Lines that only this run has."""
        return sum(row.side == "here" for row in self.rows)

    @property
    def there(self) -> int:
        """Lines that only the other run has."""
        return sum(row.side == "there" for row in self.rows)


def kinds_of(text: RunText | None) -> Mapping[str, set[str]] | None:
    """By source, the masked lines of a whole text; None if there is none, or if it is too long to be looked through."""
    if text is None or sum(map(text.line_count, text.sources())) > MOST_LINES:
        return None
    return {source: set(_masked_lines(text, source)) for source in text.sources()}


def differences(
    here: Sequence[ReducedLine],
    there: Sequence[ReducedLine],
    *,
    kinds_here: Mapping[str, set[str]] | None = None,
    kinds_there: Mapping[str, set[str]] | None = None,
) -> list[SourceDifference]:
    """The difference of each source.

    Args:
        here: The lines of this run that are worth reading.
        there: Those of the other run.
        kinds_here: `kinds_of` the whole text of this run.
        kinds_there: `kinds_of` the other one.
    """
    found = []
    for source in sorted({line.source for line in (*here, *there)}):
        kinds = tuple((known or {}).get(source, set()) for known in (kinds_here, kinds_there))
        rows = _rows(_of(here, source), _of(there, source), *kinds)
        found.append(SourceDifference(source, tuple(rows)))
    return found


def _of(lines: Sequence[ReducedLine], source: str) -> list[ReducedLine]:
    return sorted((line for line in lines if line.source == source), key=lambda line: line.number)[:MOST_CHOSEN]


def _rows(
    here: Sequence[ReducedLine], there: Sequence[ReducedLine], kinds_here: set[str], kinds_there: set[str]
) -> Iterator[DifferenceRow]:
    masked_here, masked_there = (_masked([line.text for line in lines]) for lines in (here, there))
    for kind, a, b, c, d in SequenceMatcher(None, masked_there, masked_here, autojunk=False).get_opcodes():
        if kind == "equal":
            for one, other in zip(there[a:b], here[c:d], strict=True):
                yield _row("both", other.number, one.number, other.text)
            continue
        for index in range(a, b):
            side: Side = "there, not chosen here" if masked_there[index] in kinds_here else "there"
            yield _row(side, None, there[index].number, there[index].text)
        for index in range(c, d):
            side = "here, not chosen there" if masked_here[index] in kinds_there else "here"
            yield _row(side, here[index].number, None, here[index].text)


def _row(side: Side, here: int | None, there: int | None, text: str) -> DifferenceRow:
    return DifferenceRow(side, here, there, *shown(text))


def _masked(lines: Sequence[str]) -> list[str]:
    joined = "\n".join(line[:LONGEST_COMPARED].replace("\n", " ") for line in lines)
    return mask(joined).split("\n") if lines else []


def _masked_lines(text: RunText, source: str) -> Iterator[str]:
    for first in range(1, text.line_count(source) + 1, READ_LINES):
        yield from _masked(text.read(source, first, first + READ_LINES - 1))
