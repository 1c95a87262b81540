"""Writes the corpus that models/tm500 is trained on: both versions of the TM500-style corpus in one folder.

    python -m training.tm500_corpus --out .cache/corpus/tm500

Two generators by different hands are harder to fit by heart than one: what holds in version 1 alone, or in version 2 alone,
is a habit of its generator. Splits:

- `vocabulary`: the test part has two vocabularies of version 2, and the test parts of both splits of version 1.
- `causes`: the test part has causes and scripts of both versions that no other run has.
"""

import csv
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from training import corpus, varied
from training.arguments import command_parser

__all__ = ["RUNS", "JoinedRun", "joined", "main"]

RUNS: Final = 3262
"""Runs of each version."""
SPLITS: Final = ("vocabulary", "causes")


class JoinedRun(NamedTuple):
    """One run of either version; the fields other than the text are the columns of labels.csv."""

    run: str
    label: str
    ues: str
    """Ids of the UEs that failed, separated by blanks."""
    version: str
    cause: str
    split_vocabulary: str
    split_causes: str
    group_vocabulary: str
    group_causes: str
    text: bytes


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 if the folder contains other files."""
    parser = command_parser("training.tm500_corpus", __doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="a new folder, or one that this command wrote before"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="number of runs of each version (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all random draws (default: %(default)s)")
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    if out.exists() and not (out / "card.json").is_file() and any(out.iterdir()):
        print(f"error: {out} contains other files; name a new folder", file=sys.stderr)
        return 2
    logs = out / "runs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    (out / "card.json").unlink(missing_ok=True)
    labels: Counter[str] = Counter()
    with (out / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(JoinedRun._fields[:-1])
        for run in joined(arguments.runs, arguments.seed):
            (logs / run.run).write_bytes(run.text)
            writer.writerow(run[:-1])
            labels[f"version {run.version}, {run.label}"] += 1
    card = {"seed": arguments.seed, "runs": labels.total(), "labels": dict(sorted(labels.items()))}
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{card['runs']} runs: {out}")
    return 0


def joined(runs: int, seed: int) -> Iterator[JoinedRun]:
    """Generates `runs` runs of each version; the same seed gives the same bytes."""
    for one in corpus.generate(runs, seed):
        held_out = "test" if "test" in (one.easy_part, one.hard_part) else "train"
        group = f"1 {one.cause or one.script}"
        yield JoinedRun(
            run=f"v1-{one.run_id}.log",
            label=one.label,
            ues=" ".join(map(str, one.failed_ues)),
            version="1",
            cause=one.cause,
            split_vocabulary=held_out,
            split_causes=one.hard_part,
            group_vocabulary=group,
            group_causes=group,
            text=one.text,
        )
    for run in varied.generate(runs, seed):
        yield JoinedRun(
            run=f"v2-{run.run_id}.log",
            label=run.label,
            ues=" ".join(map(str, run.failed_ues)),
            version="2",
            cause=run.cause,
            split_vocabulary=run.parts["vocabulary"],
            split_causes=run.parts["causes"],
            group_vocabulary=f"2 {run.habits.vocabulary}",
            group_causes=f"2 {run.cause or run.habits.script.name}",
            text=run.text,
        )


if __name__ == "__main__":
    raise SystemExit(main())
