"""Stored runs, test cases and templates in; what lists of them show out. Text is raw: templates make it harmless."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stream_triage.records import UNKNOWN, cut
from stream_triage.render.printable import printable
from stream_triage.sinks.sqlite import Group, ListedRun, Outcome, SeenTemplate
from stream_triage.web.charts import Bar, day_bars
from stream_triage.web.query import address
from stream_triage.web.run_view import state_of

__all__ = ["GroupRow", "RunRow", "TemplateRow", "group_row", "run_row", "template_row"]

LONGEST_SUMMARY: Final = 300
# Runs of a test case whose results its row shows one by one.
RESULTS_SHOWN: Final = 12
# Many lines begin with date and time, which take the room of a narrow column.
_LEADING_TIME: Final = re.compile(r"\A\s*\[?(?:\d[\d/.-]*[ T])?\d\d:\d\d:\d\d\S*\s+(?=\S)")


@dataclass(frozen=True)
class RunRow:
    """A run in a list."""

    run: ListedRun
    href: str
    summary: str
    """What to look at first; empty for a clean pass."""
    filters: tuple[tuple[str, str, str], ...]
    """Heading, value and address of the runs with the same value: test case, bed, build."""


@dataclass(frozen=True)
class Result:
    """A run of a test case, as small as possible."""

    href: str
    label: str
    passed: bool
    sign: str
    tip: str


@dataclass(frozen=True)
class GroupRow:
    """A test case or a bed."""

    group: Group
    href: str
    state: str
    """`passing`, `failing` and so on; empty if the newest run says neither."""
    state_words: str
    results: tuple[Result, ...]
    """Oldest first."""
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class TemplateRow:
    """A template that runs showed."""

    template: SeenTemplate
    href: str
    text: str
    bars: tuple[Bar, ...]


def run_row(run: ListedRun) -> RunRow:
    """The row of a run."""
    headers = (("test case", "case", run.case), ("bed", "bed", run.bed), ("build", "build", run.build))
    return RunRow(
        run=run,
        href=address("/run", {"id": run.run_id}),
        summary=_short(_LEADING_TIME.sub("", _summary(run))),
        filters=tuple((heading, value, address("/runs", {name: value})) for heading, name, value in headers),
    )


def _summary(run: ListedRun) -> str:
    """As the table of `stream-triage run` has it: why a review is needed or why the run failed, else the first anomaly."""
    why = run.why if run.label != UNKNOWN and not run.why.startswith("not proved: ") else ""
    if run.needs_review:
        return "; ".join(part for part in (why if not run.passed else "", run.first_reason) if part)
    if not run.passed:
        return why or (run.first_evidence.words() if run.first_evidence else "")
    return run.first_anomaly.words() if run.anomalous and run.first_anomaly else ""


def _short(text: str) -> str:
    """The beginning of a text. Codes of control characters, which are up to ten characters long, count as they are shown."""
    return cut(printable(text[: LONGEST_SUMMARY + 1]), LONGEST_SUMMARY)


def group_row(group: Group, parameter: str, days: Sequence[datetime]) -> GroupRow:
    """The row of a test case (`case`) or of a bed (`bed`), with bars for these days."""
    state, words = state_of(group.recent[::-1]) if group.recent else ("", "no final verdict")
    if parameter == "bed":  # its runs are of many test cases: that their results differ says nothing
        state, words = "", f"{sum(run.passed for run in group.recent)} of the last {len(group.recent)} passed"
    return GroupRow(
        group=group,
        href=address("/runs", {parameter: group.totals.name}),
        state=state,
        state_words=words,
        results=tuple(_result(run) for run in group.recent[:RESULTS_SHOWN][::-1]),
        bars=day_bars(group.days, days),
    )


def _result(run: Outcome) -> Result:
    build = f", build {run.build}" if run.build else ""
    return Result(
        href=address("/run", {"id": run.run_id}),
        label=run.label,
        passed=run.passed,
        sign="✓" if run.passed else "?" if run.label == UNKNOWN else "✕",
        tip=f"{run.label}, {run.time:%Y-%m-%d %H:%M}{build}",
    )


def template_row(template: SeenTemplate, days: Sequence[datetime]) -> TemplateRow:
    """The row of a template, with bars for these days."""
    return TemplateRow(
        template=template,
        href=address("/runs", {"key": template.key}),
        text=_short(template.text),
        bars=day_bars(template.days, days),
    )
