"""A bundle and a settled split in, how far its confidence can be trusted out: table, reliability diagram, missed causes.

    python -m training.experiments.reliability --bundle models/tm500 --logs DIR/runs --labels DIR/labels.csv --split easy

The runs of the test part are judged as serving judges them; the accuracy told must be the card's. Causes are told where the
labels file has a column `cause`; those that begin with "tester-" are of the environment, and verdicts should say so.
"""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stream_triage.bundle import Bundle
from stream_triage.errors import StreamTriageError
from stream_triage.records import Verdict
from stream_triage.settings import InputSettings
from stream_triage.stages.redact import Redactor
from training.data import CorpusError, LabelledRun, read_settled
from training.evaluate import calibration_bins, expected_calibration_error, judge

__all__ = ["figures", "main"]

TESTER = "tester-"
FOLDER = Path(__file__).parents[1] / "results"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.reliability", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder for reliability.json and reliability.png")
    arguments = parser.parse_args(argv)
    try:
        runs = read_settled(arguments.logs, arguments.labels, [arguments.split])
        runs = [run for run in runs if run.parts[arguments.split] == "test"]
        bundle = Bundle.open(arguments.bundle)
        verdicts = judge(bundle, runs, Redactor(), InputSettings().line_bytes)
    except (CorpusError, StreamTriageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = figures(runs, verdicts, bundle, _causes(arguments.labels)) | {"split": arguments.split}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "reliability.json").write_text(json.dumps(found, indent=1) + "\n")
    _draw(found["bins"], arguments.out / "reliability.png")
    print({name: value for name, value in found.items() if name not in ("bins", "missed_causes")})
    return 0


def figures(
    runs: Sequence[LabelledRun], verdicts: Sequence[Verdict], bundle: Bundle, causes: Mapping[str, str]
) -> dict[str, Any]:
    """Accuracy above and below the limit of review, calibration by bins, and which causes are missed how often."""
    right = np.array([run.label == verdict.label for run, verdict in zip(runs, verdicts, strict=True)])
    confidence = np.array([verdict.confidence for verdict in verdicts])
    sure = np.array([not verdict.needs_review for verdict in verdicts])
    missed = Counter(
        (causes[run.run_id], verdict.label)
        for run, verdict in zip(runs, verdicts, strict=True)
        if run.label != verdict.label and causes.get(run.run_id)
    )
    totals = Counter(causes.get(run.run_id, "") for run in runs)
    of_tester = np.array([causes.get(run.run_id, "").startswith(TESTER) for run in runs])
    told = np.array([verdict.cause == "environment" for verdict in verdicts])
    return {
        "bundle": f"{bundle.card.name} {bundle.card.version}",
        "runs": len(runs),
        "accuracy": round(float(right.mean()), 4),
        "expected_calibration_error": round(expected_calibration_error(right, confidence), 4),
        "needs_review_share": round(float((~sure).mean()), 4),
        "error_rate_of_the_rest": round(float((~right[sure]).mean()), 4) if sure.any() else None,
        "review_below_confidence": bundle.card.review_below_confidence,
        "false_alarms": int(
            sum(not r and run.label == bundle.card.passing_label for r, run in zip(right, runs, strict=True))
        ),
        "environment": {"runs": int(of_tester.sum()), "told": int(told.sum()), "right": int((told & of_tester).sum())},
        "missed_causes": [[cause, label, count, totals[cause]] for (cause, label), count in missed.most_common()],
        "bins": [
            {"confidence": round(one.confidence, 4), "accuracy": round(one.accuracy, 4), "runs": one.runs}
            for one in calibration_bins(right, confidence)
        ],
    }


def _causes(labels: Path) -> dict[str, str]:
    with labels.open(newline="", encoding="utf-8-sig") as file:
        return {row["run"]: row.get("cause") or "" for row in csv.DictReader(file)}


def _draw(bins: Sequence[Mapping[str, float]], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(4.2, 4))
    axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
    sizes = [20 + 60 * np.log10(1 + one["runs"]) for one in bins]
    axis.scatter([one["confidence"] for one in bins], [one["accuracy"] for one in bins], s=sizes, zorder=2)
    for one in bins:
        axis.annotate(
            str(one["runs"]), (one["confidence"], one["accuracy"]), xytext=(6, -10), textcoords="offset points", fontsize=7
        )
    axis.set(xlabel="confidence", ylabel="share that is right", xlim=(0.2, 1.05), ylim=(0, 1.05))
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
