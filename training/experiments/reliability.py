"""Measures how far the confidence of a bundle can be trusted, on the test part of a predefined split.

    python -m training.experiments.reliability --bundle models/tm500 --logs DIR/runs --labels DIR/labels.csv --split easy

Writes reliability.json (accuracy above and below the review limit, calibration by bins, causes that are missed) and a
reliability diagram. The runs go through the serving pipeline, so the accuracy must be the one in the bundle's card. Causes
are reported if the labels file has a column `cause`; those that begin with "tester-" are failures of the test environment,
and their verdicts should say so.
"""

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
from training.arguments import add_logs, command_parser
from training.data import CorpusError, LabelledRun, read_predefined
from training.evaluate import calibration_bins, expected_calibration_error, judge
from training.packages import MissingPackageError, require

__all__ = ["figures", "main"]

TESTER = "tester-"
FOLDER = Path(__file__).parents[1] / "results"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    parser = command_parser("training.experiments.reliability", __doc__)
    parser.add_argument("--bundle", type=Path, required=True, metavar="FOLDER", help="folder of the bundle")
    add_logs(parser)
    parser.add_argument("--split", required=True, metavar="NAME", help="predefined split whose test part is judged")
    parser.add_argument(
        "--out",
        type=Path,
        default=FOLDER,
        metavar="FOLDER",
        help="folder for reliability.json and reliability.png (default: training/results)",
    )
    arguments = parser.parse_args(argv)
    try:
        require("matplotlib")
        runs = read_predefined(arguments.logs, arguments.labels, [arguments.split])
        runs = [run for run in runs if run.parts[arguments.split] == "test"]
        bundle = Bundle.open(arguments.bundle)
        verdicts = judge(bundle, runs, Redactor(), InputSettings().line_bytes)
    except (CorpusError, MissingPackageError, StreamTriageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    result = figures(runs, verdicts, bundle, _causes(arguments.labels)) | {"split": arguments.split}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "reliability.json").write_text(json.dumps(result, indent=1) + "\n")
    _draw(result["bins"], arguments.out / "reliability.png")
    print({name: value for name, value in result.items() if name not in ("bins", "missed_causes")})
    return 0


def figures(
    runs: Sequence[LabelledRun], verdicts: Sequence[Verdict], bundle: Bundle, causes: Mapping[str, str]
) -> dict[str, Any]:
    """Accuracy above and below the review limit, calibration by bins, and how often which cause is missed.

    `causes` are the causes of the failing runs by run id; it may be empty.
    """
    right = np.array([run.label == verdict.label for run, verdict in zip(runs, verdicts, strict=True)])
    confidence = np.array([verdict.confidence for verdict in verdicts])
    decided = np.array([not verdict.needs_review for verdict in verdicts])
    missed = Counter(
        (causes[run.run_id], verdict.label)
        for run, verdict in zip(runs, verdicts, strict=True)
        if run.label != verdict.label and causes.get(run.run_id)
    )
    totals = Counter(causes.get(run.run_id, "") for run in runs)
    true = np.array([causes.get(run.run_id, "").startswith(TESTER) for run in runs])
    predicted = np.array([verdict.cause == "environment" for verdict in verdicts])
    return {
        "bundle": f"{bundle.card.name} {bundle.card.version}",
        "runs": len(runs),
        "accuracy": round(float(right.mean()), 4),
        "expected_calibration_error": round(expected_calibration_error(right, confidence), 4),
        "needs_review_share": round(float((~decided).mean()), 4),
        "error_rate_of_decided": round(float((~right[decided]).mean()), 4) if decided.any() else None,
        "review_below_confidence": bundle.card.review_below_confidence,
        "false_alarms": int(
            sum(not r and run.label == bundle.card.passing_label for r, run in zip(right, runs, strict=True))
        ),
        "environment": {
            "runs": int(true.sum()),
            "predicted": int(predicted.sum()),
            "right": int((predicted & true).sum()),
        },
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
    # By the logarithm: nearly all runs are in the last bin, and the others must stay visible.
    sizes = [20 + 60 * np.log10(1 + one["runs"]) for one in bins]
    axis.scatter([one["confidence"] for one in bins], [one["accuracy"] for one in bins], s=sizes, zorder=2)
    for one in bins:
        axis.annotate(
            str(one["runs"]), (one["confidence"], one["accuracy"]), xytext=(6, -10), textcoords="offset points", fontsize=7
        )
    axis.set(xlabel="confidence", ylabel="share of right verdicts", xlim=(0.2, 1.05), ylim=(0, 1.05))
    figure.tight_layout()
    # Without the version that matplotlib would write, so that equal figures give equal files.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
