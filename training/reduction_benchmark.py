"""Measures what a reduction keeps and removes, beside simple ways to shorten a log, and writes training/REDUCTION.md.

    python -m training.reduction_benchmark --data DIR [--bundle models/generic] [--runs 40] [--out training/REDUCTION.md]

LogChunks: the logs of 20 projects that training has not seen. Planted: failures put into BugSwarm logs of builds that
passed, half of their wordings unknown to training. Runs: OpenAirInterface and TM500-style runs whose cause lines are known.
Every method may print the same number of lines, counted without those that have no text. Takes some minutes.
"""

import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from stream_triage import Bundle
from stream_triage.escapes import without_escapes
from stream_triage.stages.reduce import ARRAYS, NO_LIMIT, PROFILE, Reducer, Relevance, tokens_of
from stream_triage.stages.reduce.budget import AUTO_LEAST, AUTO_SCORE
from training.arguments import command_parser
from training.ci_logs import CiLog, read_bugswarm, read_logchunks, split_projects
from training.fit.relevance import scores_of
from training.planted import HELD_OUT, TRAINING
from training.planted_long import LONG
from training.reduction_good import good_table
from training.reduction_runs import runs_table
from training.relevance import CHUNKS, SWARM, SWARM_LOGS, SWARM_SEED, SWARM_TRAINING, foreign, planted_logs
from training.report.markdown import table

__all__ = ["main"]

RESULTS: Final = Path(__file__).with_name("REDUCTION.md")
BUDGETS: Final[Mapping[str, float]] = {"1 %": 0.01, "2 %": 0.02, "5 %": 0.05, "10 %": 0.1, "40 lines": 40, "200 lines": 200}
RANKED: Final = 40
# What `grep` looks for, and the lines around a match that it prints.
ERROR: Final = re.compile(r"(?i)error|fail|exception|fatal|panic|traceback|cannot|undefined|not found|assert")
BEFORE, AFTER = 3, 8
LARGE_PART: Final = 4096
DIGITS: Final = re.compile(r"\d+")
LETTERS: Final = r"[A-Za-z]{3,}"

Scores = NDArray[np.float32]


class Case(NamedTuple):
    """A log, and its lines with text."""

    log: CiLog
    lines: list[str]
    relevant: NDArray[np.bool_]
    places: NDArray[np.intp]
    """Index of each in the log."""
    matches: NDArray[np.bool_]
    """Whether `grep` finds it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints and writes the page; returns the exit status."""
    parser = command_parser("training.reduction_benchmark", __doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of real logs")
    parser.add_argument("--bundle", type=Path, default=Path("models", "generic"), metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=40, metavar="N", help="OpenAirInterface runs of each outcome")
    parser.add_argument(
        "--large", type=int, default=5_000_000, metavar="N", help="lines of one long log, 0 for none (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE", help="page (default: training/REDUCTION.md)")
    options = parser.parse_args(argv)
    bundle = Bundle.open(options.bundle)
    relevance = Relevance.from_files(bundle.json(PROFILE), bundle.arrays(ARRAYS))
    _, unseen = split_projects(read_logchunks(options.data / CHUNKS))
    swarm = read_bugswarm(options.data / SWARM, SWARM_LOGS, SWARM_SEED)[SWARM_TRAINING:]
    rng = random.Random(1)  # noqa: S311 - repeatable
    chunks = [_case(log) for log in unseen]
    elsewhere = [_case(log) for log in foreign(unseen, swarm, rng)]
    known = [_case(log) for log in planted_logs(swarm, list(TRAINING), rng)]
    new = [_case(log) for log in planted_logs(swarm, list(HELD_OUT), rng)]
    long = [_case(log) for log in planted_logs(swarm, list(LONG), rng)]
    model = _model(relevance)
    parts = [
        f"# Reduction\n\n{date.today().isoformat()}. Written by `python -m training.reduction_benchmark` with version "
        f"{bundle.card.version} of the bundle `{bundle.card.name}`. Each cell is the share of the relevant lines that were "
        "kept, and the share of the logs of which all relevant lines were kept. A budget is the number of lines that may be "
        "printed: a share of the lines with text, or a number. `oracle` prints relevant lines alone.",
        _part("LogChunks, projects that training has not seen", chunks, model),
        _part("The same without the lines of their host, and with the end of another log behind them", elsewhere, model),
        _part("Planted failures of tools that training has not seen", new, model),
        _part("Planted failures of tools that training has seen", known, model),
        _part("Planted failures with all that tools print around them, none of them in training", long, model),
        _kinds([*new, *known, *long], model),
        _ranked(chunks, model),
        _removed(chunks, model),
        _speed(chunks, relevance, options.large),
        f"## With a good run\n\n{good_table(options.data, relevance, swarm, options.runs)}",
        f"## Runs\n\n{runs_table(options.data, options.runs)}",
    ]
    page = "\n\n".join(parts) + "\n"
    print(page, end="")
    options.out.write_text(page, encoding="utf-8")
    return 0


def _case(log: CiLog) -> Case:
    shown = [without_escapes(line) for line in log.lines]
    index = np.array([i for i, line in enumerate(shown) if line and not line.isspace()], dtype=np.intp)
    lines = [shown[i] for i in index]
    matches = np.array([bool(ERROR.search(line)) for line in lines], dtype=bool)
    return Case(log, lines, log.relevant[index], index, matches)


def _lines_of(budget: float, case: Case) -> int:
    """The number of lines that a budget allows; parts of a progress bar do not enlarge it."""
    lines = round(budget * case.log.whole_lines) if budget < 1 else int(budget)
    return min(max(lines, 1), len(case.lines))


def _random(case: Case, lines: int) -> Scores:
    return np.random.default_rng(len(case.lines)).random(len(case.lines)).astype(np.float32)


def _tail(case: Case, lines: int) -> Scores:
    return np.arange(len(case.lines), dtype=np.float32)


def _grep(case: Case, lines: int) -> Scores:
    """Lines around matches, those at the end first; then the end of the log."""
    place = np.arange(len(case.lines), dtype=np.float32)
    matches = case.matches
    around = np.zeros(len(matches), dtype=bool)
    for by in range(-BEFORE, AFTER + 1):
        around[max(by, 0) : len(around) + min(by, 0)] |= matches[max(-by, 0) : len(around) - max(by, 0)]
    return place + np.where(around, len(place), 0).astype(np.float32)


def _grep_and_tail(case: Case, lines: int) -> Scores:
    """A quarter of the lines from the end, the others around matches."""
    scores = _grep(case, lines)
    quarter = lines // 4
    if quarter:
        scores[-quarter:] += 2 * len(scores)
    return scores


def _distinct(case: Case, lines: int) -> Scores:
    """Lines that differ from all before them, with numbers left out; the last ones first."""
    seen: set[str] = set()
    scores = np.arange(len(case.lines), dtype=np.float32)
    for i, line in enumerate(case.lines):
        masked = DIGITS.sub("0", line)
        if masked not in seen:
            seen.add(masked)
            scores[i] += len(scores)
    return scores


def _rare(case: Case, lines: int) -> Scores:
    """Lines of the rarest structure first, as a log compressor sees it (LogZip); of equal ones those at the end."""
    shapes = [re.sub(r"\S*\d\S*", "#", line) for line in case.lines]
    counts: dict[str, int] = defaultdict(int)
    for shape in shapes:
        counts[shape] += 1
    return np.array([i / len(shapes) - counts[shape] for i, shape in enumerate(shapes)], dtype=np.float32)


def _oracle(case: Case, lines: int) -> Scores:
    return case.relevant.astype(np.float32)


Method = Callable[[Case, int], Scores]


def _once(method: Method) -> Method:
    """A method that does not depend on the number of lines, computed once for each log."""
    known: dict[int, Scores] = {}

    def score(case: Case, lines: int) -> Scores:
        if id(case.log) not in known:
            known[id(case.log)] = method(case, lines)
        return known[id(case.log)]

    return score


SIMPLE: Final[Mapping[str, Method]] = {
    "random": _once(_random),
    "tail": _once(_tail),
    "grep −3/+8": _once(_grep),
    "grep ∪ tail": _grep_and_tail,
    "distinct lines": _once(_distinct),
    "rare structure": _once(_rare),
}


def _model(relevance: Relevance) -> Method:
    return _once(lambda case, lines: scores_of(relevance, case.log)[case.places])


def _best(scores: Scores, count: int) -> NDArray[np.intp]:
    return np.argsort(-scores, kind="stable")[:count]


def _kept(case: Case, method: Method, budget: float) -> tuple[float, bool]:
    """Share of the relevant lines that are kept, and whether all are."""
    count = _lines_of(budget, case)
    kept = case.relevant[_best(method(case, count), count)].sum()
    return float(kept / case.relevant.sum()), bool(kept == case.relevant.sum())


def _part(title: str, cases: Sequence[Case], model: Method) -> str:
    print(title, file=sys.stderr, flush=True)  # it takes minutes
    methods = {**SIMPLE, "stream-triage": model, "oracle": _oracle}
    rows = []
    for name, method in methods.items():
        cells = []
        for budget in BUDGETS.values():
            results = [_kept(case, method, budget) for case in cases]
            cells.append(
                f"{np.mean([recall for recall, _ in results]):.3f} / {np.mean([whole for _, whole in results]):.3f}"
            )
        rows.append((name, *cells))
    lines = sum(len(case.lines) for case in cases)
    projects = len({case.log.project for case in cases})
    return f"## {title}\n\n{len(cases)} logs in {projects} groups, {lines:,} lines with text.\n\n" + table(
        ("", *BUDGETS), rows
    )


def _kinds(cases: Iterable[Case], model: Method) -> str:
    results: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for case in cases:
        results[case.log.category].append(_kept(case, model, 0.05))
    rows = [
        (
            name,
            "yes" if name in TRAINING else "no",
            str(len(found)),
            *(f"{np.mean(column):.3f}" for column in zip(*found, strict=True)),
        )
        for name, found in sorted(results.items())
    ]
    return "## Planted failures by tool, 5 % of the lines\n\n" + table(
        ("tool", "in training", "logs", "lines", "whole"), rows
    )


def _ranked(cases: Sequence[Case], model: Method) -> str:
    methods = {**SIMPLE, "stream-triage": model}
    rows = [
        (name, f"{np.mean([case.relevant[_best(method(case, RANKED), RANKED)].any() for case in cases]):.3f}")
        for name, method in methods.items()
    ]
    return f"## `--rank`\n\nLogChunks: how often one of the first {RANKED} printed lines is relevant.\n\n" + table(
        ("", "logs"), rows
    )


def _removed(cases: Sequence[Case], model: Method) -> str:
    """What is left out, and what is left of the meaning, in the measures of LogSieve."""
    methods: dict[str, tuple[Method, float | None]] = {
        "stream-triage, auto": (model, None),
        "stream-triage, 5 %": (model, 0.05),
        "tail, 5 %": (_tail, 0.05),
        "grep ∪ tail, 5 %": (_grep_and_tail, 0.05),
        "random, 5 %": (_random, 0.05),
    }
    texts = ["\n".join(case.lines) for case in cases]
    vectors = TfidfVectorizer(token_pattern=LETTERS, sublinear_tf=True).fit(texts)
    full = vectors.transform(texts)
    same_full = _same_category(cases, full)
    rows = [("all lines", "0.000", "0.000", "", "", "", "1.000", f"{same_full:.3f}", "1.000")]
    for name, (method, budget) in methods.items():
        chosen = [_chosen(case, method, budget) for case in cases]
        kept = [
            "\n".join(np.array(case.lines, dtype=object)[np.sort(lines)]) for case, lines in zip(cases, chosen, strict=True)
        ]
        reduced = vectors.transform(kept)
        cosine = np.asarray(full.multiply(reduced).sum(axis=1)).ravel()
        sizes = np.array([len(lines) / case.log.whole_lines for case, lines in zip(cases, chosen, strict=True)])
        tokens = [
            sum(tokens_of(len(case.lines[i])) for i in lines) / sum(tokens_of(len(line)) for line in case.lines)
            for case, lines in zip(cases, chosen, strict=True)
        ]
        hits = np.array([case.relevant[lines].sum() for case, lines in zip(cases, chosen, strict=True)])
        precision = hits / np.maximum([len(lines) for lines in chosen], 1)
        recall = hits / np.array([case.relevant.sum() for case in cases])
        balanced = [_balanced(case, lines) for case, lines in zip(cases, chosen, strict=True)]
        rows.append(
            (
                name,
                f"{1 - sizes.mean():.3f}",
                f"{1 - np.mean(tokens):.3f}",
                f"{recall.mean():.3f}",
                f"{precision.mean():.3f}",
                f"{np.mean(balanced):.3f}",
                f"{cosine.mean():.3f}",
                f"{_same_category(cases, reduced, full):.3f}",
                f"{np.mean([_words_kept(case, lines) for case, lines in zip(cases, chosen, strict=True)]):.3f}",
            )
        )
    head = ("", "lines removed", "tokens removed", "recall", "precision", "balanced accuracy", "cosine", "category", "words")
    return (
        "## Removed, and what is left\n\nLogChunks. `cosine`: of the TF-IDF vectors of the whole and the reduced log. "
        "`category`: the category of the failure is that of the nearest other log of the project, by the same vectors. "
        "`words`: share of the words of the relevant lines that the reduced log still has; this stands in for GPTScore, "
        "which needs a language model. Tokens are estimated.\n\n" + table(head, rows)
    )


def _chosen(case: Case, method: Method, budget: float | None) -> NDArray[np.intp]:
    if budget is not None:
        count = _lines_of(budget, case)
        return _best(method(case, count), count)
    scores = method(case, 0)
    best = _best(scores, NO_LIMIT.most_lines(case.log.whole_lines))
    return best[(np.arange(len(best)) < AUTO_LEAST) | (scores[best] >= AUTO_SCORE)]


def _balanced(case: Case, lines: NDArray[np.intp]) -> float:
    """Mean of the shares of relevant lines that are kept and of other lines that are removed."""
    kept = np.zeros(len(case.lines), dtype=bool)
    kept[lines] = True
    others = ~case.relevant
    return float((kept[case.relevant].mean() + ((~kept)[others].mean() if others.any() else 1.0)) / 2)


def _words_kept(case: Case, lines: NDArray[np.intp]) -> float:
    words = {word for i in np.flatnonzero(case.relevant) for word in case.lines[i].split()}
    found = {word for i in lines for word in case.lines[i].split()}
    return len(words & found) / max(len(words), 1)


def _same_category(cases: Sequence[Case], vectors: Any, others: Any = None) -> float:
    """How often the nearest other log of a project has the same category; `others` are the logs that are compared with."""
    similar = np.asarray((vectors @ (others if others is not None else vectors).T).todense())
    same = []
    for i, case in enumerate(cases):
        peers = [j for j, other in enumerate(cases) if other.log.project == case.log.project and j != i]
        if peers:
            nearest = max(peers, key=lambda j: float(similar[i, j]))
            same.append(cases[nearest].log.category == case.log.category)
    return float(np.mean(same))


def _speed(cases: Sequence[Case], relevance: Relevance, large: int) -> str:
    """Lines a second, and what is kept of a long log, by the relevance model alone."""
    began = time.process_time()
    for case in cases:
        scores_of(relevance, case.log)
    seconds = time.process_time() - began
    lines = sum(len(case.log.lines) for case in cases)
    text = f"## Speed\n\nFrom lines to importance: {lines / seconds:,.0f} lines/s on one core ({lines:,} lines)."
    if not large:
        return text
    every = [line for case in cases for line in case.log.lines]
    began = time.process_time()
    reader = relevance.reader()
    for start in range(0, large, LARGE_PART):
        at = start % (len(every) - LARGE_PART)
        reader.add(every[at : at + LARGE_PART])
    log = reader.finish()
    Reducer(relevance).reduce({"": log})
    seconds = time.process_time() - began
    kept = sum(array.nbytes for array in (log.number, log.score, log.size, *log.table)) / len(log.number)
    rate = large / seconds
    return f"{text} One log of {large:,} lines: {rate:,.0f} lines/s; {kept:.0f} bytes are kept of each line with text."


if __name__ == "__main__":
    sys.exit(main())
