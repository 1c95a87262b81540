"""A verdict and what else is known of its run in; everything that its page shows out."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from stream_triage.ports import RunText
from stream_triage.records import NOT_PROVED, UNKNOWN, ReducedLine, UeCourse, Ues, Verdict
from stream_triage.web.run_view.evidence import (
    AnomalyView,
    EvidenceView,
    ModelView,
    Probability,
    anomaly_views,
    evidence_views,
    is_strong,
    model_views,
    probabilities,
)
from stream_triage.web.run_view.facts import Fact, SourceView, facts, source_views, title_of
from stream_triage.web.run_view.history import HistoryView, PastRun, history_view
from stream_triage.web.run_view.lines import LineView, SourceLines, anchor_of, source_lines
from stream_triage.web.run_view.links import RunLinks
from stream_triage.web.run_view.shown import shown
from stream_triage.web.run_view.strip import Lane, lanes
from stream_triage.web.run_view.timeline import UeRow, ue_rows

__all__ = ["FailedUeView", "KeyLine", "RunView", "Words", "run_view"]

# Lines that the first screen of a page quotes, with those below that belong to them.
_KEY_LINES: Final = 3
_BODY_LINES: Final = 3
_UES_SHOWN: Final = 20
# How the sentence of a verdict names a line: `(line 221)` or `(du:25)`.
_PLACE: Final = re.compile(r"(?<=\()(?:line (?P<line>\d+)|(?P<source>[^():\s]*):(?P<number>\d+))(?=\))")


class Words(NamedTuple):
    """A part of a sentence, with the id of the line that it names."""

    text: str
    anchor: str


@dataclass(frozen=True)
class KeyLine:
    """A deciding line on the first screen, and the lines below it that belong to it."""

    where: str
    anchor: str
    texts: tuple[str, ...]
    hidden: int


@dataclass(frozen=True)
class FailedUeView:
    """A UE whose procedure failed."""

    name: str
    reason: str
    where: str
    anchor: str
    text: str


@dataclass(frozen=True)
class RunView:
    """What the page of one run shows. All text from logs and headers is raw unless a field says otherwise."""

    prefix: str
    """What the ids of this run's elements begin with."""
    run_id: str
    folder: str
    name: str
    time: datetime | None
    final: bool
    label: str
    outcome: str
    """`passed`, `failed` or `unknown`."""
    confidence: float
    needs_review: bool
    review_reasons: tuple[str, ...]
    why: tuple[Words, ...]
    proved: bool
    """Whether a procedure or a rule shows why the run has its label."""
    harness: str
    """What the test harness says, if it says the opposite of the verdict."""
    rival: str
    score: float
    anomaly_score: float
    anomalous: bool
    anomaly_width: str
    """Of the bar of the anomaly score."""
    anomaly_count: int
    ues: Ues | None
    failed_ues: tuple[FailedUeView, ...]
    key_lines: tuple[KeyLine, ...]
    probabilities: tuple[Probability, ...]
    models: tuple[ModelView, ...]
    evidence: tuple[EvidenceView, ...]
    anomalies: tuple[AnomalyView, ...]
    lanes: tuple[Lane, ...]
    silent_sources: int
    """Sources with lines of which none is marked or worth reading."""
    sources: tuple[SourceView, ...]
    source_lines: tuple[SourceLines, ...]
    lines: int
    shown_lines: int
    stops: int
    """Lines at which the keys `n` and `p` stop."""
    ue_rows: tuple[UeRow, ...]
    ues_href: str
    """Where the UE timeline comes from, if it is not in `ue_rows`."""
    history: HistoryView | None
    facts: tuple[Fact, ...]
    downloads: tuple[tuple[str, str], ...]


def run_view(
    verdict: Verdict,
    *,
    lines: Sequence[ReducedLine] | None = None,
    text: RunText | None = None,
    embed: int = 0,
    history: Sequence[PastRun] = (),
    courses: Sequence[UeCourse] = (),
    links: RunLinks | None = None,
    prefix: str = "",
) -> RunView:
    """What the page of a run shows.

    Args:
        verdict: Of the run.
        lines: The lines to show; those of the reduction if none are given. Evidence is always among them.
        text: The text of the run, if it is at hand: gaps of one or two lines are filled from it.
        embed: So many lines of longer gaps come with the page, for those who have no archive.
        history: Earlier runs of the same test case with a final verdict, in any order.
        courses: What happened to its UEs, for the timeline.
        links: Where the page may lead; none in a report.
        prefix: Letters and digits that tell the runs of a report apart.
    """
    chosen = _with_evidence(verdict, verdict.reduction if lines is None else lines)
    anchors = {(line.source, line.number): anchor_of(verdict, line.source, line.number, prefix) for line in chosen}
    by_source = source_lines(verdict, chosen, text=text, embed=embed, links=links, prefix=prefix)
    folder, name = title_of(verdict.run_id)
    totals = {summary.source: summary.lines for summary in verdict.sources}
    rows = ue_rows(courses, totals, anchors, verdict.ues.first if verdict.ues else ())
    told = lanes(verdict, chosen, anchors)
    case = verdict.headers.get("test.case.name", "")
    return RunView(
        prefix=prefix,
        run_id=verdict.run_id,
        folder=folder,
        name=name,
        time=verdict.time or verdict.started,
        final=verdict.final,
        label=verdict.label,
        outcome="unknown" if verdict.label == UNKNOWN else "passed" if verdict.passed else "failed",
        confidence=verdict.confidence,
        needs_review=verdict.needs_review,
        review_reasons=tuple(reason for reason in verdict.review_reasons if reason != verdict.why),
        why=tuple(_linked(verdict.why.removeprefix(NOT_PROVED), anchors)),
        proved=verdict.proved,
        harness=verdict.headers.get("test.case.result.status", "") if verdict.disagreement else "",
        rival=verdict.rival,
        score=verdict.score,
        anomaly_score=verdict.anomaly_score,
        anomalous=verdict.anomalous,
        anomaly_width=f"{100 * verdict.anomaly_score:.1f}%",
        anomaly_count=verdict.anomaly_count,
        ues=verdict.ues,
        failed_ues=tuple(_failed_ues(verdict, anchors)),
        key_lines=tuple(_key_lines(verdict, chosen, anchors)),
        probabilities=probabilities(verdict),
        models=model_views(verdict),
        evidence=evidence_views(verdict, anchors),
        anomalies=anomaly_views(verdict, anchors),
        lanes=told,
        silent_sources=sum(summary.lines > 0 for summary in verdict.sources) - len(told),
        sources=source_views(verdict),
        source_lines=by_source,
        lines=verdict.lines,
        shown_lines=sum(one.shown for one in by_source),
        stops=sum(isinstance(row, LineView) and row.strong for one in by_source for row in one.rows),
        ue_rows=rows,
        ues_href=(links.ues() or "") if links and verdict.ues and verdict.ues.failed and not rows else "",
        history=history_view(case, _This(verdict), history, links) if case else None,
        facts=facts(verdict, links),
        downloads=tuple(links.downloads()) if links else (),
    )


def _with_evidence(verdict: Verdict, lines: Sequence[ReducedLine]) -> list[ReducedLine]:
    """The lines, and evidence that is not among them: provisional verdicts have evidence and no reduction."""
    there = {(line.source, line.number) for line in lines}
    missing = (
        ReducedLine(source=item.source, number=item.number, text=item.text, why="evidence")
        for item in verdict.evidence
        if item.number is not None and (item.source, item.number) not in there
    )
    return [*(line for line in lines if line.why != "template"), *missing]


def _linked(sentence: str, anchors: Mapping[tuple[str, int], str]) -> Iterator[Words]:
    """The sentence in parts; a part that names a line of the page has its id."""
    done = 0
    for match in _PLACE.finditer(sentence):
        place = (match["source"] or "", int(match["line"] or match["number"]))
        if place not in anchors:
            continue
        yield Words(sentence[done : match.start()], "")
        yield Words(match[0], anchors[place])
        done = match.end()
    if sentence[done:]:
        yield Words(sentence[done:], "")


def _key_lines(verdict: Verdict, chosen: Sequence[ReducedLine], anchors: Mapping[tuple[str, int], str]) -> Iterator[KeyLine]:
    """The first strong evidence, with the indented lines below, which often say why.

    What speaks for a run that passed are numbers like any others; nobody needs to read them first.
    """
    if verdict.passed:
        return
    texts = {(line.source, line.number): line.text for line in chosen}
    several = len(verdict.sources) > 1
    quoted: set[tuple[str, int]] = set()
    for item in [item for item in verdict.evidence if is_strong(verdict, item) and item.number is not None][:_KEY_LINES]:
        assert item.number is not None
        place = (item.source, item.number)
        if place in quoted:
            continue
        below = _below(texts, place)
        quoted.update((item.source, item.number + i) for i in range(1 + len(below)))
        kept = [shown(text) for text in (texts[place], *below)]
        yield KeyLine(
            where=f"{item.source}:{item.number}" if several else str(item.number),
            anchor=anchors[place],
            texts=tuple(one.text for one in kept),
            hidden=sum(one.hidden for one in kept),
        )


def _below(texts: Mapping[tuple[str, int], str], place: tuple[str, int]) -> list[str]:
    source, number = place
    found = list[str]()
    while len(found) < _BODY_LINES:
        text = texts.get((source, number + 1 + len(found)), "")
        if not text[:1].isspace() or not text.strip() or texts[place][:1].isspace():
            break
        found.append(text)
    return found


def _failed_ues(verdict: Verdict, anchors: Mapping[tuple[str, int], str]) -> Iterator[FailedUeView]:
    for ue in verdict.ues.first[:_UES_SHOWN] if verdict.ues else ():
        yield FailedUeView(
            name=ue.words(),
            reason=ue.reason,
            where=f"{ue.source}:{ue.number}" if ue.source else str(ue.number),
            anchor=anchors.get((ue.source, ue.number), ""),
            text=shown(ue.text, 200).text.strip(),
        )


class _This:
    """The run that is shown, as one of its test case."""

    def __init__(self, verdict: Verdict) -> None:
        self.run_id, self.time = verdict.run_id, verdict.time
        self.label, self.passed, self.needs_review = verdict.label, verdict.passed, verdict.needs_review
        self.build = verdict.headers.get("service.version", "")
