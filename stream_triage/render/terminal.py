"""Verdicts in, text for a terminal out. Control characters in log text are shown as codes, never sent to the terminal."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, cast

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream_triage.ports import StoredRun
from stream_triage.records import UNKNOWN, Anomaly, FailedUe, ReducedLine, Verdict, source_line
from stream_triage.render.cells import plain, table, weight
from stream_triage.render.printable import printable, without_colours
from stream_triage.render.weights import evidence_rows, score_rows

__all__ = ["line_text", "printable", "run_table", "stored_table", "verdict_line", "verdict_page"]

ANOMALIES_SHOWN = 10
UES_SHOWN = 10
# Width of a table in a file or a pipe.
PIPE_COLUMNS = 160
STYLES = {True: "green", False: "bold red"}


# Many lines begin with date and time, which take the room of a narrow column.
_LEADING_TIME = re.compile(r"\A\s*\[?(?:\d[\d/.-]*[ T])?\d\d:\d\d:\d\d\S*\s+(?=\S)")


def run_table(verdicts: Iterable[Verdict]) -> Table:
    """Returns the table at the end of `stream-triage run`, with a row for each run."""
    rows = [
        (
            Text(printable(verdict.run_id)),
            _label(verdict.label, verdict.passed, verdict.needs_review),
            Text(f"{verdict.confidence:.2f}"),
            _score(verdict.anomaly_score, verdict.anomalous),
            _top(verdict),
        )
        for verdict in verdicts
    ]
    return table(rows, ("run", "label", "conf.", "anomaly", "why"))


def _label(label: str, passed: bool, needs_review: bool) -> Text:
    return Text(label + (" ?" if needs_review else ""), style="yellow" if needs_review else STYLES[passed])


def _score(score: float, anomalous: bool) -> Text:
    return Text(f"{score:.2f}" + (" !" if anomalous else ""), style="yellow" if anomalous else "")


def _top(verdict: Verdict) -> Text:
    """What to look at first: why a review is needed or why the run failed, the first evidence, or the first anomaly."""
    if verdict.needs_review:
        known = [verdict.why] if verdict.proved and not verdict.passed and verdict.label != UNKNOWN else []
        return plain("; ".join([*known, verdict.review_reasons[0]]), "yellow")
    if verdict.passed and not verdict.anomalous:
        return Text("")
    if verdict.passed:
        return plain(verdict.anomalies[0].words())
    if verdict.proved:
        return plain(verdict.why)
    first = next((item for item in verdict.evidence if item.kind != "missing"), None) or next(iter(verdict.evidence), None)
    if first:
        first = first.model_copy(update={"text": _LEADING_TIME.sub("", first.text)})
    return plain(first.words()) if first else Text("")


def _anomaly_rows(anomalies: Sequence[Anomaly]) -> Iterator[tuple[Text, Text, Text]]:
    """A row for each anomaly, and one below it for what was expected, if the model says so."""
    for item in anomalies:
        yield weight(item.score), Text(item.kind), plain(item.words())
        if item.expected_keys:
            yield Text(""), Text(""), plain(f"  expected: {item.expected}", "dim")


def verdict_line(verdict: Verdict) -> Text:
    """Returns one line for a verdict, as `worker` and `run --follow` print it."""
    parts = [
        Text(printable(verdict.run_id)),
        _label(verdict.label, verdict.passed, verdict.needs_review),
        Text(f"{verdict.confidence:.2f}"),
        _score(verdict.anomaly_score, verdict.anomalous),
        _top(verdict),
    ]
    return Text("  ").join(parts)


def verdict_page(verdict: Verdict) -> RenderableType:
    """Returns the page of one run, as `stream-triage show` prints it."""
    parts: list[RenderableType] = [_head(verdict)]
    if verdict.evidence:
        parts += ["", Text("evidence", style="bold"), table(evidence_rows(verdict), right=(0,))]
    if verdict.anomalous:
        rows = _anomaly_rows(verdict.anomalies[:ANOMALIES_SHOWN])
        parts += ["", Text(f"anomalies ({verdict.anomaly_count})", style="bold"), table(rows, right=(0,))]
    if verdict.ues and verdict.ues.first:
        parts += ["", Text("failed UEs", style="bold"), table(_ue_rows(verdict.ues.first[:UES_SHOWN]))]
    if score := list(score_rows(verdict)):
        parts += ["", Text("score", style="bold"), table(score, right=(0,))]
    shown = [line for line in verdict.reduction if line.why != "template"]
    if shown:
        parts += ["", Text(f"worth reading: {len(shown)} of {verdict.lines} lines", style="bold")]
        parts += [table(_reduction_rows(shown), right=(0,))]
    return Group(*parts)


def _head(verdict: Verdict) -> Table:
    head = Table.grid(padding=(0, 2))
    head.add_row("run", Text(printable(verdict.run_id), style="bold"))
    head.add_row("label", _label(verdict.label, verdict.passed, verdict.needs_review))
    if verdict.why:
        head.add_row("why", Text(without_colours(verdict.why)))
    if verdict.label != UNKNOWN:
        probabilities = sorted(verdict.probabilities.items(), key=lambda item: -item[1])
        head.add_row("probabilities", ", ".join(f"{name} {value:.2f}" for name, value in probabilities))
    head.add_row("anomaly", _score(verdict.anomaly_score, verdict.anomalous))
    if verdict.cause:
        head.add_row("cause", verdict.cause)
    if verdict.team:
        head.add_row("team", Text(printable(verdict.team)))
    if verdict.ues:
        head.add_row("UEs", Text(printable(verdict.ues.words()), style="yellow" if verdict.ues.failed else ""))
    for reason in verdict.review_reasons:
        head.add_row("needs review", Text(printable(reason), style="yellow"))
    for name, value in sorted(verdict.headers.items()):
        head.add_row(Text(printable(name)), Text(printable(value)))
    head.add_row("text", _sources_words(verdict))
    head.add_row("bundle", _bundle_words(verdict))
    return head


def _bundle_words(verdict: Verdict) -> str:
    """The bundle; if it was chosen for the run, also how much of it the bundle knows."""
    name = f"{verdict.bundle} {verdict.bundle_version}"
    if not verdict.bundle_chosen or verdict.known_share is None:
        return name
    return f"{name}, chosen for this run; knows {100 * verdict.known_share:.0f} % of the lines"


def _ue_rows(ues: Sequence[FailedUe]) -> list[tuple[Text, Text, Text]]:
    return [
        (Text(printable(ue.words())), plain(ue.reason), plain(f"{source_line(ue.source, ue.number)}  {ue.text}"))
        for ue in ues
    ]


def _sources_words(verdict: Verdict) -> Text:
    words = []
    for summary in verdict.sources:
        removed = sum(summary.redactions.values())
        note = _count(summary.lines, "line") + (f", {_count(removed, 'redaction')}" if removed else "")
        note += f", {summary.encoding}" if summary.encoding else ""
        note += f", taken off: {summary.stripped}" if summary.stripped else ""
        damaged = summary.repairs.damaged_lines
        note += f", {_count(damaged, 'line')} with bytes that are no text" if damaged else ""
        repeats = summary.repairs
        if repeats.repeated_messages or repeats.repeated_bytes:
            note += f", {_count(repeats.repeated_bytes, 'byte')} came twice and were dropped"
        note += "".join(f", {text}" for text in repeats.notes)
        words.append(f"{summary.source + ': ' if summary.source else ''}{note}")
    return Text(printable("; ".join(words)))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _reduction_rows(lines: Sequence[ReducedLine]) -> Iterator[tuple[Text, Text, Text]]:
    """A row for each line, with a mark where lines are left out."""
    previous: ReducedLine | None = None
    for line in lines:
        if previous and (previous.source != line.source or previous.number + 1 < line.number):
            yield Text(""), Text(""), Text("⋯", style="dim")
        repeats = f" (×{line.repeats})" if line.repeats > 1 else ""
        style = "dim" if line.why == "context" else ""
        yield Text(line_location(line)), Text(line.why, style="dim"), plain(line.text + repeats, style)
        previous = line


def line_location(line: ReducedLine) -> str:
    """Returns source and number of a line, such as `du:104`."""
    return printable(source_line(line.source, line.number))


def line_text(source: str, number: int, text: str) -> str:
    """Returns one line of the whole text of a run, after its source and number."""
    return printable(f"{source_line(source, number)}\t") + without_colours(text)


def stored_table(runs: Iterable[StoredRun]) -> Table:
    """Returns the table of `stream-triage runs`, with a row for each stored run."""
    rows = [
        (
            Text(run.time.strftime("%Y-%m-%d %H:%M:%S") if run.time else ""),
            _label(run.label + ("" if run.final else " so far"), run.passed, run.needs_review),
            Text(f"{run.confidence:.2f}"),
            _score(run.anomaly_score, run.anomalous),
            Text(str(run.lines)),
            Text(printable(run.bundle)),
            Text(printable(run.run_id)),
        )
        for run in runs
    ]
    return table(rows, ("time", "label", "conf.", "anomaly", "lines", "bundle", "run"), right=(4,))


def console(stderr: bool = False) -> Console:
    """Returns a console for stdout or stderr; in a file or a pipe it is 160 columns wide, or as wide as COLUMNS says."""
    terminal = Console(stderr=stderr, highlight=False)
    if terminal.is_terminal:
        return terminal
    columns = os.environ.get("COLUMNS", "")
    width = (int(columns) if columns.isdecimal() else 0) or PIPE_COLUMNS
    return Console(file=cast(IO[str], _Trimmed(sys.stderr if stderr else sys.stdout)), highlight=False, width=width)


class _Trimmed:
    """A file that drops the spaces with which rich fills the last column of a table."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(re.sub(r" +(?=\n)", "", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
