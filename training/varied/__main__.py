"""Writes version 2 of the corpus: logs in runs/, labels.csv, runs.jsonl with what each run is made of, and card.json.

    python -m training.varied --out .cache/corpus/varied --runs 3262 --seed 1

The same seed gives the same files, byte for byte.
"""

import csv
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from training.arguments import add_generator, command_parser, of_others
from training.varied import GeneratedRun, generate
from training.varied.plan import LABELS, PARTS, RUNS, SPLITS, held_out, plan

__all__ = ["main"]

COLUMNS = (
    "run", "label", "category", "ues", "cause", "evidence", "campaign", "vocabulary", "script",
    *(f"split_{split}" for split in SPLITS), *(f"group_{split}" for split in SPLITS),
)  # fmt: skip
ABOUT = (
    "Invented. No line of it was written by a TM500: a generator made it, in the grammar that public excerpts show, with "
    "wordings that are mostly made up around exact 3GPP words. Scores on it say what models learn of procedures, not how "
    "they do on a farm's own logs."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 if the folder contains other files or there are too few runs."""
    parser = command_parser("training.varied", __doc__)
    add_generator(parser, RUNS, "number of runs")
    arguments = parser.parse_args(argv)
    if of_others(arguments.out):
        return 2
    if lacking := _lacking(arguments.runs, arguments.seed):
        parser.error(f"with {arguments.runs} runs, {lacking}; name more --runs")
    started = time.perf_counter()
    card = _write(arguments.out, generate(arguments.runs, arguments.seed), arguments.seed)
    print(
        f"{card['runs']} runs in {time.perf_counter() - started:.0f} s: {arguments.out}, fingerprint {card['fingerprint']}"
    )
    return 0


def _lacking(runs: int, seed: int) -> str:
    """What a corpus of so few runs lacks to be trained on; empty if nothing."""
    planned = plan(runs, seed)
    for split in SPLITS:
        for names in (("train", "validation"), ("test",)):
            missing = set(LABELS) - {one.label for one in planned if one.parts[split] in names}
            if missing:
                return f"the {names[0]} part of the split {split} has no run of label {min(missing)}"
    return ""


def _write(out: Path, runs: Iterable[GeneratedRun], seed: int) -> dict[str, Any]:
    """Writes logs, labels and card, one run after the other; the card comes last and marks a folder that is complete."""
    logs = out / "runs"
    shutil.rmtree(logs, ignore_errors=True)
    (out / "card.json").unlink(missing_ok=True)
    logs.mkdir(parents=True)
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("label", "cause", "evidence", "vocabulary", "campaign", "rat")
    }
    parts: dict[str, dict[str, Counter[str]]] = {split: {part: Counter() for part in PARTS} for split in SPLITS}
    whole, total = sha256(), 0
    with ExitStack() as files:
        rows = csv.writer(files.enter_context((out / "labels.csv").open("w", newline="")))
        details = files.enter_context((out / "runs.jsonl").open("w"))
        rows.writerow(COLUMNS)
        for run in runs:
            total += 1
            (logs / f"{run.run_id}.log").write_bytes(run.text)
            rows.writerow(_row(run))
            details.write(json.dumps(_details(run)) + "\n")
            whole.update(f"{run.run_id}\0{run.label}\0".encode() + run.text)
            for name, counter in counts.items():
                counter[_fact(run, name)] += 1
            for split, part in run.parts.items():
                parts[split][part][run.label] += 1
    card = {
        "about": ABOUT,
        "version": 2,
        "seed": seed,
        "runs": total,
        "fingerprint": whole.hexdigest(),
        "held_out_vocabularies": dict(held_out(seed)),
        **{
            name: dict(sorted((value, count) for value, count in counter.items() if value))
            for name, counter in counts.items()
        },
        "parts": {split: {part: dict(sorted(some.items())) for part, some in of.items()} for split, of in parts.items()},
    }
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    return card


def _row(run: GeneratedRun) -> tuple[str, ...]:
    name, habits, ues = f"{run.run_id}.log", run.habits, " ".join(map(str, run.failed_ues))
    category = f"{habits.rat}, {'1 UE' if habits.ues == 1 else 'several UEs'}"
    groups = (name, run.cause or habits.script.name, habits.vocabulary, " / ".join(run.combination))
    return (
        name, run.label, category, ues, run.cause, run.evidence, habits.campaign, habits.vocabulary, habits.script.name,
        *(run.parts[split] for split in SPLITS), *groups,
    )  # fmt: skip


def _fact(run: GeneratedRun, name: str) -> str:
    return str(getattr(run, name) if name in ("label", "cause", "evidence") else getattr(run.habits, name))


def _details(run: GeneratedRun) -> dict[str, Any]:
    """What a run is made of, as JSON."""
    habits = {name: sorted(value) if isinstance(value, frozenset) else value for name, value in vars(run.habits).items()}
    habits["script"] = run.habits.script.name
    return {
        "run": f"{run.run_id}.log",
        "label": run.label,
        "cause": run.cause,
        "evidence": run.evidence,
        "struck_ues": run.failed_ues,
        "overcome": run.overcome,
        "abnormal_layers": run.layers,
        "root_line": run.written.root_line,
        "last_symptom_line": run.written.last_symptom_line,
        "habits": habits,
    }


if __name__ == "__main__":
    raise SystemExit(main())
