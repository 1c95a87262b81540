"""Runs the serving pipeline over held-out runs and scores its verdicts. Every score in a bundle's card comes from here.

This is a library; `python -m training.train` and the experiments call it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, roc_auc_score

from stream_triage.bundle import Bundle
from stream_triage.dialects import DialectTable
from stream_triage.pipeline import Triage
from stream_triage.records import Verdict
from stream_triage.stages.redact import Redactor
from training.data import LabelledRun
from training.keyword_rule import keyword_label
from training.resampling import LEVEL, RESAMPLES, draw_groups

__all__ = [
    "MIN_TEST_RUNS",
    "CalibrationBin",
    "HeldOut",
    "Scores",
    "calibration_bins",
    "expected_calibration_error",
    "judge",
    "label_figures",
    "mean_and_spread",
    "paired_bootstrap",
    "scores_of",
]

# The F1 of a label with fewer held-out runs is not trustworthy; such a label is reported as "k of n" instead.
MIN_TEST_RUNS = 20


class Scores(NamedTuple):
    """Scores of one split.

    Attributes:
        macro_f1: Of the bundle, over labels with at least `MIN_TEST_RUNS` held-out runs; NaN if there is no such label.
        keyword_macro_f1: Of the keyword rule, on the same runs.
        anomaly_auroc: How well the anomaly score separates failing from passing runs; NaN if either is missing.
        false_alarm_rate: Measured share of the passing runs that are anomalous; NaN if no run passes.
        table: All figures, for the card. Its keys are part of the stored format.
    """

    macro_f1: float
    keyword_macro_f1: float
    anomaly_auroc: float
    false_alarm_rate: float
    table: dict[str, Any]


class HeldOut(NamedTuple):
    """Held-out runs of one split: true labels, groups of near-duplicates, and the labels that each model predicts."""

    true: list[str]
    groups: list[str]
    predicted: dict[str, list[str]]

    def confusion(self, model: str, labels: Sequence[str]) -> list[list[int]]:
        """Counts with a row per true and a column per predicted label, both in the order of `labels`."""
        matrix = confusion_matrix(self.true, self.predicted[model], labels=list(labels))
        return np.asarray(matrix).tolist()  # type: ignore[no-any-return]


def label_figures(true: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1, figures by label and confusion matrix of predicted labels.

    There is no micro-F1 of its own: every run has one label, so it equals the accuracy.
    """
    names = list(labels)
    precision, recall, f1, runs = precision_recall_fscore_support(
        true, predicted, labels=names, average=None, zero_division=0
    )
    return {
        "labels": names,
        "accuracy": round(float(np.mean([a == b for a, b in zip(true, predicted, strict=True)])), 4),
        "macro_f1": round(float(f1.mean()), 4),
        "per_label": {
            label: {
                "precision": round(float(precision[i]), 4),
                "recall": round(float(recall[i]), 4),
                "f1": round(float(f1[i]), 4),
                "runs": int(runs[i]),
            }
            for i, label in enumerate(names)
        },
        "confusion": confusion_matrix(true, predicted, labels=names).tolist(),
    }


def judge(
    bundle: Bundle,
    runs: Sequence[LabelledRun],
    redactor: Redactor,
    line_bytes: int,
    dialects: Sequence[DialectTable] = (),
) -> list[Verdict]:
    """Verdicts on whole runs, in their order, as serving gives them with this redactor, line limit and own dialects."""
    triage = Triage(bundle, redactor=redactor, line_bytes=line_bytes, dialects=dialects)
    verdicts = []
    for run in runs:
        session = triage.session(run.run_id)
        for source, data in run.sources.items():
            session.feed(data, source)
        verdicts.append(session.close())
        session.text.close()
    return verdicts


def scores_of(
    runs: Sequence[LabelledRun], verdicts: Sequence[Verdict], passing_label: str, bundle: Bundle | None = None
) -> Scores:
    """Scores verdicts against the labels of their runs, and the keyword rule on the same runs.

    With the `bundle` that gave the verdicts, the measured false alarm rate is compared with the interval that its detector
    states for it.
    """
    true = np.array([run.label for run in runs])
    predicted = np.array([verdict.label for verdict in verdicts])
    keyword = np.array([keyword_label(run.sources, passing_label) for run in runs])
    labels = sorted(set(true.tolist()) | set(predicted.tolist()))
    counted = [label for label in labels if (true == label).sum() >= MIN_TEST_RUNS]
    passed = true == passing_label
    anomaly = np.array([verdict.anomaly_score for verdict in verdicts])
    alarms = np.array([verdict.anomalous for verdict in verdicts])
    auroc = float(roc_auc_score(~passed, anomaly)) if passed.any() and not passed.all() else float("nan")
    macro = _macro_f1(true, predicted, counted)
    keyword_macro = _macro_f1(true, keyword, counted)
    false_alarms = float(alarms[passed].mean()) if passed.any() else float("nan")
    table = {
        "runs": len(runs),
        "macro_f1": round(macro, 4),
        "macro_f1_over": counted,
        "accuracy": round(float((true == predicted).mean()), 4),
        "keyword_rule_macro_f1": round(keyword_macro, 4),
        "expected_calibration_error": round(expected_calibration_error(true == predicted, _confidence(verdicts)), 4),
        "needs_review_share": round(float(np.mean([verdict.needs_review for verdict in verdicts])), 4),
        "anomaly_auroc": round(auroc, 4),
        "false_alarms": f"{int(alarms[passed].sum())} of {int(passed.sum())} passing runs",
        "false_alarms_in_interval": _in_interval(alarms[passed], bundle),
        "failing_runs_found_anomalous": f"{int(alarms[~passed].sum())} of {int((~passed).sum())}",
        "per_label": {label: _label_scores(true, predicted, label) for label in labels},
    }
    return Scores(macro, keyword_macro, auroc, false_alarms, table)


def _in_interval(alarms: NDArray[np.bool_], bundle: Bundle | None) -> str | None:
    """Whether the false alarm rate of held-out runs is in the interval that the detector states, and that interval."""
    if bundle is None or not len(alarms):
        return None
    low, high = bundle.json("detector.json")["false_alarm_interval"]
    rate = float(alarms.mean())
    return f"{rate:.4f} is {'' if low <= rate <= high else 'not '}within {low:.4f} to {high:.4f}"


def paired_bootstrap(
    splits: Sequence[HeldOut], one: str, other: str, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Macro-F1 of model `one` less that of model `other` on the same runs, as a mean over splits with its 95 % interval.

    Both models are scored on the same resamples of groups (training/resampling.py), so that what is hard for both cancels
    out. All values are NaN if no label has `MIN_TEST_RUNS` runs.
    """
    rng = np.random.default_rng(seed)
    observed, resampled = [], []
    for split in splits:
        labels = sorted(set(split.true))
        counted = [j for j, label in enumerate(labels) if split.true.count(label) >= MIN_TEST_RUNS]
        if counted:
            numbers = {name: j for j, name in enumerate(dict.fromkeys(split.groups))}
            group = np.array([numbers[name] for name in split.groups])
            tables = [_counts_by_group(split, model, labels, group, len(numbers)) for model in (one, other)]
            observed.append(_difference(np.ones((1, len(numbers))), tables, counted)[0])
            resampled.append(_difference(draw_groups(len(numbers), rng, resamples), tables, counted))
    if not observed:
        return dict.fromkeys(("difference", "low", "high"), float("nan"))
    low, high = np.quantile(np.mean(resampled, axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    figures = {"difference": np.mean(observed), "low": low, "high": high}
    return {name: round(float(value), 4) for name, value in figures.items()}


def _counts_by_group(
    split: HeldOut, model: str, labels: Sequence[str], group: NDArray[np.intp], groups: int
) -> NDArray[np.float64]:
    """Confusion counts of each group, shape (groups, L, L + 1); the last column counts predictions of any other label.

    With these, the confusion matrix of a resample is one matrix product instead of a pass over all runs.
    """
    number = {label: j for j, label in enumerate(labels)}
    counts = np.zeros((groups, len(labels), len(labels) + 1))
    for row, true, predicted in zip(group.tolist(), split.true, split.predicted[model], strict=True):
        counts[row, number[true], number.get(predicted, len(labels))] += 1
    return counts


def _difference(draws: NDArray[Any], tables: Sequence[NDArray[np.float64]], counted: Sequence[int]) -> NDArray[np.float64]:
    """Macro-F1 of the first model less that of the second, one value for each row of `draws` (resamples, groups)."""
    scores = []
    for table in tables:
        counts = np.tensordot(draws, table, axes=1)
        right = np.stack([counts[:, j, j] for j in counted], axis=1)
        true, predicted = counts.sum(axis=2)[:, counted], counts.sum(axis=1)[:, counted]
        scores.append((2 * right / np.maximum(true + predicted, 1)).mean(axis=1))
    return np.asarray(scores[0] - scores[1])


def _macro_f1(true: NDArray[np.str_], predicted: NDArray[np.str_], labels: Sequence[str]) -> float:
    return float(f1_score(true, predicted, labels=labels, average="macro", zero_division=0)) if labels else float("nan")


def _label_scores(true: NDArray[np.str_], predicted: NDArray[np.str_], label: str) -> dict[str, Any]:
    """Figures of one label for the card; precision, recall and F1 only if it has enough runs."""
    precision, recall, f1, _ = precision_recall_fscore_support(
        true, predicted, labels=[label], average=None, zero_division=0
    )
    runs, right = int((true == label).sum()), int(((true == label) & (predicted == label)).sum())
    row: dict[str, Any] = {
        "found": f"{right} of {runs}",
        "said_wrongly": int(((true != label) & (predicted == label)).sum()),
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


class CalibrationBin(NamedTuple):
    """Mean confidence and accuracy of the runs whose confidence is in one bin, and their number."""

    confidence: float
    accuracy: float
    runs: int


def calibration_bins(right: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int = 15) -> list[CalibrationBin]:
    """Bins of equal width from 0 to 1, in ascending order; bins without runs are left out."""
    bin_of_run = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = [bin_of_run == i for i in range(bins)]
    return [CalibrationBin(float(confidence[b].mean()), float(right[b].mean()), int(b.sum())) for b in inside if b.any()]


def expected_calibration_error(right: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by their runs (Guo et al. 2017)."""
    filled = calibration_bins(right, confidence, bins)
    return float(sum(abs(one.accuracy - one.confidence) * one.runs / len(right) for one in filled))


def mean_and_spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (0 for a single value) and the values themselves, one for each seed."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 4), "sd": round(spread, 4), "values": [round(v, 4) for v in values]}
