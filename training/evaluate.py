"""Held-out runs through the serving pipeline; scores out. Every score in a card comes from here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, roc_auc_score

from stream_triage.bundle import Bundle
from stream_triage.pipeline import Triage
from stream_triage.records import Verdict
from stream_triage.stages.redact import Redactor
from training.data import LabelledRun
from training.keyword_rule import keyword_label

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

# A label with fewer held-out runs gives no trustworthy F1; it is told as k of n instead.
MIN_TEST_RUNS = 20


class Scores(NamedTuple):
    """Of one split: the figures for the card, and the macro-F1 values to average over seeds."""

    macro_f1: float
    keyword_macro_f1: float
    anomaly_auroc: float
    false_alarm_rate: float
    table: dict[str, Any]


class HeldOut(NamedTuple):
    """Held-out runs of one split: what they are, to which group of near copies they belong, and what each model said."""

    truth: list[str]
    groups: list[str]
    said: dict[str, list[str]]

    def confusion(self, model: str, labels: Sequence[str]) -> list[list[int]]:
        """Counts, a row a true label, a column a said one, in the order of `labels`."""
        return np.asarray(confusion_matrix(self.truth, self.said[model], labels=list(labels))).tolist()  # type: ignore[no-any-return]


def label_figures(truth: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Of labels alone, without verdicts; micro-F1 is the accuracy, since every run has one label."""
    names = list(labels)
    precision, recall, f1, runs = precision_recall_fscore_support(truth, said, labels=names, average=None, zero_division=0)
    return {
        "labels": names,
        "accuracy": round(float(np.mean([a == b for a, b in zip(truth, said, strict=True)])), 4),
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
        "confusion": confusion_matrix(truth, said, labels=names).tolist(),
    }


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


def scores_of(
    runs: Sequence[LabelledRun], verdicts: Sequence[Verdict], passing_label: str, bundle: Bundle | None = None
) -> Scores:
    """Macro-F1 is over labels with at least MIN_TEST_RUNS held-out runs; the keyword rule is scored on the same runs.

    With the `bundle` that judged, false alarms are held against the interval that its detector states for their rate.
    """
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
        "false_alarms_in_interval": _in_interval(alarms[passed], bundle),
        "failing_runs_found_anomalous": f"{int(alarms[~passed].sum())} of {int((~passed).sum())}",
        "per_label": {label: _label_scores(truth, said, label) for label in labels},
    }
    return Scores(macro, keyword_macro, auroc, false_alarms, table)


def _in_interval(alarms: NDArray[np.bool_], bundle: Bundle | None) -> str | None:
    """Whether what was observed lies in the interval that the detector states, and which that is."""
    if bundle is None or not len(alarms):
        return None
    low, high = bundle.json("detector.json")["false_alarm_interval"]
    rate = float(alarms.mean())
    return f"{rate:.4f} is {'' if low <= rate <= high else 'not '}within {low:.4f} to {high:.4f}"


def paired_bootstrap(
    splits: Sequence[HeldOut], one: str, other: str, resamples: int = 2000, seed: int = 0
) -> dict[str, float]:
    """Mean over splits of the difference in macro-F1 of two models on the same runs, with its 95 % interval.

    Groups of near copies are resampled, not runs, which would look more independent than they are (Efron and Tibshirani,
    "An Introduction to the Bootstrap", chapter 8).
    """
    rng = np.random.default_rng(seed)
    observed, resampled = [], []
    for split in splits:
        labels = sorted(set(split.truth))
        counted = [j for j, label in enumerate(labels) if split.truth.count(label) >= MIN_TEST_RUNS]
        if counted:
            names = {name: j for j, name in enumerate(dict.fromkeys(split.groups))}
            places = np.array([names[name] for name in split.groups])
            tables = [_tables(split, model, labels, places, len(names)) for model in (one, other)]
            weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
            observed.append(_difference(np.ones((1, len(names))), tables, counted)[0])
            resampled.append(_difference(weights, tables, counted))
    if not observed:  # too few runs for a macro-F1
        return dict.fromkeys(("difference", "low", "high"), float("nan"))
    low, high = np.quantile(np.mean(resampled, axis=0), [0.025, 0.975])
    figures = {"difference": np.mean(observed), "low": low, "high": high}
    return {name: round(float(value), 4) for name, value in figures.items()}


def _tables(split: HeldOut, model: str, labels: Sequence[str], places: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    """Counts by group, true and said label, shape (groups, L, L + 1); the last column is any label that no run has."""
    number = {label: j for j, label in enumerate(labels)}
    table = np.zeros((groups, len(labels), len(labels) + 1))
    for place, truth, said in zip(places.tolist(), split.truth, split.said[model], strict=True):
        table[place, number[truth], number.get(said, len(labels))] += 1
    return table


def _difference(weights: NDArray[Any], tables: Sequence[NDArray[np.float64]], counted: Sequence[int]) -> NDArray[np.float64]:
    """Macro-F1 of the first model less that of the second, for each row of weights of the groups."""
    scores = []
    for table in tables:
        counts = np.tensordot(weights, table, axes=1)
        right = np.stack([counts[:, j, j] for j in counted], axis=1)
        true, said = counts.sum(axis=2)[:, counted], counts.sum(axis=1)[:, counted]
        scores.append((2 * right / np.maximum(true + said, 1)).mean(axis=1))
    return np.asarray(scores[0] - scores[1])


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


class CalibrationBin(NamedTuple):
    """Means over the runs whose confidence lies in one bin."""

    confidence: float
    accuracy: float
    runs: int


def calibration_bins(right: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int = 15) -> list[CalibrationBin]:
    """Of equal width over 0 to 1; bins without runs are left out."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    inside = [place == i for i in range(bins)]
    return [CalibrationBin(float(confidence[b].mean()), float(right[b].mean()), int(b.sum())) for b in inside if b.any()]


def expected_calibration_error(right: NDArray[np.bool_], confidence: NDArray[np.float64], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their runs (Guo et al. 2017)."""
    found = calibration_bins(right, confidence, bins)
    return float(sum(abs(one.accuracy - one.confidence) * one.runs / len(right) for one in found))


def mean_and_spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation and the values, one a seed."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 4), "sd": round(spread, 4), "values": [round(v, 4) for v in values]}
