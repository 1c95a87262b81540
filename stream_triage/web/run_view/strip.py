"""A verdict in; a drawing of the whole run, with what matters marked where it happened, out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stream_triage.records import ReducedLine, Verdict
from stream_triage.web.run_view.evidence import ANOMALIES_SHOWN, is_strong
from stream_triage.web.run_view.shown import position, shown

__all__ = ["Lane", "Tick", "lanes"]

# Characters of a line in the tip of its mark.
_TIP: Final = 160


@dataclass(frozen=True)
class Tick:
    """A mark in the drawing."""

    x: str
    anchor: str
    """Of the line on the page; empty if it is not there."""
    tip: str


@dataclass(frozen=True)
class Lane:
    """One source, from its first line to its last."""

    source: str
    lines: int
    kept: tuple[str, ...]
    """Where the lines worth reading are."""
    weak: tuple[Tick, ...]
    strong: tuple[Tick, ...]
    anomalies: tuple[Tick, ...]
    ues: tuple[Tick, ...]
    """Where the procedures of failed UEs broke."""

    @property
    def marks(self) -> str:
        """What is marked, in words."""
        counted = (
            (len(self.strong), "evidence"),
            (len(self.weak), "weak evidence"),
            (len(self.anomalies), "anomalies"),
            (len(self.ues), "broken UEs"),
        )
        return ", ".join(f"{name} {number}" for number, name in counted if number)

    @property
    def words(self) -> str:
        """What the drawing shows, for those who do not see it."""
        return f"{self.source or 'the log'}, {self.lines} lines; {self.marks or 'nothing stands out'}"


def lanes(verdict: Verdict, lines: Iterable[ReducedLine], anchors: Mapping[tuple[str, int], str]) -> tuple[Lane, ...]:
    """A lane for each source with a mark or a line worth reading, in the order of the verdict; at least one lane."""
    kept: dict[str, set[str]] = {}
    totals = {summary.source: summary.lines for summary in verdict.sources}
    for line in lines:
        kept.setdefault(line.source, set()).add(position(line.number, totals.get(line.source, 0)))
    marks = _Marks(totals, anchors)
    evidence = [item for item in verdict.evidence if item.number is not None]
    strong = [(item.source, item.number, item.text) for item in evidence if is_strong(verdict, item)]
    weak = [(item.source, item.number, item.text) for item in evidence if not is_strong(verdict, item)]
    anomalies = [(item.source, item.number, item.words()) for item in verdict.anomalies[:ANOMALIES_SHOWN]]
    failed = verdict.ues.first if verdict.ues else ()
    ues = [(ue.source, ue.number, f"{ue.words()}: {ue.reason}") for ue in failed]
    found = [
        Lane(
            source=source,
            lines=total,
            kept=tuple(sorted(kept.get(source, ()), key=lambda x: float(x[:-1]))),
            weak=marks.of(source, weak),
            strong=marks.of(source, strong),
            anomalies=marks.of(source, anomalies),
            ues=marks.of(source, ues),
        )
        for source, total in totals.items()
        if total
    ]
    return tuple(lane for lane in found if lane.kept or lane.marks) or tuple(found[:1])


class _Marks:
    def __init__(self, totals: Mapping[str, int], anchors: Mapping[tuple[str, int], str]) -> None:
        self._totals, self._anchors = totals, anchors

    def of(self, source: str, items: Sequence[tuple[str, int | None, str]]) -> tuple[Tick, ...]:
        """A tick for each line of the source, in the order of the lines; a line with several items has one."""
        texts = {number: text for where, number, text in reversed(items) if where == source and number is not None}
        return tuple(
            Tick(
                x=position(number, self._totals[source]),
                anchor=self._anchors.get((source, number), ""),
                tip=f"line {number}: {shown(texts[number], _TIP).text.strip()}",
            )
            for number in sorted(texts)
        )
