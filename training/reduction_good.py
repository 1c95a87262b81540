"""Measures reductions that compare a failing run with one good run of the same job, beside a masked line diff.

The diff keeps each line that the good run does not have, once all numbers are taken for one. It keeps what it keeps; the
reduction may print as many lines, half and a quarter of them.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmarks.evidence.cause_lines import cause_lines
from stream_triage.stages.reduce import Budget, GoodRuns, Reducer, Relevance
from training.ci_logs import CiLog
from training.planted import HELD_OUT
from training.reduction_runs import Run, corpus_runs, oai_runs
from training.relevance import planted_logs
from training.report.markdown import table

__all__ = ["good_table"]

SHARES: Final = (1.0, 0.5, 0.25)
# Of the lines of a build log, how many its good run lacks: no two runs of a job print the same.
LACKING: Final = 0.05
SEED: Final = 24
_DIGITS: Final = re.compile(r"\d+")


class _Pair(NamedTuple):
    """A failing run and a good one, lines by source, and the lines of the failing one that state its cause."""

    failing: Mapping[str, list[str]]
    good: Mapping[str, list[str]]
    causes: set[tuple[str, int]]


class _Text:
    """Lines by source, as `RunText`."""

    def __init__(self, lines: Mapping[str, list[str]]) -> None:
        self._lines = lines

    def sources(self) -> Sequence[str]:
        return sorted(self._lines)

    def line_count(self, source: str) -> int:
        return len(self._lines[source])

    def read(self, source: str, first: int, last: int) -> list[str]:
        return self._lines[source][max(first, 1) - 1 : last]

    def close(self) -> None:
        """Nothing is open."""


def good_table(data: Path, relevance: Relevance, logs: Sequence[CiLog], each: int) -> str:
    """A table with a row for each kind of run and method.

    Args:
        data: Folder of the OpenAirInterface runs.
        relevance: The model.
        logs: Of builds that passed; failures are planted into them.
        each: OpenAirInterface runs of each outcome.
    """
    rows = []
    for name, pairs in (
        ("OpenAirInterface", _of_runs(list(oai_runs(data, each)))),
        ("TM500-style", _of_runs(list(corpus_runs()))),
        ("build logs, planted", _planted(logs)),
    ):
        results: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)
        for pair in pairs:
            for method, kept in _kept(Reducer(relevance), pair).items():
                found = len(kept & pair.causes)
                results[method].append((len(kept), found / len(pair.causes), found > 0))
        for method, found_by in results.items():
            lines, share, any_kept = np.mean(found_by, axis=0)
            rows.append((name, method, str(len(found_by)), f"{lines:.0f}", f"{share:.3f}", f"{any_kept:.3f}"))
    return (
        "One good run of the same job is known: for runs of the two systems any run that passed; for build logs the log "
        f"itself with other numbers, without {LACKING:.0%} of its lines. `cause lines`: the share that is kept of the lines "
        "that state the cause, and in how many runs any of them is.\n\n"
        + table(("runs", "", "number", "lines kept", "cause lines", "any"), rows)
    )


def _kept(reducer: Reducer, pair: _Pair) -> dict[str, set[tuple[str, int]]]:
    known = {_masked(line) for lines in pair.good.values() for line in lines}
    diff = {
        (source, number)
        for source, lines in pair.failing.items()
        for number, line in enumerate(lines, 1)
        if line.strip() and _masked(line) not in known
    }
    good = GoodRuns()
    text = _Text(pair.good)
    good.add(reducer.score(text, text.sources()), text)
    failing = _Text(pair.failing)
    logs = reducer.score(failing, failing.sources())
    new = good.compare(logs, failing).new
    kept = {"masked diff": diff}
    for share in SHARES:
        chosen = reducer.reduce(logs, [], Budget(lines=max(1, round(share * len(diff)))), new)
        kept[f"stream-triage, {share:.0%} of its lines"] = {(line.source, line.number) for line in chosen.lines}
    return kept


def _masked(line: str) -> str:
    return _DIGITS.sub("0", line).strip()


def _of_runs(runs: Sequence[Run]) -> Iterator[_Pair]:
    """Each failing run with a run that passed, drawn at random."""
    rng = random.Random(SEED)  # noqa: S311 - repeatable
    passed = [run for run in runs if run.cause is None]
    for run in runs:
        causes = cause_lines(run.sources, run.cause) if run.cause else set()
        if causes:
            yield _Pair(_lines(run), _lines(rng.choice(passed)), causes)


def _lines(run: Run) -> dict[str, list[str]]:
    return {source: text.decode("utf-8", "replace").split("\n") for source, text in run.sources.items()}


def _planted(logs: Iterable[CiLog]) -> Iterator[_Pair]:
    rng = random.Random(SEED)  # noqa: S311 - repeatable
    for log in planted_logs(list(logs), list(HELD_OUT), rng):
        relevant = np.flatnonzero(log.relevant)
        host = [line for line, is_relevant in zip(log.lines, log.relevant, strict=True) if not is_relevant]
        good = [_DIGITS.sub(lambda found: _redrawn(found[0], rng), line) for line in host if rng.random() > LACKING]
        causes = {("", int(i) + 1) for i in relevant if log.lines[i].strip()}
        yield _Pair({"": log.lines}, {"": good}, causes)


def _redrawn(digits: str, rng: random.Random) -> str:
    return "".join(rng.choice("0123456789") for _ in digits)
