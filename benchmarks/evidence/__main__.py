"""Measures how often the first evidence lines of failing runs are their cause, and whether the right UEs are named.

    python -m benchmarks.evidence --data DIR [--runs 60] [--corpus 400] [--misses 5] [--out benchmarks/results/evidence.md]

What counts as the cause of a run stands in `benchmarks/evidence/cause_lines.toml`. Runs of the TM500-style corpus are
generated with a seed of their own. Takes some minutes.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.arguments import add_data, add_out, benchmark_parser, parse_with_data, write_page
from benchmarks.corpora import OAI, judge
from benchmarks.evidence.cause_lines import Patterns, cause_lines, corpus_cause, corpus_symptom, oai_cause
from benchmarks.throughput import table
from stream_triage import Bundle, Triage, find_bundle
from training.corpus import GeneratedRun, generate
from training.data import read_oai_rows

__all__ = ["main"]

RESULTS = Path(__file__).parents[1] / "results" / "evidence.md"
SEED = 78
FIRST = 3
COLUMNS = ("runs", "label right", "first line", f"first {FIRST} lines", "any line")


class Case(NamedTuple):
    """A failing run, what must be shown of it, and the row of the table that it belongs to."""

    sources: Mapping[str, bytes]
    label: str
    row: str
    cause: Patterns


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the page and writes it; returns the exit status."""
    parser = benchmark_parser("benchmarks.evidence", __doc__)
    parser.add_argument(
        "--runs", type=int, default=60, metavar="N", help="OpenAirInterface runs of each outcome (default: %(default)s)"
    )
    parser.add_argument(
        "--corpus", type=int, default=400, metavar="N", help="generated runs, passing ones included (default: %(default)s)"
    )
    parser.add_argument("--misses", type=int, default=0, metavar="N", help="print N runs of each row without their cause")
    add_data(parser)
    add_out(parser, RESULTS)
    options = parse_with_data(parser, argv)
    oai, tm500 = (Triage(Bundle.open(find_bundle(name))) for name in ("oai5g", "tm500"))
    generated = list(generate(options.corpus, seed=SEED))
    parts = [
        f"## OpenAirInterface\n\n{_causes(oai, _oai(options.data / OAI, options.runs), options.misses)}",
        f"## TM500-style corpus\n\n{_causes(tm500, _corpus(generated), options.misses)}",
        f"## UEs that failed\n\n{_ues(tm500, generated)}",
    ]
    page = (
        f"# Evidence\n\n{date.today().isoformat()}. Written by `python -m benchmarks.evidence`. Failing runs: how often the "
        f"evidence lines that come first are the cause of the failure.\n\n" + "\n\n".join(parts) + "\n"
    )
    write_page(page, options.out)
    return 0


def _oai(path: Path, each: int) -> Iterator[Case]:
    """Failing runs of each outcome that has a cause line, drawn at random."""
    by_outcome: dict[str, list[Case]] = {}
    for run, row in read_oai_rows(path):
        if cause := oai_cause(row["outcome"]):
            by_outcome.setdefault(row["outcome"], []).append(Case(run.sources, run.label, row["outcome"], cause))
    for _, cases in sorted(by_outcome.items()):
        yield from random.Random(SEED).sample(cases, min(each, len(cases)))  # noqa: S311 - repeatable


def _corpus(runs: Iterable[GeneratedRun]) -> Iterator[Case]:
    """Failing runs by layer, and apart from them those that show no record of the cause itself."""
    rows = {"records": "", "tail": ", only what follows", "absence": ", only what is missing"}
    for run in runs:
        if run.label != "Pass":
            cause = corpus_symptom() if run.evidence == "tail" else corpus_cause(run.cause)
            yield Case({"": run.text}, run.label, f"{run.label}{rows[run.evidence]}", cause)


def _causes(triage: Triage, cases: Iterable[Case], misses: int) -> str:
    rows: dict[str, Counter[str]] = {}
    shown: Counter[str] = Counter()
    for case in cases:
        verdict = judge(triage, case.sources)
        items = [item for item in verdict.evidence if item.kind != "missing"]
        causes = cause_lines(case.sources, case.cause)
        hits = [(item.source, item.number) in causes for item in items]
        for row in (case.row, "all"):
            rows.setdefault(row, Counter()).update(
                {
                    "runs": 1,
                    "label right": verdict.label == case.label,
                    "first line": any(hits[:1]),
                    f"first {FIRST} lines": any(hits[:FIRST]),
                    "any line": any(hits),
                }
            )
        if not any(hits[:1]) and shown[case.row] < misses:
            shown[case.row] += 1
            print(f"{case.row}: {case.label}, judged {verdict.label}", file=sys.stderr)
            for item, hit in islice(zip(items, hits, strict=True), 4):
                print(f"    {'cause ' if hit else ''}{item.words()[:150]}", file=sys.stderr)
    ordered = sorted(row for row in rows if row != "all")
    return table(
        ("outcome", *COLUMNS),
        [
            (row, str(rows[row]["runs"]), *(f"{100 * rows[row][name] / rows[row]['runs']:.1f} %" for name in COLUMNS[1:]))
            for row in (*ordered, "all")
        ],
    )


def _ues(triage: Triage, runs: Iterable[GeneratedRun]) -> str:
    counts: Counter[str] = Counter()
    for run in runs:
        verdict = judge(triage, {"": run.text})
        struck = set(run.failed_ues)
        named = {ue.ue for ue in verdict.ues.first} if verdict.ues else set()
        if run.label == "Pass":
            counts.update({"passing": 1, "passing, none named": not named})
        else:
            counts.update({"struck": len(struck), "named": len(named), "both": len(struck & named)})
    return table(
        ("of", "share"),
        [
            ("UEs named in failing runs: struck", _share(counts["both"], counts["named"])),
            ("UEs struck: named", _share(counts["both"], counts["struck"])),
            ("passing runs: no UE named", _share(counts["passing, none named"], counts["passing"])),
        ],
    )


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({100 * part / whole:.1f} %)" if whole else "")


if __name__ == "__main__":
    sys.exit(main())
