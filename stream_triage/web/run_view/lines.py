"""Chosen or archived lines of a run in; rows for a page, with the gaps between them, out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

from stream_triage.ports import RunText
from stream_triage.records import ReducedLine, Verdict
from stream_triage.web.run_view.evidence import is_strong
from stream_triage.web.run_view.links import RunLinks
from stream_triage.web.run_view.shown import shown

__all__ = ["GAP_LINES", "GapView", "LineView", "SourceLines", "anchor_of", "gap_rows", "source_lines"]

# Lines of a gap that are opened at once; of a longer one, that many from either end.
GAP_LINES: Final = 100
# A gap of so few lines takes no less room than the lines.
_NO_GAP: Final = 2


@dataclass(frozen=True)
class LineView:
    """A line."""

    anchor: str
    """Its id on the page."""
    number: int
    text: str
    hidden: int
    """Characters that were cut off."""
    why: str
    """Why it was chosen, in the words of `ReducedLine.why`; empty for a line that only stands between chosen ones."""
    strong: bool
    """Whether it is evidence that deserves the first look, and a stop of the keys `n` and `p`."""
    repeats: int
    """Lines like it in its source."""


@dataclass(frozen=True)
class GapView:
    """Lines that are not shown."""

    count: int
    steps: tuple[tuple[str, str], ...] = ()
    """What can be opened: words and address."""
    rows: tuple[LineView, ...] = ()
    """The lines themselves, where the page has them with it."""


@dataclass(frozen=True)
class SourceLines:
    """The rows of one source."""

    source: str
    lines: int
    """All of its lines."""
    shown: int
    rows: tuple[LineView | GapView, ...]


def anchor_of(verdict: Verdict, source: str, number: int, prefix: str = "") -> str:
    """The id of a line on a page: sources are numbered, since their names may be anything.

    Args:
        verdict: Of the run.
        source: Its name.
        number: Of the line.
        prefix: What tells the runs of a report apart.
    """
    index = next((i for i, summary in enumerate(verdict.sources) if summary.source == source), 0)
    return f"{prefix}L{index}-{number}"


def source_lines(
    verdict: Verdict,
    lines: Iterable[ReducedLine],
    *,
    text: RunText | None = None,
    embed: int = 0,
    links: RunLinks | None = None,
    prefix: str = "",
) -> tuple[SourceLines, ...]:
    """The chosen lines of each source that has any, in the order of their numbers, with a gap wherever lines are left out.

    Args:
        verdict: Of the run.
        lines: The chosen lines, in any order.
        text: The text of the run: with it, gaps of one or two lines are filled.
        embed: So many lines of longer gaps, read from the text, come with the page; the shortest gaps first.
        links: Of the server.
        prefix: As in `anchor_of`.
    """
    rows = _Rows(verdict, links, prefix, text)
    by_source: dict[str, dict[int, ReducedLine]] = {}
    for line in lines:
        by_source.setdefault(line.source, {}).setdefault(line.number, line)
    totals = {summary.source: summary.lines for summary in verdict.sources}
    rows.embed(_gap_lengths(by_source, totals), embed)
    return tuple(
        SourceLines(
            source=source,
            lines=max(totals.get(source, 0), *chosen),
            shown=len(chosen),
            rows=tuple(rows.of_source(source, sorted(chosen.values(), key=lambda line: line.number), totals.get(source, 0))),
        )
        for source, chosen in sorted(by_source.items())
    )


def gap_rows(
    verdict: Verdict,
    source: str,
    first: int,
    texts: Sequence[str],
    gap: tuple[int, int],
    *,
    links: RunLinks | None = None,
    prefix: str = "",
) -> tuple[LineView | GapView, ...]:
    """What a gap is replaced with when some of its lines are opened.

    Args:
        verdict: Of the run.
        source: Whose lines they are.
        first: Number of the first line that is shown.
        texts: The lines, as the archive has them.
        gap: First and last line of the gap; what is not shown of it stays a gap.
        links: Of the server.
        prefix: As in `anchor_of`.
    """
    rows = _Rows(verdict, links, prefix)
    opened = [rows.plain(source, number, text) for number, text in enumerate(texts, first)]
    before = rows.gap(source, gap[0], first - 1)
    return (*before, *opened, *rows.gap(source, first + len(texts), gap[1]))


def _gap_lengths(chosen: Mapping[str, Mapping[int, ReducedLine]], totals: Mapping[str, int]) -> list[int]:
    lengths = []
    for source, lines in chosen.items():
        ends = [0, *sorted(lines), totals.get(source, 0) + 1]
        lengths += [after - before - 1 for before, after in pairwise(ends)]
    return sorted(length for length in lengths if length > _NO_GAP)


class _Rows:
    """Makes rows of one run."""

    def __init__(self, verdict: Verdict, links: RunLinks | None, prefix: str, text: RunText | None = None) -> None:
        self._links = links
        self._text = text
        self._longest_embedded = 0
        self._anchors: Mapping[str, str] = {
            summary.source: f"{prefix}L{index}-" for index, summary in enumerate(verdict.sources)
        }
        self._prefix = prefix
        self._strong = {(item.source, item.number) for item in verdict.evidence if is_strong(verdict, item)}

    def of_source(self, source: str, chosen: Sequence[ReducedLine], total: int) -> Iterator[LineView | GapView]:
        previous = 0
        for line in chosen:
            yield from self.gap(source, previous + 1, line.number - 1)
            yield self._line(source, line.number, line.text, line.why, line.repeats)
            previous = line.number
        yield from self.gap(source, previous + 1, total)

    def plain(self, source: str, number: int, text: str) -> LineView:
        """A line that was not chosen."""
        return self._line(source, number, text, "", 1)

    def embed(self, gap_lengths: Sequence[int], lines: int) -> None:
        """Sets up to which length gaps bring their lines with them, `lines` in all; the lengths are in order."""
        for length, alike in groupby(gap_lengths):
            lines -= length * len(list(alike))
            if lines < 0:
                return
            self._longest_embedded = length

    def gap(self, source: str, first: int, last: int) -> Iterator[LineView | GapView]:
        """The gap from line to line, both included; nothing if there is no line between."""
        count = last - first + 1
        if count < 1:
            return
        if self._text is not None and count <= max(_NO_GAP, self._longest_embedded):
            lines = tuple(
                self.plain(source, number, line) for number, line in enumerate(self._text.read(source, first, last), first)
            )
            if len(lines) == count:  # else the archive has another text than that of the verdict
                yield from lines if count <= _NO_GAP else (GapView(count, rows=lines),)
                return
        steps = []
        for words, show in _steps(first, last):
            address = self._links.lines(source, show, (first, last)) if self._links else None
            if address is not None:
                steps.append((words, address))
        yield GapView(count, tuple(steps))

    def _line(self, source: str, number: int, text: str, why: str, repeats: int) -> LineView:
        kept, hidden = shown(text)
        anchor = self._anchors.get(source, f"{self._prefix}L0-") + str(number)
        strong = (source, number) in self._strong
        return LineView(anchor, number, kept, hidden, "evidence" if strong and why != "rule" else why, strong, repeats)


def _steps(first: int, last: int) -> list[tuple[str, tuple[int, int]]]:
    """How a gap can be opened."""
    if last - first < GAP_LINES:
        return [("show", (first, last))]
    # The end of a gap leads to the next chosen line, its beginning explains the one before.
    return [
        (f"show the first {GAP_LINES}", (first, first + GAP_LINES - 1)),
        (f"show the last {GAP_LINES}", (last - GAP_LINES + 1, last)),
    ]
