"""Fits the classifier by procedures: features of what became of the UEs in, boosted trees that name the failed layer out.

Histogram gradient boosting on the features of `stages/procedures`. Only a few features are tried at each split: with all of
them a tree relies on the few causes that the training runs have, and fails on causes it has not seen (training/LOG.md,
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
from training.fit.parts import TrainingPart
from training.fit.terms import NEVER, TUNING_FOLDS
from training.splits import cross_folds

__all__ = ["ProceduresFit", "fit_procedures", "grow_trees", "procedure_features", "usual_kinds"]

# A kind of record is usual if this share of the passing runs shows it. Troubles that a run gets over, and that must stay
# abnormal, are seen in one or two of a hundred passing runs each.
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
    """The fitted classifier.

    Attributes:
        files: Its files in the bundle, by name.
        temperature: Divisor of the scores.
        out_of_fold: Calibrated log-odds of the training runs, shape (runs, L), each from trees that had not seen the run.
    """

    files: dict[str, bytes]
    temperature: float
    out_of_fold: NDArray[np.float64]


def fit_procedures(runs: Sequence[LabelledRun], part: TrainingPart, seed: int) -> ProceduresFit | None:
    """Fits the classifier to the training part; None if no training run names a UE, since there is nothing to follow then.

    `runs` are all runs of the corpus: the numbers of UEs are masked in the masked lines and are read from the raw ones.
    """
    corpus, targets = part.masked, part.targets
    # From the passing training runs alone: what is abnormal must not depend on the failures that are to be recognised.
    usual = usual_kinds(corpus, part.passing)
    signals = [read_signal(line, usual) for line in corpus.lines]
    if not any(signal and signal.names_ue for signal in signals):
        return None
    rows = np.stack([procedure_features(runs[i], corpus, i, signals) for i in part.runs.tolist()])
    if not rows[:, FEATURES.index("ues")].any():
        return None
    scores = np.zeros((len(rows), len(part.labels)))
    for train, test in cross_folds(corpus.labels[part.runs].tolist(), part.groups, seed, TUNING_FOLDS):
        trees = Trees(grow_trees(rows[train], targets[train], len(part.labels), seed))
        scores[test] = [trees.scores(row) for row in rows[test]]
    divisor = temperature(scores, targets)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **grow_trees(rows, targets, len(part.labels), seed))  # type: ignore[arg-type]
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
    """Features of one run, shape (F,), through the serving stage; `signals` are those of the corpus's distinct lines."""
    states = {}
    for source, data in run.sources.items():
        lines = redacted_lines(data, corpus.redactor, corpus.line_bytes)
        states[source] = ProcedureState()
        of_lines = (signals[line] for line in corpus.runs[index][source].tolist())
        Procedures.follow(states[source], lines, of_lines, 1)
    return vector(features(states))


def grow_trees(rows: NDArray[np.float64], targets: NDArray[np.intp], labels: int, seed: int) -> dict[str, NDArray[Any]]:
    """Grows trees and returns them as the arrays that `stages.procedures.trees.Trees` reads.

    Args:
        rows: Feature vectors, shape (runs, F).
        targets: Index of the label of each run.
        labels: Number of labels. One without a run gets no trees and the lowest score.
        seed: Seed for the choice of features at each split.
    """
    model = HistGradientBoostingClassifier(random_state=seed, **SETTINGS).fit(rows, targets)
    classes = model.classes_.tolist()
    nodes: list[dict[str, float]] = []
    roots, of_label = [], []
    for iteration in model._predictors:
        # An iteration has one tree for each class, but for two classes a single one, which scores the second.
        for label, predictor in zip(classes[-len(iteration) :], iteration, strict=True):
            roots.append(len(nodes))
            of_label.append(label)
            nodes += _nodes(predictor.nodes, len(nodes))
    base = np.full(labels, NEVER)
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
    _check_export(Trees(arrays), model, rows[:20], classes)
    return arrays


def _nodes(table: NDArray[Any], first: int) -> list[dict[str, float]]:
    """Nodes of one tree, numbered from `first`.

    scikit-learn gives a value to leaves only. Inner nodes get the mean of the leaves below them, weighted by training runs:
    the difference between a node and its child is what the split at that node contributes, which explains a verdict.
    """
    values = table["value"].astype(np.float64).copy()
    # Children have higher numbers than their parent, so going backwards visits them first.
    for node in reversed(range(len(table))):
        if not table["is_leaf"][node]:
            left, right = int(table["left"][node]), int(table["right"][node])
            counts = table["count"][left], table["count"][right]
            values[node] = (values[left] * counts[0] + values[right] * counts[1]) / max(counts[0] + counts[1], 1)
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


def _check_export(
    trees: Trees, model: HistGradientBoostingClassifier, rows: NDArray[np.float64], classes: Sequence[int]
) -> None:
    """Compares exported trees with the model: they are read from private fields of scikit-learn, which may change."""
    for row, theirs in zip(rows, model.decision_function(rows), strict=True):
        scores = trees.scores(row)[list(classes)]
        ours = scores if np.ndim(theirs) else scores[1] - scores[0]
        if not np.allclose(ours, theirs, atol=1e-6):
            raise AssertionError("the exported trees and scikit-learn's differ; look at the fields of its nodes")
