"""Fits the term classifier: which terms are present in a run in, the weight of each term for each label out.

Binary TF-IDF and multinomial logistic regression with balanced class weights, in the form that `stages/terms.py` serves.
The strength of the penalty and the temperature come from cross-fitting inside the training runs; held-out runs are never
looked at.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from stream_triage.stages.terms import line_terms
from training.data import MaskedRuns
from training.fit.calibration import log_loss, temperature
from training.splits import cross_folds

__all__ = ["TUNING_FOLDS", "TermsFit", "fit_terms"]

# A term must be in this many training runs; 3 keeps the words of the rarest layer fault (18 runs in all).
MIN_RUNS = 3
# The most frequent terms are kept beyond this, so that the dense matrix of 20,000 runs fits in 2 GB.
MAX_TERMS = 25_000
# Inverse penalties to choose from. They are small because the features are not normalised: the score of a run sums some
# hundred weights.
PENALTIES = (0.003, 0.01, 0.03, 0.1)
TUNING_FOLDS = 3
# Log-odds of a label that no training run has: it is never predicted, yet its score stays finite.
NEVER = -20.0


@dataclass(frozen=True)
class TermsFit:
    """The fitted classifier.

    Attributes:
        terms: The vocabulary of V terms, sorted.
        weights: Weights with the inverse document frequency folded in, shape (L, V).
        bias: Bias of each label, shape (L,).
        frequencies: Share of the training runs of each label that have the term, shape (L, V).
        temperature: Divisor of the scores.
        inverse_penalty: The chosen one of `PENALTIES`.
        out_of_fold: Calibrated log-odds of the training runs, shape (runs, L), each from a model that had not seen the run.
    """

    terms: list[str]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    frequencies: NDArray[np.float64]
    temperature: float
    inverse_penalty: float
    out_of_fold: NDArray[np.float64]

    def files(self, expected_terms: Mapping[str, Sequence[int]]) -> dict[str, bytes]:
        """The bundle's files of this classifier; `expected_terms` are the term indexes of each expected key."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            weights=self.weights.astype(np.float32),
            bias=self.bias.astype(np.float32),
            frequencies=self.frequencies.astype(np.float32),
        )
        vocabulary = {
            "temperature": self.temperature,
            "terms": self.terms,
            "expected_terms": {key: list(map(int, terms)) for key, terms in sorted(expected_terms.items())},
        }
        return {
            "terms.json": (json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n").encode(),
            "terms.npz": buffer.getvalue(),
        }


def fit_terms(
    corpus: MaskedRuns, runs: NDArray[np.intp], groups: Sequence[str], labels: Sequence[str], seed: int
) -> TermsFit:
    """Fits the classifier.

    Args:
        corpus: All masked runs.
        runs: Indexes of the training runs.
        groups: The group of near-duplicates of each training run; a group stays in one fold.
        labels: All labels, in the order of the score columns.
        seed: Seed of the folds.
    """
    # Presence, not counts: a term says the same however often a loop repeats it, and the score is a sum in which each line
    # has an exact share.
    terms, presence = _presence(corpus, runs)
    targets = np.array([labels.index(label) for label in corpus.labels[runs]])
    # The smoothed inverse document frequency of scikit-learn's TfidfTransformer.
    idf = np.log((1 + len(runs)) / (1 + presence.sum(axis=0, dtype=np.float64))) + 1
    features = presence * idf.astype(np.float32)
    folds = list(cross_folds(corpus.labels[runs].tolist(), groups, seed, TUNING_FOLDS))
    trials = {c: _out_of_fold(features, targets, folds, c, len(labels)) for c in PENALTIES}
    # Penalties are compared after calibration: a strong penalty only shrinks all scores, which a temperature undoes.
    calibrated = {c: temperature(scores, targets) for c, scores in trials.items()}
    best = min(PENALTIES, key=lambda c: log_loss(trials[c] / calibrated[c], targets))
    weights, bias = _fit(features, targets, best, len(labels))
    # How usual a term is in runs of each label: serving explains a missing term by it.
    frequencies = np.stack([presence[targets == i].mean(axis=0) for i in range(len(labels))])
    return TermsFit(terms, weights * idf, bias, frequencies, calibrated[best], best, trials[best] / calibrated[best])


def _presence(corpus: MaskedRuns, runs: NDArray[np.intp]) -> tuple[list[str], NDArray[np.float32]]:
    """Terms that enough runs have, and which run has which: ones and zeros, shape (runs, V)."""
    terms_of_line: dict[int, list[str]] = {}
    runs_of_term: dict[str, list[int]] = {}
    for row, run in enumerate(runs.tolist()):
        terms_of_run: set[str] = set()
        for line in corpus.distinct(run).tolist():
            if line not in terms_of_line:
                terms_of_line[line] = line_terms(corpus.words[line])
            terms_of_run.update(terms_of_line[line])
        for term in terms_of_run:
            runs_of_term.setdefault(term, []).append(row)
    frequent = [term for term, rows in runs_of_term.items() if len(rows) >= MIN_RUNS]
    terms = sorted(sorted(frequent, key=lambda term: (-len(runs_of_term[term]), term))[:MAX_TERMS])
    presence = np.zeros((len(runs), len(terms)), dtype=np.float32)
    for column, term in enumerate(terms):
        presence[runs_of_term[term], column] = 1
    return terms, presence


def _out_of_fold(
    features: NDArray[np.float32],
    targets: NDArray[np.intp],
    folds: Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]],
    inverse_penalty: float,
    labels: int,
) -> NDArray[np.float64]:
    scores = np.zeros((len(targets), labels))
    for train, test in folds:
        weights, bias = _fit(features[train], targets[train], inverse_penalty, labels)
        scores[test] = features[test] @ weights.T + bias
    return scores


def _fit(
    features: NDArray[np.float32], targets: NDArray[np.intp], inverse_penalty: float, labels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (L, V) and bias (L,). A label without a training run gets no weights and the bias `NEVER`."""
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=1000, tol=1e-3)
    model.fit(features, targets)
    weights, bias = np.zeros((labels, features.shape[1])), np.full(labels, NEVER)
    if len(model.classes_) == 2:  # scikit-learn has one row for two classes: the log-odds of the second
        weights[model.classes_], bias[model.classes_] = (
            np.vstack([-model.coef_[0], model.coef_[0]]) / 2,
            np.array([-model.intercept_[0], model.intercept_[0]]) / 2,
        )
    else:
        weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return weights, bias
