"""Measures which cut runs are noticed: verdicts on runs whose end or beginning is missing, and on whole runs.

    python -m benchmarks.cuts --data DIR [--runs 100] [--whole 400] [--out benchmarks/results/cuts.md]

Runs of the TM500-style corpus are generated with a seed of their own, so their scripts differ from those of the shipped
bundle. What a cut leaves outstanding is decided by an oracle that sees both sides of the cut
(`benchmarks/cut_oracle.py`). Takes some minutes.
"""

import random
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.arguments import add_data, add_out, benchmark_parser, parse_with_data, write_page
from benchmarks.corpora import OAI, judge
from benchmarks.cut_oracle import oai_outstanding, tm500_outstanding, tm500_start_missing
from benchmarks.throughput import table
from stream_triage import Bundle, Triage, Verdict, find_bundle
from training.corpus import generate
from training.data import read_oai

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results" / "cuts.md"
PERCENT = (3, 5, 10, 25, 50, 75, 90, 95, 99)
SEED = 77
SECOND = "Second generator"
REASONS = {"end": "the log ends early", "start": "the log starts late"}


class Case(NamedTuple):
    """A whole run: its sources, its label ("" if unknown), and the bundle that judges it."""

    sources: Mapping[str, bytes]
    label: str
    bundle: str


Oracle = Callable[[Sequence[str], int], list[str]]
"""Lines of a source, and how many of them come before the cut; kinds of things that are outstanding."""


class Tally:
    """Counts of one data set and one kind of cut, by share of the run in percent or by kind of thing that is outstanding."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}

    def add(self, row: str, **counts: bool) -> None:
        """Adds one cut."""
        of_row = self.counts.setdefault(row, Counter())
        of_row.update({name: int(value) for name, value in counts.items()})

    def of(self, row: str, name: str, total: str) -> str:
        """`flagged of total` and its share."""
        counts = self.counts.get(row, Counter())
        share = f" ({100 * counts[name] / counts[total]:.0f} %)" if counts[total] else ""
        return f"{counts[name]} of {counts[total]}{share}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the page and writes it; returns the exit status."""
    parser = benchmark_parser("benchmarks.cuts", __doc__)
    parser.add_argument(
        "--runs", type=int, default=100, metavar="N", help="runs of each set that are cut (default: %(default)s)"
    )
    parser.add_argument("--whole", type=int, default=400, metavar="N", help="whole runs of each set (default: %(default)s)")
    add_data(parser)
    add_out(parser, RESULTS)
    options = parse_with_data(parser, argv)
    judges = {name: Triage(Bundle.open(find_bundle(name))) for name in ("tm500", "oai5g")}
    corpus = _corpus(max(options.runs, options.whole))
    oai = _oai(options.data / OAI, max(options.runs, options.whole))
    others = _other_sets(options.data)
    whole = {"TM500-style corpus": corpus, "OpenAirInterface": oai, **others}
    parts = [_whole_runs(judges, whole, options.whole)]
    sets: tuple[tuple[str, list[Case], str, Oracle], ...] = (
        ("TM500-style corpus, end missing", corpus, "end", tm500_outstanding),
        ("OpenAirInterface, end missing", oai, "end", oai_outstanding),
        ("TM500-style corpus, beginning missing", corpus, "start", tm500_start_missing),
        (f"{SECOND}, end missing", others.get(SECOND, []), "end", tm500_outstanding),
        (f"{SECOND}, beginning missing", others.get(SECOND, []), "start", tm500_start_missing),
    )
    for title, cases, side, oracle in sets:
        if cases:
            parts.append(f"## {title}\n\n{_cuts(judges, cases[: options.runs], side, oracle)}")
    page = (
        f"# Cut runs\n\n{date.today().isoformat()}. Written by `python -m benchmarks.cuts`. docs/lab.md says what the "
        "columns mean.\n\n" + "\n\n".join(parts) + "\n"
    )
    write_page(page, options.out)
    return 0


def _corpus(runs: int) -> list[Case]:
    return [Case({"": run.text}, run.label, "tm500") for run in generate(runs, seed=SEED)]


def _oai(path: Path, runs: int) -> list[Case]:
    """A random part of the OpenAirInterface runs."""
    every = read_oai(path)
    return [Case(run.sources, run.label, "oai5g") for run in random.Random(SEED).sample(every, min(runs, len(every)))]


def _judge(judges: Mapping[str, Triage], case: Case, sources: Mapping[str, bytes]) -> Verdict:
    return judge(judges[case.bundle], sources)


def _flagged(verdict: Verdict, side: str) -> bool:
    return any(reason.startswith(REASONS[side]) for reason in verdict.review_reasons)


def _cuts(judges: Mapping[str, Triage], cases: Iterable[Case], side: str, oracle: Oracle) -> str:
    """The table of one set: runs are cut at line ends, then once inside a line."""
    tally = Tally()
    for number, case in enumerate(cases):
        for percent in PERCENT:
            cut, kinds = _cut_lines(case, percent, side, oracle)
            _add(tally, f"{percent} %", (case, _judge(judges, case, cut)), side, kinds)
        cut = _cut_inside_line(case, random.Random(number), side)
        _add(tally, "inside a line", (case, _judge(judges, case, cut)), side, {"incomplete line"})
    head = ("cut at", "outstanding, flagged", "nothing outstanding, flagged", "wrong and sure before", "after")
    rows = [
        (
            row,
            tally.of(row, "hits", "due"),
            tally.of(row, "others flagged", "others"),
            tally.of(row, "sure before", "cuts"),
            tally.of(row, "sure after", "cuts"),
        )
        for row in (*(f"{percent} %" for percent in PERCENT), "inside a line")
    ]
    things = sorted(row for row in tally.counts if row[0].isalpha() and row != "inside a line")
    by_kind = [(kind, tally.of(kind, "hits", "due")) for kind in things]
    return table(head, rows) + "\n\n" + table(("outstanding", "flagged"), by_kind)


def _add(tally: Tally, row: str, judged: tuple[Case, Verdict], side: str, kinds: set[str]) -> None:
    case, verdict = judged
    flagged, due = _flagged(verdict, side), bool(kinds)
    wrong = verdict.label != case.label
    others = [reason for reason in verdict.review_reasons if not reason.startswith(tuple(REASONS.values()))]
    tally.add(
        row,
        cuts=True,
        due=due,
        hits=due and flagged,
        others=not due,
        **{
            "others flagged": not due and flagged,
            "sure before": wrong and not others,
            "sure after": wrong and not verdict.needs_review,
        },
    )
    for kind in kinds:
        tally.add(kind, due=True, hits=flagged)


def _cut_lines(case: Case, percent: int, side: str, oracle: Oracle) -> tuple[dict[str, bytes], set[str]]:
    """The run without its end or beginning, cut between lines, and what that leaves outstanding."""
    cut: dict[str, bytes] = {}
    kinds: set[str] = set()
    for name, text in case.sources.items():
        lines = text.splitlines(keepends=True)
        at = max(1, len(lines) * percent // 100)
        cut[name] = b"".join(lines[:at] if side == "end" else lines[at:])
        kinds.update(oracle([line.decode(errors="replace").rstrip("\r\n") for line in lines], at))
    return cut, kinds


def _cut_inside_line(case: Case, rng: random.Random, side: str) -> dict[str, bytes]:
    """One source, cut in the middle of a line."""
    name, text = rng.choice(sorted(case.sources.items()))
    lines = text.splitlines(keepends=True)
    number = rng.choice([i for i, line in enumerate(lines) if len(line.strip()) > 8])
    line = lines[number].rstrip()
    at = rng.randrange(len(line) - len(line.lstrip()) + 1, len(line))
    return {
        name: b"".join([*lines[:number], line[:at]])
        if side == "end"
        else b"".join([lines[number][at:], *lines[number + 1 :]])
    }


def _whole_runs(judges: Mapping[str, Triage], sets: Mapping[str, list[Case]], runs: int) -> str:
    rows = []
    for title, some in sets.items():
        verdicts = [(case, _judge(judges, case, case.sources)) for case in some[:runs]]
        for passing, kind in ((True, "passing"), (False, "failing"), (None, "excerpts and others")):
            of_kind = [verdict for case, verdict in verdicts if (case.label == "Pass" if case.label else None) is passing]
            if of_kind:
                ends, starts = (sum(_flagged(verdict, side) for verdict in of_kind) for side in REASONS)
                rows.append((f"{title}, {kind}", str(len(of_kind)), str(ends), str(starts)))
    return "## Whole runs\n\n" + table(("set", "runs", "ends early", "starts late"), rows)


def _other_sets(data: Path) -> dict[str, list[Case]]:
    """Logs of other systems, and runs of the second TM500-style generator, where the data folder has them."""
    sets: dict[str, list[Case]] = {}
    if (data / "ran" / "logs").is_dir():
        files = sorted((data / "ran" / "logs").rglob("*.log"))
        sets["Logs of other stacks"] = [Case({"": file.read_bytes()}, "", "oai5g") for file in files]
    for title, archive in (
        ("Hadoop", "hadoop/hadoop_runs.tar.xz"),
        ("Loghub", "loghub/loghub_2k_corrected.tar.xz"),
        ("LogChunks", "ci/logchunks.tar.xz"),
    ):
        if (data / archive).is_file():
            sets[title] = [Case({"": text}, "", "oai5g") for text in islice(_members(data / archive), 200)]
    if (data / "tm500_alt.py").is_file():
        sets[SECOND] = list(_second_generator(data / "tm500_alt.py"))
    return sets


def _members(archive: Path) -> Iterator[bytes]:
    with tarfile.open(archive) as file:
        for member in file:
            content = file.extractfile(member) if member.name.endswith("log") else None
            if content is not None:
                yield content.read()


def _second_generator(script: Path) -> Iterator[Case]:
    with tempfile.TemporaryDirectory(prefix="stream-triage-cuts-") as folder:
        subprocess.run([sys.executable, str(script), folder, "200", str(SEED)], check=True, capture_output=True)
        rows = (line.split(",") for line in Path(folder, "labels.csv").read_text(encoding="utf-8").splitlines()[1:])
        for name, label, *_ in rows:
            yield Case({"": Path(folder, name).read_bytes()}, label, "tm500")


if __name__ == "__main__":
    sys.exit(main())
