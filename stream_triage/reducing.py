"""Verdicts with the text of their runs in, reduced runs ready to print out: what `stream-triage reduce` does beyond judging.

`Reducing` takes verdicts as a sink does.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stream_triage.pipeline import Triage
from stream_triage.ports import RunText
from stream_triage.records import UNKNOWN, Verdict
from stream_triage.render.reduced import ReducedText, ShownLine
from stream_triage.sinks.sqlite import SqliteStore
from stream_triage.stages.reduce import Budget, Chosen, Difference, Explainer, GoodRuns, Mark, ScoredLog

__all__ = ["Collecting", "Reducing", "last_passing_run"]

# Stored runs among which the last one that passed is sought.
SEARCHED_RUNS = 10_000
NOTES_SHOWN = 20
NOTE_CHARACTERS = 160


def last_passing_run(store: SqliteStore, case: str) -> Verdict | None:
    """The newest stored run with this `test.case.name` that passed."""
    for run in store.runs(limit=SEARCHED_RUNS):
        if run.passed and run.final:
            verdict = store.get(run.run_id)
            if verdict.headers.get("test.case.name") == case:
                return verdict
    return None


class Collecting:
    """A sink that remembers good runs."""

    def __init__(self, triage: Triage) -> None:
        self.good = GoodRuns()
        self._triage = triage

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Takes a good run; its verdict does not matter."""
        if text:
            self.good.add(self._triage.models[verdict.bundle].reducer.score(text, text.sources()), text)

    def flush(self) -> None:
        """Does nothing: nothing is stored."""

    def close(self) -> None:
        """Does nothing."""


class Reducing:
    """A sink that reduces each run and passes it on.

    Args:
        triage: Judged the runs; the reducers of its bundles are used.
        budget: How many lines of a run are printed.
        on_reduced: Gets each reduced run.
        good: Good runs to compare with.
        rank: The most important lines come first.
        explain: Each line gets the reasons why it is there.
    """

    def __init__(
        self,
        triage: Triage,
        budget: Budget,
        on_reduced: Callable[[ReducedText], None],
        *,
        good: GoodRuns | None = None,
        rank: bool = False,
        explain: bool = False,
    ) -> None:
        self._models = triage.models
        self._budget = budget
        self._on_reduced = on_reduced
        self._good = good
        self._rank = rank
        self._explain = explain

    def write(self, verdict: Verdict, text: RunText | None = None) -> None:
        """Reduces the run of a verdict."""
        if text is None:
            return
        model = self._models[verdict.bundle]
        logs = model.reducer.score(text, [summary.source for summary in verdict.sources])
        difference = self._good.compare(logs, text) if self._good else None
        marks = [] if verdict.label == UNKNOWN else _marks(verdict, model.card.review_below_known_share)
        reduction = model.reducer.reduce(logs, marks, self._budget, difference.new if difference else None)
        chosen = reduction.lines if self._rank else sorted(reduction.lines, key=lambda line: (line.source, line.number))
        self._on_reduced(
            ReducedText(
                run_id=verdict.run_id,
                label="" if verdict.label == UNKNOWN else verdict.label,
                total=verdict.lines,
                lines=self._shown(chosen, logs, text),
                in_order=not self._rank,
                pushed_out=reduction.pushed_out,
                left_out=lambda source, first, last: _left_out(logs[source], first, last),
                line_counts={name: log.lines for name, log in logs.items()},
                notes=_notes(difference, self._good) if difference and self._good else (),
            )
        )

    def flush(self) -> None:
        """Does nothing: nothing is stored."""

    def close(self) -> None:
        """Does nothing."""

    def _shown(self, chosen: Sequence[Chosen], logs: dict[str, ScoredLog], text: RunText) -> list[ShownLine]:
        explainers = {name: Explainer(log) for name, log in logs.items()} if self._explain else {}
        shown = []
        for line in chosen:
            content = text.read(line.source, line.number, line.number)[0]
            reasons = explainers[line.source].reasons(line, content) if explainers else ()
            shown.append(ShownLine(line.source, line.number, line.why, content, line.repeats, reasons))
        return shown


def _marks(verdict: Verdict, known_share: float) -> list[Mark]:
    """Lines that the verdict names. To a bundle that does not know the run, every line is an anomaly."""
    marks = [
        Mark(item.source, item.number, "rule" if item.kind == "rule" else "evidence")
        for item in verdict.evidence
        if item.number is not None
    ]
    marks += [Mark(line.source, line.number, "procedure") for line in verdict.reduction if line.why == "procedure"]
    if sum(summary.known_lines for summary in verdict.sources) >= known_share * verdict.lines:
        marks += [Mark(a.source, a.number, "anomaly", a.count) for a in verdict.anomalies if a.number is not None]
    return marks


def _left_out(log: ScoredLog, first: int, last: int) -> tuple[int, bool]:
    """How many lines with text are between two lines, and whether all are like the first of these; line 0 is like none."""
    left, right = np.searchsorted(log.number, [first + 1, last]).tolist()
    between = log.table.identity[left:right]
    return right - left, bool(first and len(between) and (between == log.table.identity[left - 1]).all())


def _notes(difference: Difference, good: GoodRuns) -> list[str]:
    """What a comparison found that has no line here."""
    new = sum(int(lines.sum()) for lines in difference.new.values())
    runs = f"{good.runs} good run{'' if good.runs == 1 else 's'}"
    notes = [f"{new} line{' is' if new == 1 else 's are'} like none of {runs}"]
    notes += [f"gone: {text.strip()[:NOTE_CHARACTERS]}" for text in difference.gone[:NOTES_SHOWN]]
    if len(difference.gone) > NOTES_SHOWN:
        notes.append(f"gone: {len(difference.gone) - NOTES_SHOWN} more kinds of line")
    notes += [
        f"rate: {rate.here} lines instead of {rate.good}: {rate.text.strip()[:NOTE_CHARACTERS]}"
        for rate in difference.rates[:NOTES_SHOWN]
    ]
    if len(difference.rates) > NOTES_SHOWN:
        notes.append(f"rate: {len(difference.rates) - NOTES_SHOWN} more kinds of line")
    if good.full:
        notes.append("the good runs have more kinds of line than are remembered; some that are called new may not be")
    return notes
