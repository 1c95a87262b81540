"""Held-out runs through the serving pipeline; scores out. Every score in a card comes from here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support, roc_auc_score

from stream_triage.bundle import Bundle
from stream_triage.pipeline import Triage
from stream_triage.records import Verdict
from stream_triage.stages.redact import Redactor
from training.data import LabelledRun
from training.keyword_rule import keyword_label

__all__ = ["MIN_TEST_RUNS", "Scores", "expected_calibration_error", "judge", "mean_and_spread", "scores_of"]

# A label with fewer held-out runs gives no trustworthy F1; it is told as k of n instead.
MIN_TEST_RUNS = 20


class Scores(NamedTuple):
    """Of one split: the figures for the card, and the macro-F1 values to average over seeds."""

    macro_f1: float
    keyword_macro_f1: float
    anomaly_auroc: float
    false_alarm_rate: float
    table: dict[str, Any]


def judge(bundle: Bundle, runs: Sequence[LabelledRun], redactor: Redactor, line_bytes: int) -> list[Verdict]:
    """Verdicts of whole runs, as serving gives them."""
    triage = Triage(bundle, redactor=redactor, line_bytes=line_bytes)
    verdicts = []
    for run in runs:
        session = triage.session(run.run_id)
        for source, data in run.sources.items():
            session.feed(data, source)
        verdicts.append(session.close())
        session.text.close()
    return verdicts


def scores_of(runs: Sequence[LabelledRun], verdicts: Sequence[Verdict], passing_label: str) -> Scores:
    """Macro-F1 is over labels with at least MIN_TEST_RUNS held-out runs; the keyword rule is scored on the same runs."""
    truth = np.array([run.label for run in runs])
    said = np.array([verdict.label for verdict in verdicts])
    keyword = np.array([keyword_label(run.sources, passing_label) for run in runs])
    labels = sorted(set(truth.tolist()) | set(said.tolist()))
    counted = [label for label in labels if (truth == label).sum() >= MIN_TEST_RUNS]
    passed = truth == passing_label
    anomaly = np.array([verdict.anomaly_score for verdict in verdicts])
    alarms = np.array([verdict.anomalous for verdict in verdicts])
    auroc = float(roc_auc_score(~passed, anomaly)) if passed.any() and not passed.all() else float("nan")
    macro = _macro_f1(truth, said, counted)
    keyword_macro = _macro_f1(truth, keyword, counted)
    false_alarms = float(alarms[passed].mean()) if passed.any() else float("nan")
    table = {
        "runs": len(runs),
        "macro_f1": round(macro, 4),
        "macro_f1_over": counted,
        "accuracy": round(float((truth == said).mean()), 4),
        "keyword_rule_macro_f1": round(keyword_macro, 4),
        "expected_calibration_error": round(expected_calibration_error(truth == said, _confidence(verdicts)), 4),
        "needs_review_share": round(float(np.mean([verdict.needs_review for verdict in verdicts])), 4),
        "anomaly_auroc": round(auroc, 4),
        "false_alarms": f"{int(alarms[passed].sum())} of {int(passed.sum())} passing runs",
        "failing_runs_found_anomalous": f"{int(alarms[~passed].sum())} of {int((~passed).sum())}",
        "per_label": {label: _label_scores(truth, said, label) for label in labels},
    }
    return Scores(macro, keyword_macro, auroc, false_alarms, table)


def _macro_f1(truth: NDArray[np.str_], said: NDArray[np.str_], labels: Sequence[str]) -> float:
    return float(f1_score(truth, said, labels=labels, average="macro", zero_division=0)) if labels else float("nan")


def _label_scores(truth: NDArray[np.str_], said: NDArray[np.str_], label: str) -> dict[str, Any]:
    precision, recall, f1, _ = precision_recall_fscore_support(truth, said, labels=[label], average=None, zero_division=0)
    runs, found = int((truth == label).sum()), int(((truth == label) & (said == label)).sum())
    row: dict[str, Any] = {
        "found": f"{found} of {runs}",
        "said_wrongly": int(((truth != label) & (said == label)).sum()),
    }
    if runs >= MIN_TEST_RUNS:
        row |= {
            "precision": round(float(precision[0]), 4),
            "recall": round(float(recall[0]), 4),
            "f1": round(float(f1[0]), 4),
        }
    return row


def _confidence(verdicts: Sequence[Verdict]) -> NDArray[np.float64]:
    return np.array([verdict.confidence for verdict in verdicts])


def expected_calibration_error(right: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their runs (Guo et al. 2017)."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(right[place == i].mean() - confidence[place == i].mean()) * (place == i).mean()
        for i in range(bins)
        if (place == i).any()
    ]
    return float(sum(gaps))


def mean_and_spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and the values, one a seed."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 4), "sd": round(spread, 4), "values": [round(v, 4) for v in values]}
