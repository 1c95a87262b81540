"""Measures the reductions of runs that a bundle knows: whether the line that states the cause stays, and the label.

OpenAirInterface runs and runs of the TM500-style corpus, which is made anew with a seed of its own. What counts as the cause
of a run stands in `benchmarks/evidence/cause_lines.toml`.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.corpora import OAI
from benchmarks.evidence.cause_lines import Patterns, cause_lines, corpus_cause, corpus_symptom, oai_cause
from stream_triage import Bundle, Triage, Verdict, find_bundle
from training.corpus import generate
from training.data import read_oai_rows
from training.report.markdown import table

__all__ = ["Run", "corpus_runs", "oai_runs", "runs_table"]

SEED: Final = 79
CORPUS_RUNS: Final = 300


class Run(NamedTuple):
    """A run, and what states its cause; none for a run that passed."""

    sources: Mapping[str, bytes]
    cause: Patterns | None


def runs_table(data: Path, each: int) -> str:
    """A table with a row for each bundle: its failing runs, then those that passed."""
    rows = []
    for name, runs in (("oai5g", oai_runs(data, each)), ("tm500", corpus_runs())):
        triage = Triage(Bundle.open(find_bundle(name)))
        results: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        for run in runs:
            results["failing" if run.cause else "passing"].append(_measure(triage, run))
        for kind, measured in sorted(results.items()):
            lines, removed, stated, kept, same = np.array(measured).T
            causes = f"{kept.sum() / stated.sum():.3f} of {int(stated.sum())}" if stated.sum() else ""
            rows.append(
                (
                    name,
                    kind,
                    str(len(measured)),
                    f"{lines.mean():,.0f}",
                    f"{removed.mean():.3f}",
                    causes,
                    f"{same.mean():.3f}",
                )
            )
    head = ("bundle", "runs", "number", "lines", "removed", "cause line kept", "same label from the reduced text")
    return (
        "The reduction of a verdict, without a budget. `cause line kept`: of the runs whose log has a line that states the "
        "cause. `same label`: the bundle judges the kept lines alone.\n\n" + table(head, rows)
    )


def _measure(triage: Triage, run: Run) -> tuple[float, ...]:
    verdict = _judge(triage, run.sources)
    kept = {(line.source, line.number) for line in verdict.reduction}
    causes = cause_lines(run.sources, run.cause) if run.cause else set()
    reduced: dict[str, list[str]] = {source: [] for source in run.sources}
    for line in verdict.reduction:
        reduced[line.source].append(line.text)
    again = _judge(triage, {source: "".join(f"{line}\n" for line in lines).encode() for source, lines in reduced.items()})
    lines = max(verdict.lines, 1)
    return lines, 1 - len(kept) / lines, bool(causes), bool(causes & kept), again.label == verdict.label


def _judge(triage: Triage, sources: Mapping[str, bytes]) -> Verdict:
    session = triage.session("run")
    for source, text in sources.items():
        session.feed(text, source)
    try:
        return session.close()
    finally:
        session.text.close()


def oai_runs(data: Path, each: int) -> Iterator[Run]:
    """Runs of each outcome, drawn at random; those that passed are an outcome of their own."""
    by_outcome: dict[str, list[Run]] = defaultdict(list)
    for run, row in read_oai_rows(data / OAI):
        cause = oai_cause(row["outcome"])
        if cause or run.label == "Pass":
            by_outcome[row["outcome"]].append(Run(run.sources, cause))
    for _, runs in sorted(by_outcome.items()):
        yield from random.Random(SEED).sample(runs, min(each, len(runs)))  # noqa: S311 - repeatable


def corpus_runs() -> Iterable[Run]:
    """TM500-style runs, made with a seed of their own."""
    for run in generate(CORPUS_RUNS, seed=SEED):
        failed = run.label != "Pass"
        cause = (corpus_symptom() if run.evidence == "tail" else corpus_cause(run.cause)) if failed else None
        yield Run({"": run.text}, cause)
