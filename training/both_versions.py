"""Writes both versions of the TM500-style corpus into one folder, to train on both.

    python -m training.both_versions --out .cache/corpus/both

What holds in one version alone is a habit of its generator. Splits:

- `vocabulary`: the test part has two vocabularies of version 2, and the test parts of both splits of version 1.
- `causes`: the test part has causes and scripts of both versions that no other run has.
- `easy`, `hard`: the splits of version 1; all of version 2 is in the training part.
"""

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from training import corpus, varied
from training.arguments import add_generator, command_parser, of_others
from training.varied.habits import combination

__all__ = ["RUNS", "JoinedRun", "joined", "main"]

RUNS: Final = 3262
"""Runs of version 1; of version 2 there are twice as many, since it has more to show."""
SPLITS: Final = ("vocabulary", "causes", "easy", "hard")
COLUMNS: Final = (
    "run", "label", "ues", "version", "cause",
    *(f"split_{split}" for split in SPLITS), *(f"group_{split}" for split in SPLITS),
)  # fmt: skip


class JoinedRun(NamedTuple):
    """One run of either version.

    Attributes:
        run: Name of its log.
        label: Its label.
        ues: Ids of the UEs that failed, separated by blanks.
        version: `1` or `2`.
        cause: Its root cause, if it fails.
        parts: Its part of each of `SPLITS`, and of the split `habits` of version 2.
        groups: Its group for each of them.
        text: The log.
    """

    run: str
    label: str
    ues: str
    version: str
    cause: str
    parts: Mapping[str, str]
    groups: Mapping[str, str]
    text: bytes

    def row(self) -> tuple[str, ...]:
        """Its row of labels.csv, with the columns `COLUMNS`."""
        of_splits = (*(self.parts[split] for split in SPLITS), *(self.groups[split] for split in SPLITS))
        return (self.run, self.label, self.ues, self.version, self.cause, *of_splits)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 if the folder contains other files."""
    parser = command_parser("training.both_versions", __doc__)
    add_generator(parser, RUNS, "number of runs of version 1")
    parser.add_argument(
        "--varied", type=int, default=2 * RUNS, metavar="RUNS", help="number of runs of version 2 (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    out: Path = arguments.out
    if of_others(out):
        return 2
    logs = out / "runs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    (out / "card.json").unlink(missing_ok=True)
    labels: Counter[str] = Counter()
    with (out / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for run in joined(arguments.runs, arguments.varied, arguments.seed):
            (logs / run.run).write_bytes(run.text)
            writer.writerow(run.row())
            labels[f"version {run.version}, {run.label}"] += 1
    card = {"seed": arguments.seed, "runs": labels.total(), "labels": dict(sorted(labels.items()))}
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{card['runs']} runs: {out}")
    return 0


def joined(runs: int, varied_runs: int, seed: int) -> Iterator[JoinedRun]:
    """Generates `runs` runs of version 1 and `varied_runs` of version 2; the same seed gives the same bytes."""
    for one in corpus.generate(runs, seed):
        seen_by_none = "test" if "test" in (one.easy_part, one.hard_part) else "train"
        of_cause = f"1 {one.cause or one.script}"
        yield JoinedRun(
            run=f"v1-{one.run_id}.log",
            label=one.label,
            ues=" ".join(map(str, one.failed_ues)),
            version="1",
            cause=one.cause,
            parts={
                "vocabulary": seen_by_none, "causes": one.hard_part, "easy": one.easy_part, "hard": one.hard_part,
                "habits": "train",
            },
            groups=dict.fromkeys((*SPLITS, "habits"), of_cause) | {"easy": f"1 {one.run_id}"},
            text=one.text,
        )  # fmt: skip
    for run in varied.generate(varied_runs, seed):
        of_vocabulary, of_cause = f"2 {run.habits.vocabulary}", f"2 {run.cause or run.habits.script.name}"
        yield JoinedRun(
            run=f"v2-{run.run_id}.log",
            label=run.label,
            ues=" ".join(map(str, run.failed_ues)),
            version="2",
            cause=run.cause,
            parts={**run.parts, "easy": "train", "hard": "train"},
            groups=dict.fromkeys(SPLITS, of_vocabulary) | {"causes": of_cause, "habits": f"2 {combination(run.habits)}"},
            text=run.text,
        )


if __name__ == "__main__":
    raise SystemExit(main())
