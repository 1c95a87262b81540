"""Writes the TM500-style corpus to a folder: logs in runs/, labels.csv, and card.json with counts and a fingerprint.

    python -m training.corpus --out .cache/corpus/tm500

The same seed gives the same files, byte for byte.
"""

import csv
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from training.arguments import add_generator, command_parser, of_others
from training.corpus import GeneratedRun, generate
from training.corpus.plan import RUNS
from training.data import LabelledRun, fingerprint

__all__ = ["main"]

# With fewer runs some part of a split has no run of the rarest label.
MIN_RUNS = 30
COLUMNS = ("run", "label", "category", "ues", "cause", "script", "split_easy", "split_hard", "group_easy", "group_hard")
ABOUT = (
    "Invented. No line of it was written by a TM500: a generator made it, in the grammar that public excerpts show, with "
    "wordings that are mostly made up around exact 3GPP words. Scores on it say how models compare, not how they do on a "
    "farm's own logs."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 if the folder contains other files."""
    parser = command_parser("training.corpus", __doc__)
    add_generator(parser, RUNS, f"number of runs, at least {MIN_RUNS}")
    arguments = parser.parse_args(argv)
    if arguments.runs < MIN_RUNS:
        parser.error(f"--runs must be at least {MIN_RUNS}, or some part of a split has no run of some label")
    if of_others(arguments.out):
        return 2
    started = time.perf_counter()
    card = _write(arguments.out, generate(arguments.runs, arguments.seed), arguments.seed)
    print(
        f"{card['runs']} runs in {time.perf_counter() - started:.0f} s: {arguments.out}, fingerprint {card['fingerprint']}"
    )
    return 0


def _write(out: Path, runs: Iterable[GeneratedRun], seed: int) -> dict[str, Any]:
    """Writes logs, labels and card; the card comes last, so that a folder without one is recognised as unfinished."""
    logs = out / "runs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    rows = list(runs)
    for run in rows:
        (logs / f"{run.run_id}.log").write_bytes(run.text)
    with (out / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for run in rows:
            name = f"{run.run_id}.log"
            group, ues = run.cause or run.script, " ".join(map(str, run.failed_ues))
            writer.writerow(
                (name, run.label, run.category, ues, run.cause, run.script, run.easy_part, run.hard_part, name, group)
            )
    card = {
        "about": ABOUT,
        "seed": seed,
        "runs": len(rows),
        "fingerprint": fingerprint(LabelledRun(f"{run.run_id}.log", run.label, {"": run.text}) for run in rows),
        **{name: _counts(getattr(run, name) for run in rows) for name in ("label", "category", "rat", "evidence", "cause")},
        "parts": {
            split: {
                part: _counts(run.label for run in rows if getattr(run, split) == part)
                for part in ("train", "validation", "test")
            }
            for split in ("easy_part", "hard_part")
        },
    }
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    return card


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(value for value in values if value).items()))


if __name__ == "__main__":
    raise SystemExit(main())
