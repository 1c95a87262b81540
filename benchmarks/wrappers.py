"""Judges runs as collectors keep them, and compares each verdict with that of the run as it was written.

    python -m benchmarks.wrappers [--data DIR] [--corpus DIR] [--runs 200] [--only NAME] [--list]

For each wrapper and each of its variants (`benchmarks/wrapped.py`) it prints how many runs keep their label, their first
line of evidence by its number, and whether they need a review. The runs are the samples, `--runs` OpenAirInterface runs of
the data folder, and as many runs of the TM500-style corpus (`python -m training.corpus --seed 1`). `--list` names the
exceptions.
"""

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.arguments import add_data, benchmark_parser, parse_with_data
from benchmarks.corpora import OAI, lines_of
from benchmarks.wrapped import WRAPPERS, Run, Wrap, Wrapped
from stream_triage import Bundle, Triage, Verdict, find_bundle
from stream_triage.records import Evidence, source_line
from training.data import read_oai

__all__ = ["main"]

SAMPLES = Path(__file__).parents[1] / "samples"
CHUNK_BYTES = 30_001


class Case(NamedTuple):
    """A run, and the verdict on it as it was written."""

    name: str
    bundle: str
    run: Run
    verdict: Verdict


class Tally:
    """What runs kept, over all of them."""

    def __init__(self) -> None:
        self.runs = self.labels = self.evidence = self.reviews = self.stripped = 0

    def row(self) -> str:
        """Percentages, as a row of the table."""
        return "  ".join(f"{100 * value / self.runs:6.2f}" for value in (self.labels, self.evidence, self.reviews))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit status, 1 if a wrapper keeps less than 99 % of anything."""
    parser = benchmark_parser("benchmarks.wrappers", __doc__)
    add_data(parser)
    parser.add_argument("--corpus", type=Path, default=Path(".cache/corpus"), help="folder of the TM500-style corpus")
    parser.add_argument("--runs", type=int, default=200, help="runs of each bundle (default: %(default)s)")
    parser.add_argument("--only", default="", help="wrappers whose names contain this")
    parser.add_argument("--list", action="store_true", help="name the runs that changed")
    args = parse_with_data(parser, argv)
    triages = {name: Triage(Bundle.open(find_bundle(name))) for name in ("tm500", "oai5g")}
    cases = [
        Case(name, bundle, run, _judge(triages[bundle], {s: _text(lines) for s, lines in run.items()}))
        for name, bundle, run in _runs(args.data, args.corpus, args.runs)
    ]
    print(f"{'wrapper':34}  {'runs':>5}   label  evid.  review  (% kept)")
    low = False
    for name, wraps in WRAPPERS.items():
        for i, wrap in enumerate(wraps):
            if args.only not in name:
                continue
            tally = _tally(wrap, cases, triages, f"{name} {i + 1}" if args.list else "")
            print(f"{name + (f', variant {i}' if i else ''):34}  {tally.runs:5}  {tally.row()}", flush=True)
            low = low or min(tally.labels, tally.evidence, tally.reviews) < 0.99 * tally.runs
    return int(low)


def _tally(wrap: Wrap, cases: Sequence[Case], triages: dict[str, Triage], listed: str) -> Tally:
    tally = Tally()
    for case in cases:
        wrapped = wrap(case.run, random.Random(case.name))  # noqa: S311 - repeatable
        verdict = _judge(triages[case.bundle], wrapped.sources)
        label = verdict.label == case.verdict.label
        evidence = _same_line(verdict, case.verdict, wrapped)
        review = verdict.needs_review == case.verdict.needs_review
        tally.runs += 1
        tally.labels += label
        tally.evidence += evidence
        tally.reviews += review
        if listed and not (label and evidence and review):
            stripped = sorted({source.stripped for source in verdict.sources})
            lines = f"{_location(case.verdict)} → {_location(verdict)}"
            labels = f"{case.verdict.label} → {verdict.label}"
            print(f"  {listed}: {case.bundle} {case.name}: {labels}, {lines}, {verdict.review_reasons}, {stripped}")
    return tally


def _judge(triage: Triage, sources: dict[str, bytes]) -> Verdict:
    session = triage.session("run")
    for name, data in sources.items():
        for start in range(0, len(data), CHUNK_BYTES):
            session.feed(data[start : start + CHUNK_BYTES], source=name)
    verdict = session.close()
    session.text.close()
    return verdict


def _same_line(verdict: Verdict, before: Verdict, wrapped: Wrapped) -> bool:
    """Whether the strongest line of evidence is the same line of the same program."""
    now, then = _first_line(verdict), _first_line(before)
    if now is None or then is None or then.number is None:
        return now is then
    whole_log = wrapped.positions and not now.source
    numbers = (wrapped.positions if whole_log else wrapped.numbers)[then.source]
    same_source = whole_log or then.source in now.source
    return now.number == numbers[then.number - 1] and same_source and now.key == then.key


def _first_line(verdict: Verdict) -> Evidence | None:
    return next((item for item in verdict.evidence if item.kind == "line"), None)


def _location(verdict: Verdict) -> str:
    line = _first_line(verdict)
    return source_line(line.source, line.number) if line else "none"


def _runs(data: Path, corpus: Path, count: int) -> Iterator[tuple[str, str, Run]]:
    for path in sorted((SAMPLES / "tm500").glob("*.log")):
        yield path.name, "tm500", {"": lines_of(path.read_bytes())}
    for folder in sorted((SAMPLES / "oai5g").iterdir()):
        yield folder.name, "oai5g", {file.stem: lines_of(file.read_bytes()) for file in sorted(folder.iterdir())}
    draw = random.Random(19)  # noqa: S311 - repeatable
    for i, run in enumerate(draw.sample(read_oai(data / OAI), count)):
        yield f"oai-{i}", "oai5g", {source: lines_of(text) for source, text in run.sources.items()}
    for path in draw.sample(sorted((corpus / "runs").glob("*.log")), count):
        yield path.name, "tm500", {"": lines_of(path.read_bytes())}


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


if __name__ == "__main__":
    sys.exit(main())
