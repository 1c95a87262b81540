"""Scores the simplest models on predefined splits: commonest label, keyword rule, TF-IDF with two classifiers.

    python -m training.paper.baselines --logs DIR/runs --labels DIR/labels.csv [--out training/results/baselines.json]

What is served must beat all of them. TF-IDF is the usual one here (words and pairs of words of all masked lines, sublinear
counts, unit length), unlike the presences of the served classifier (fit/terms.py). It is combined with a logistic
regression, whose penalty is chosen by cross-fitting inside the training part, and with XGBoost, which stops by the
validation part of the split, or by a fifth of the training part if there is none. No seed changes these models much, so each
is scored once.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_sample_weight

from stream_triage.stages.normalise import Numbers
from stream_triage.stages.terms import line_terms
from training.arguments import add_logs, add_out, add_passing_label, command_parser
from training.data import CorpusError, LabelledRun, MaskedRuns, read_predefined
from training.evaluate import label_figures
from training.fit.bundle import Corpus
from training.keyword_rule import keyword_label
from training.packages import MissingPackageError, require
from training.splits import cross_folds

__all__ = ["boosted", "boosted_labels", "main", "simplest_labels", "tfidf_labels", "tfidf_probabilities"]

RESULTS = Path(__file__).parents[1] / "results" / "baselines.json"
PENALTIES = (1.0, 10.0, 100.0)
# A term must be in this many training runs.
MIN_RUNS = 3
FOLDS = 3
# Ways to mask numbers; models that do not depend on it are scored with the first one.
ORDER: tuple[Numbers, ...] = ("magnitude", "valued", "removed")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    parser = command_parser("training.paper.baselines", __doc__)
    add_logs(parser)
    add_passing_label(parser)
    add_out(parser, RESULTS, "JSON file for the scores")
    arguments = parser.parse_args(argv)
    try:
        runs = read_predefined(arguments.logs, arguments.labels)
        require("xgboost")
    except (CorpusError, MissingPackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    labels = tuple(sorted({run.label for run in runs}))
    rows: list[dict[str, Any]] = []
    for numbers in ORDER:
        corpus = Corpus(runs, MaskedRuns(runs, numbers=numbers), labels, arguments.passing_label, tuple(runs[0].parts))
        for split in corpus.group_kinds:
            rows += _rows(corpus, split, numbers)
            print(json.dumps({name: rows[-1][name] for name in ("model", "split", "numbers", "macro_f1", "accuracy")}))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _rows(corpus: Corpus, split: str, numbers: Numbers) -> Iterator[dict[str, Any]]:
    """Figures of the models on one split, with numbers masked in one way."""
    training, test = corpus.split(split, 0)
    true = corpus.masked.labels[test].tolist()

    def row(model: str, masking: str, predicted: Sequence[str]) -> dict[str, Any]:
        figures = label_figures(true, predicted, corpus.labels)
        return {"model": model, "split": split, "numbers": masking, **figures}

    if numbers == ORDER[0]:
        for model, predicted in simplest_labels(corpus, training, test):
            yield row(model, "", predicted)
    yield row("TF-IDF + logistic regression", numbers, tfidf_labels(corpus, split, training, test))
    if numbers == ORDER[0]:
        yield row("TF-IDF + XGBoost", numbers, boosted_labels(corpus, split, training, test))


def simplest_labels(corpus: Corpus, training: NDArray[np.intp], test: NDArray[np.intp]) -> list[tuple[str, list[str]]]:
    """Names of the models that learn no words, and the labels that each predicts for the test runs."""
    commonest = Counter(corpus.masked.labels[training].tolist()).most_common(1)[0][0]
    runs: list[LabelledRun] = [corpus.runs[i] for i in test.tolist()]
    keywords = [keyword_label(run.sources, corpus.passing_label) for run in runs]
    return [("commonest label", [commonest] * len(test)), ("keyword rule", keywords)]


def tfidf_labels(corpus: Corpus, split: str, training: NDArray[np.intp], test: NDArray[np.intp]) -> list[str]:
    """Predicts the labels of the test runs by logistic regression on TF-IDF."""
    labels, probabilities = tfidf_probabilities(corpus, split, training, test)
    return [labels[i] for i in probabilities.argmax(axis=1).tolist()]


def tfidf_probabilities(
    corpus: Corpus, split: str, training: NDArray[np.intp], test: NDArray[np.intp]
) -> tuple[list[str], NDArray[np.float64]]:
    """The labels of the training runs, sorted, and the probability of each for each test run, shape (test runs, L).

    Args:
        corpus: All runs; of the test runs only the words are looked at.
        split: The grouping whose groups stay in one fold when the penalty is chosen.
        training: Indexes of the training runs.
        test: Indexes of the test runs.
    """
    counts = _counts(corpus.masked, training, np.concatenate([training, test]))
    of_training, of_test = counts[: len(training)], counts[len(training) :]
    targets = corpus.masked.labels[training]
    folds = list(cross_folds(targets.tolist(), corpus.groups(split, training), 0, FOLDS))
    scores = {c: np.mean([_fold_score(of_training, targets, fold, c) for fold in folds]) for c in PENALTIES}
    model, weights = _fit(of_training, targets, max(scores, key=lambda c: scores[c]))
    return [str(label) for label in model.classes_], np.asarray(model.predict_proba(weights.transform(of_test)))


def boosted_labels(corpus: Corpus, split: str, training: NDArray[np.intp], test: NDArray[np.intp]) -> list[str]:
    """Predicts the labels of the test runs by boosted trees on the counts of terms."""
    counts = _counts(corpus.masked, training, np.concatenate([training, test]))
    validation = np.array([corpus.runs[i].parts[split] == "validation" for i in training.tolist()])
    if not validation.any():
        _, held = next(cross_folds(corpus.masked.labels[training].tolist(), corpus.groups(split, training), 0))
        validation[held] = True
    return boosted(counts[: len(training)], corpus.masked.labels[training], validation, counts[len(training) :])


def boosted(training: Any, targets: NDArray[np.str_], validation: NDArray[np.bool_], test: Any) -> list[str]:
    """Predicts the labels of the rows of `test` by XGBoost with balanced weights.

    Args:
        training: Feature rows to learn from, an array or a sparse matrix.
        targets: The label of each of them.
        validation: Which of them only decide when to stop.
        test: Feature rows to predict.
    """
    from xgboost import XGBClassifier

    labels, numbers = np.unique(targets, return_inverse=True)
    weights, learned = compute_sample_weight("balanced", numbers), ~validation
    model = XGBClassifier(
        n_estimators=300,
        learning_rate=0.1,
        max_depth=6,
        colsample_bytree=0.3,
        tree_method="hist",
        early_stopping_rounds=30,
        random_state=0,
    )
    model.fit(
        training[learned],
        numbers[learned],
        sample_weight=weights[learned],
        eval_set=[(training[validation], numbers[validation])],
        sample_weight_eval_set=[weights[validation]],
        verbose=False,
    )
    return [str(label) for label in labels[model.predict(test)]]


def _fold_score(
    counts: Any, targets: NDArray[np.str_], fold: tuple[NDArray[np.intp], NDArray[np.intp]], inverse_penalty: float
) -> float:
    """Macro-F1 on the held-out runs of one fold."""
    train, held = fold
    model, weights = _fit(counts[train], targets[train], inverse_penalty)
    predicted = model.predict(weights.transform(counts[held]))
    return float(f1_score(targets[held], predicted, average="macro", zero_division=0))


def _fit(counts: Any, targets: NDArray[np.str_], inverse_penalty: float) -> tuple[LogisticRegression, TfidfTransformer]:
    weights = TfidfTransformer(sublinear_tf=True)
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=500)
    return model.fit(weights.fit_transform(counts), targets), weights


def _counts(masked: MaskedRuns, training: NDArray[np.intp], runs: NDArray[np.intp]) -> Any:
    """How often each of `runs` has each term that enough training runs have: a sparse matrix (runs, V)."""
    terms = [line_terms(words) for words in masked.words]
    runs_of_term: Counter[str] = Counter()
    for run in training.tolist():
        runs_of_term.update({term for line in masked.distinct(run).tolist() for term in terms[line]})
    column = {term: i for i, term in enumerate(sorted(t for t, count in runs_of_term.items() if count >= MIN_RUNS))}
    of_line = [[column[term] for term in of_one if term in column] for of_one in terms]
    rows, columns, values = [], [], []
    for row, run in enumerate(runs.tolist()):
        of_run: Counter[int] = Counter()
        lines, times = np.unique(np.concatenate(list(masked.runs[run].values())), return_counts=True)
        for line, count in zip(lines.tolist(), times.tolist(), strict=True):
            for term in of_line[line]:
                of_run[term] += count
        rows += [row] * len(of_run)
        columns += list(of_run)
        values += list(of_run.values())
    return csr_matrix((values, (rows, columns)), shape=(len(runs), len(column)), dtype=np.float64)


if __name__ == "__main__":
    raise SystemExit(main())
