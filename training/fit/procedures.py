"""Training runs in, the trees of the classifier by procedures out: which layer, from what became of the UEs.

Boosted trees (histogram gradient boosting) on the features of `stages/procedures.py`, few features tried at each split:
with all of them a tree leans on the few causes that training has, and errs on causes it never saw (training/LOG.md,
2026-11-25).
"""

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from stream_triage.stages.procedures import FEATURES, Procedures, ProcedureState, Signal, features, read_signal, vector
from stream_triage.stages.procedures.trees import Trees
from training.data import LabelledRun, MaskedRuns, redacted_lines
from training.fit.calibration import temperature
from training.fit.terms import TUNING_FOLDS
from training.splits import cross_folds

__all__ = ["ProceduresFit", "fit_procedures", "grown", "procedure_features", "usual_kinds"]

# A kind of record that fewer passing runs show is abnormal: troubles that pass come in one or two of a hundred each.
USUAL_SHARE = 0.03
SETTINGS: dict[str, Any] = {
    "max_iter": 150,
    "learning_rate": 0.08,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 10,
    "max_features": 0.1,
    "class_weight": "balanced",
    "early_stopping": False,
}


@dataclass(frozen=True)
class ProceduresFit:
    """Files of the bundle, and how the trees did on runs that each fold had not seen."""

    files: dict[str, bytes]
    temperature: float
    out_of_fold: NDArray[np.float64]
    """Calibrated log-odds scores of the training runs, shape (runs, L), each from trees that had not seen the run."""


def fit_procedures(
    runs: Sequence[LabelledRun],
    corpus: MaskedRuns,
    training: NDArray[np.intp],
    groups: Sequence[str],
    labels: Sequence[str],
    passing: Sequence[int],
    seed: int,
) -> ProceduresFit | None:
    """None where no training run names a UE: there is nothing to follow then."""
    usual = usual_kinds(corpus, passing)
    signals = [read_signal(line, usual) for line in corpus.lines]
    if not any(signal and signal.names_ue for signal in signals):
        return None
    found = np.stack([procedure_features(runs[i], corpus, i, signals) for i in training.tolist()])
    if not found[:, FEATURES.index("ues")].any():
        return None
    targets = np.array([labels.index(label) for label in corpus.labels[training]])
    scores = np.zeros((len(training), len(labels)))
    for train, test in cross_folds(corpus.labels[training].tolist(), groups, seed, TUNING_FOLDS):
        trees = Trees(grown(found[train], targets[train], len(labels), seed))
        scores[test] = [trees.scores(row) for row in found[test]]
    divisor = temperature(scores, targets)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **grown(found, targets, len(labels), seed))  # type: ignore[arg-type]
    profile = {"features": FEATURES, "usual_kinds": sorted(usual), "temperature": divisor}
    files = {"procedures.json": (json.dumps(profile) + "\n").encode(), "procedures.npz": buffer.getvalue()}
    return ProceduresFit(files, divisor, scores / divisor)


def usual_kinds(corpus: MaskedRuns, passing: Sequence[int]) -> frozenset[int]:
    """Kinds of records that enough of the passing training runs show."""
    signals = [read_signal(line) for line in corpus.lines]
    counts: Counter[int] = Counter()
    for run in passing:
        counts.update({signal.kind for line in corpus.distinct(run).tolist() if (signal := signals[line]) and signal.kind})
    return frozenset(kind for kind, count in counts.items() if count >= USUAL_SHARE * len(passing))


def procedure_features(
    run: LabelledRun, corpus: MaskedRuns, index: int, signals: Sequence[Signal | None]
) -> NDArray[np.float64]:
    """Features of one run, shape (F,), through the serving stage; `signals` are of the corpus's distinct lines."""
    states = {}
    for source, data in run.sources.items():
        lines = redacted_lines(data, corpus.redactor, corpus.line_bytes)
        states[source] = ProcedureState()
        told = (signals[line] for line in corpus.runs[index][source].tolist())
        Procedures.follow(states[source], lines, told, 1)
    return vector(features(states))


def grown(found: NDArray[np.float64], targets: NDArray[np.intp], labels: int, seed: int) -> dict[str, NDArray[Any]]:
    """Arrays that `stages.procedures.trees.Trees` takes.

    A label without a training run gets the lowest base and no trees.
    """
    model = HistGradientBoostingClassifier(random_state=seed, **SETTINGS).fit(found, targets)
    classes = model.classes_.tolist()
    nodes: list[dict[str, float]] = []
    roots, of_label = [], []
    for iteration in model._predictors:
        # Two classes share one tree, which speaks for the second.
        for label, predictor in zip(classes[-len(iteration) :], iteration, strict=True):
            roots.append(len(nodes))
            of_label.append(label)
            nodes += _nodes(predictor.nodes, len(nodes))
    base = np.full(labels, -20.0)
    baseline = np.ravel(model._baseline_prediction)
    base[classes] = baseline if len(baseline) == len(classes) else [0.0, *baseline]
    arrays = {
        "feature": np.array([node["feature"] for node in nodes], dtype=np.int16),
        "threshold": np.array([node["threshold"] for node in nodes]),
        "left": np.array([node["left"] for node in nodes], dtype=np.int32),
        "right": np.array([node["right"] for node in nodes], dtype=np.int32),
        "value": np.array([node["value"] for node in nodes]),
        "roots": np.array(roots, dtype=np.int32),
        "labels": np.array(of_label, dtype=np.int16),
        "base": base,
    }
    _agree(Trees(arrays), model, found[:20], classes)
    return arrays


def _nodes(table: NDArray[Any], first: int) -> list[dict[str, float]]:
    """Nodes of one tree, numbered from `first`; inner ones get the mean of what lies below, weighted by training runs."""
    values = table["value"].astype(np.float64).copy()
    for place in reversed(range(len(table))):
        if not table["is_leaf"][place]:
            left, right = int(table["left"][place]), int(table["right"][place])
            counts = table["count"][left], table["count"][right]
            values[place] = (values[left] * counts[0] + values[right] * counts[1]) / max(counts[0] + counts[1], 1)
    return [
        {
            "feature": -1 if node["is_leaf"] else int(node["feature_idx"]),
            "threshold": 0.0 if node["is_leaf"] else float(node["num_threshold"]),
            "left": 0 if node["is_leaf"] else first + int(node["left"]),
            "right": 0 if node["is_leaf"] else first + int(node["right"]),
            "value": float(value),
        }
        for node, value in zip(table, values, strict=True)
    ]


def _agree(trees: Trees, model: HistGradientBoostingClassifier, rows: NDArray[np.float64], classes: Sequence[int]) -> None:
    """The arrays are read from inside scikit-learn, which may change there: what is served must say what it says."""
    theirs = model.decision_function(rows)
    for row, score in zip(rows, theirs, strict=True):
        ours = trees.scores(row)[list(classes)]
        told = ours if np.ndim(score) else ours[1] - ours[0]
        if not np.allclose(told, score, atol=1e-6):
            raise AssertionError("the exported trees and scikit-learn's differ; look at the fields of its nodes")
