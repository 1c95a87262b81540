"""Fits the classifier by procedures: features of what became of the procedures in, two forests of boosted trees out.

One says whether a run failed; all its features are signs of trouble, so it may only rise with them. The other says in which
layer. Only a few features are tried at each split: with all of them a tree relies on the few causes that the training runs
have, and fails on causes it has not seen (training/LOG.md, 2026-11-25).

**Habits are dropped at random.** Farms differ in what their logs show: statistics or none, no session, no mobility. Each
training run is seen again without some of these, so that what a log does not show says nothing.
"""

import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.dialects import Dialects, Signal
from stream_triage.stages.procedures import FEATURES, GROUPS, Follower, features, vector
from stream_triage.stages.procedures.classifier import feature_names
from stream_triage.stages.procedures.trees import ARRAYS, Trees
from stream_triage.stages.procedures.ue_forest import RISING
from stream_triage.stages.procedures.ues import ALONE_FEATURES, UE_FEATURES, JudgedUe, alone_values, ue_rows
from training.data import LabelledRun, MaskedRuns
from training.fit.calibration import temperature
from training.fit.parts import TrainingPart
from training.fit.terms import NEVER, TUNING_FOLDS
from training.fit.ues import fit_ues
from training.splits import cross_folds

__all__ = ["ProceduresFit", "fit_procedures", "grow_forests", "procedure_features", "usual_kinds"]

# A kind of record is usual if this share of the passing runs shows it. Troubles that a run gets over, and that must stay
# abnormal, are seen in one or two of a hundred passing runs each.
USUAL_SHARE = 0.03
# A dialect is known if this share of the training runs has records of it.
DIALECT_SHARE: Final = 0.1
COPIES: Final = 3
# A cause that few runs have is weighed as if this many more had it, with the labels of all runs.
PRIOR_RUNS: Final = 2.0
DROPPED_SHARE: Final = 0.4
FAILED: Final[dict[str, Any]] = {
    "rounds": 150, "eta": 0.08, "max_depth": 4, "min_child_weight": 8, "subsample": 0.8, "colsample_bynode": 0.15,
}  # fmt: skip
LAYER: Final[dict[str, Any]] = {**FAILED, "max_depth": 3, "min_child_weight": 5}


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


@dataclass(frozen=True)
class Forests:
    """Both forests as arrays, and the failing labels that the second one knows."""

    failed: dict[str, NDArray[Any]]
    layer: dict[str, NDArray[Any]]
    layers: tuple[int, ...]


class RunFeatures(NamedTuple):
    """Numbers of a run, shape (F,), its judged UEs, and numbers of trouble that names no UE."""

    run: NDArray[np.float64]
    ues: list[JudgedUe]
    alone: NDArray[np.float64]


def fit_procedures(
    runs: Sequence[LabelledRun], part: TrainingPart, seed: int, dialects: Dialects | None = None
) -> ProceduresFit | None:
    """Fits the classifier to the training part; None if no training run shows a procedure, or if all pass or all fail.

    `runs` are all runs of the corpus: the numbers of UEs are masked in the masked lines and are read from the raw ones.
    """
    corpus, targets, labels = part.masked, part.targets, part.labels
    passing = 0  # `Corpus.labels` has the passing label first
    follower = Follower(dialects or Dialects())
    # From the passing training runs alone: what is abnormal must not depend on the failures that are to be recognised.
    usual = usual_kinds(follower.dialects, corpus, part.passing)
    signals = [follower.dialects.read(line, usual) for line in corpus.lines]
    if not any(signal and signal.event for signal in signals) or len(set((targets == passing).tolist())) < 2:
        return None
    found = [procedure_features(follower, runs[i], corpus, i, signals) for i in part.runs.tolist()]
    folds = list(cross_folds(corpus.labels[part.runs].tolist(), part.groups, seed, TUNING_FOLDS))
    ues = fit_ues(
        [one.ues for one in found],
        [runs[i].failed_ues for i in part.runs.tolist()],
        targets,
        labels=len(labels),
        folds=folds,
        seed=seed,
    )
    names = feature_names(labels, passing, ues=ues is not None)
    rows = np.stack([one.run for one in found])
    if ues:
        rows = np.hstack([rows, ues.out_of_fold, np.stack([one.alone for one in found])])
    scores = np.zeros((len(rows), len(labels)))
    for train, test in folds:
        forests = grow_forests(rows[train], targets[train], passing, seed, names)
        scores[test] = _scores(forests, rows[test], len(labels), passing)
    divisor = temperature(scores, targets)
    forests = grow_forests(rows, targets, passing, seed, names)
    buffer = io.BytesIO()
    arrays = {f"{kind}_{name}": getattr(forests, kind)[name] for kind in ("failed", "layer") for name in ARRAYS}
    arrays |= {f"ues_{name}": ues.forest[name] for name in ARRAYS} if ues else {}
    np.savez_compressed(buffer, **arrays)
    profile = {
        "dialects": written_in(corpus, part, signals, follower.dialects),
        "features": names,
        "ue_features": UE_FEATURES if ues else (),
        "usual_kinds": sorted(usual),
        "layers": [labels[i] for i in forests.layers],
        "ue_labels": [labels[i] for i in ues.of_labels] if ues else [],
        "temperature": divisor,
    }
    files = {"procedures.json": (json.dumps(profile) + "\n").encode(), "procedures.npz": buffer.getvalue()}
    return ProceduresFit(files, divisor, scores / divisor)


def written_in(corpus: MaskedRuns, part: TrainingPart, signals: Sequence[Signal | None], dialects: Dialects) -> list[str]:
    """Names of the dialects in which enough of the training runs have records."""
    of_lines = np.array([signal.dialect if signal else -1 for signal in signals], dtype=np.intp)
    counts: Counter[int] = Counter()
    for run in part.runs.tolist():
        counts.update(set(of_lines[corpus.distinct(run)].tolist()))
    enough = (number for number, count in counts.items() if number >= 0 and count >= DIALECT_SHARE * len(part.runs))
    return sorted(dialects.dialects[number].table.name for number in enough)


def usual_kinds(dialects: Dialects, corpus: MaskedRuns, passing: Sequence[int]) -> frozenset[int]:
    """Kinds of troubling records that enough of the passing training runs show."""
    kinds = [signal.kind if (signal := dialects.read(line)) and signal.trouble else 0 for line in corpus.lines]
    counts: Counter[int] = Counter()
    for run in passing:
        counts.update({kind for line in corpus.distinct(run).tolist() if (kind := kinds[line])})
    return frozenset(kind for kind, count in counts.items() if count >= USUAL_SHARE * len(passing))


def procedure_features(
    follower: Follower, run: LabelledRun, corpus: MaskedRuns, index: int, signals: Sequence[Signal | None]
) -> RunFeatures:
    """Features of one run through the serving stage; `signals` are those of the corpus's distinct lines."""
    states = {}
    for source, lines in corpus.reader.lines(run.sources).items():
        states[source] = follower.start()
        of_lines = (signals[line] for line in corpus.runs[index][source].tolist())
        follower.follow(states[source], lines, of_lines, 1)
    return RunFeatures(vector(features(follower, states)), ue_rows(follower, states), alone_values(follower, states))


def grow_forests(
    rows: NDArray[np.float64], targets: NDArray[np.intp], passing: int, seed: int, names: Sequence[str] = FEATURES
) -> Forests:
    """Grows both forests.

    Args:
        rows: Feature vectors, shape (runs, F).
        targets: Index of the label of each run.
        passing: Index of the passing label.
        seed: Seed of all choices.
        names: Names of the features.
    """
    from training.fit.forest import grow  # xgboost, which logs of no known dialect do without

    rows, targets = _without_habits(rows, targets, seed)
    monotone = [int(_rises(name)) for name in names]
    failing = targets != passing
    prior = _prior(rows, failing.astype(np.intp), 2)
    of_failure = (prior[:, 1] - prior[:, 0])[:, None]
    failed = grow(rows, failing.astype(np.intp), 1, np.ones(len(rows)), seed, prior=of_failure, monotone=monotone, **FAILED)
    layers = tuple(sorted(set(targets[failing].tolist())))
    position = {label: number for number, label in enumerate(layers)}
    of_layer = np.array([position[label] for label in targets[failing].tolist()])
    counts = np.bincount(of_layer, minlength=len(layers))
    # Rare layers count more, but not as much as if all were equally frequent: they are rare on farms too.
    weights = np.sqrt(len(of_layer) / len(layers) / counts)[of_layer]
    if len(layers) > 1:
        prior = _prior(rows[failing], of_layer, len(layers))
        layer = grow(rows[failing], of_layer, len(layers), weights, seed, prior=prior, **LAYER)
    else:
        layer = _one_layer()
    return Forests(failed, layer, layers)


def _rises(name: str) -> bool:
    """Whether a feature is a sign of trouble, of which more never makes a failure less likely."""
    return name.startswith(RISING) if name.startswith("ues_") else name not in ("expects_refusal", *ALONE_FEATURES)


def _prior(rows: NDArray[np.float64], targets: NDArray[np.intp], outputs: int) -> NDArray[np.float64]:
    """What the cause that the procedures name says by itself: the logarithm of how often runs with it had each target.

    The forests start from it. They would learn it too, but only for the causes that training runs have.
    """
    prior = np.zeros((rows.shape[1] + 1, outputs))
    columns = [number for number, name in enumerate(FEATURES) if name.startswith("cause_")]
    named = rows[:, columns] > 0.5
    shares = np.bincount(targets, minlength=outputs) / len(targets)

    def logarithms(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        counts = np.bincount(targets[chosen], minlength=outputs)
        return np.asarray(np.log((counts + PRIOR_RUNS * shares) / (counts.sum() + PRIOR_RUNS)))

    prior[-1] = logarithms(np.asarray(~named.any(axis=1)))
    for number, column in enumerate(columns):
        prior[column] = logarithms(named[:, number]) - prior[-1]
    return prior


def _one_layer() -> dict[str, NDArray[Any]]:
    """Trees for a single layer, which is certain."""
    return {**{name: np.zeros(0) for name in ARRAYS}, "base": np.zeros(1)}


def _without_habits(
    rows: NDArray[np.float64], targets: NDArray[np.intp], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The runs, and copies of them in which groups of features are as if their logs did not show such things."""
    draw = np.random.default_rng(seed)
    copies = [rows]
    for _ in range(COPIES):
        copy = rows.copy()
        for columns in GROUPS.values():
            dropped = draw.random(len(rows)) < DROPPED_SHARE
            copy[np.ix_(np.flatnonzero(dropped), np.array(columns))] = vector(_NOTHING)[list(columns)]
        copies.append(copy)
    return np.vstack(copies), np.tile(targets, COPIES + 1)


_NOTHING = features(Follower(Dialects()), {})


def _scores(forests: Forests, rows: NDArray[np.float64], labels: int, passing: int) -> NDArray[np.float64]:
    """Log-odds of the labels as the serving classifier gives them, shape (runs, L)."""
    failed, layer = Trees(forests.failed), Trees(forests.layer)
    scores = np.full((len(rows), labels), NEVER)
    scores[:, passing] = 0.0
    for number, row in enumerate(rows):
        logits = layer.scores(row)
        log_q = logits - np.logaddexp.reduce(logits)
        scores[number, list(forests.layers)] = failed.scores(row)[0] + log_q
    return scores
