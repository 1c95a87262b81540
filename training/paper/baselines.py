"""The simplest models on a settled split: commonest label, keyword rule, TF-IDF with logistic regression and with XGBoost.

    python -m training.paper.baselines --logs DIR/runs --labels DIR/labels.csv [--out training/results/baselines.json]

TF-IDF here is the usual one (words and pairs of words of all masked lines, sublinear counts, unit length), next to the
served form of presences (fit/terms.py); its penalty is chosen by cross-fitting inside the training part. What is served
must beat the better of the two. XGBoost stops where the validation part of the split says so, or a fifth of the training
part where there is none. None of them has a seed that matters: they are told once.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

from stream_triage.stages.normalise import Numbers
from stream_triage.stages.terms import line_terms
from training.data import CorpusError, LabelledRun, MaskedRuns, read_settled
from training.evaluate import label_figures
from training.fit.bundle import Corpus
from training.keyword_rule import keyword_label
from training.splits import cross_folds

__all__ = ["boosted", "boosted_labels", "main", "tfidf_labels"]

RESULTS = Path(__file__).parents[1] / "results" / "baselines.json"
PENALTIES = (1.0, 10.0, 100.0)
MIN_RUNS = 3
FOLDS = 3
ORDER: tuple[Numbers, ...] = ("magnitude", "valued", "removed")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.paper.baselines", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--passing-label", default="Pass")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    try:
        runs = read_settled(arguments.logs, arguments.labels)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = []
    for numbers in ORDER:
        masked = MaskedRuns(runs, numbers=numbers)
        labels = tuple(sorted({run.label for run in runs}))
        corpus = Corpus(runs, masked, labels, arguments.passing_label, tuple(runs[0].parts))
        for split in corpus.group_kinds:
            training, test = corpus.split(split, 0)
            if numbers == ORDER[0]:
                rows += [_row(model, split, "", corpus, test, said) for model, said in _simplest(corpus, training, test)]
            said = tfidf_labels(corpus, split, training, test)
            rows.append(_row("TF-IDF + logistic regression", split, numbers, corpus, test, said))
            if numbers == ORDER[0]:
                said = boosted_labels(corpus, split, training, test)
                rows.append(_row("TF-IDF + XGBoost", split, numbers, corpus, test, said))
            print(json.dumps({name: rows[-1][name] for name in ("model", "split", "numbers", "macro_f1", "accuracy")}))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _simplest(corpus: Corpus, training: NDArray[np.intp], test: NDArray[np.intp]) -> list[tuple[str, list[str]]]:
    commonest = Counter(corpus.masked.labels[training].tolist()).most_common(1)[0][0]
    runs: list[LabelledRun] = [corpus.runs[i] for i in test.tolist()]
    keywords = [keyword_label(run.sources, corpus.passing_label) for run in runs]
    return [("commonest label", [commonest] * len(test)), ("keyword rule", keywords)]


def tfidf_labels(corpus: Corpus, split: str, training: NDArray[np.intp], test: NDArray[np.intp]) -> list[str]:
    """Labels of the test runs."""
    counts = _counts(corpus.masked, training, np.concatenate([training, test]))
    taught, asked = counts[: len(training)], counts[len(training) :]
    targets = corpus.masked.labels[training]
    folds = list(cross_folds(targets.tolist(), corpus.groups(split, training), 0, FOLDS))
    scores = {c: np.mean([_fold_score(taught, targets, train, held, c) for train, held in folds]) for c in PENALTIES}
    model, weights = _fit(taught, targets, max(scores, key=lambda c: scores[c]))
    return [str(label) for label in model.predict(weights.transform(asked))]


def boosted_labels(corpus: Corpus, split: str, training: NDArray[np.intp], test: NDArray[np.intp]) -> list[str]:
    """Labels of the test runs by boosted trees on the counts of terms."""
    counts = _counts(corpus.masked, training, np.concatenate([training, test]))
    validation = np.array([corpus.runs[i].parts[split] == "validation" for i in training.tolist()])
    if not validation.any():
        _, held = next(cross_folds(corpus.masked.labels[training].tolist(), corpus.groups(split, training), 0))
        validation[held] = True
    taught, asked = counts[: len(training)], counts[len(training) :]
    return boosted(taught, corpus.masked.labels[training], validation, asked)


def boosted(taught: Any, targets: NDArray[np.str_], validation: NDArray[np.bool_], asked: Any) -> list[str]:
    """Labels of the rows `asked` by XGBoost with balanced weights; the rows of `taught` that are for validation stop it."""
    labels, numbers = np.unique(targets, return_inverse=True)
    weights, rest = compute_sample_weight("balanced", numbers), ~validation
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
        taught[rest],
        numbers[rest],
        sample_weight=weights[rest],
        eval_set=[(taught[validation], numbers[validation])],
        sample_weight_eval_set=[weights[validation]],
        verbose=False,
    )
    return [str(label) for label in labels[model.predict(asked)]]


def _fold_score(
    counts: Any, targets: NDArray[np.str_], train: NDArray[np.intp], held: NDArray[np.intp], inverse_penalty: float
) -> float:
    model, weights = _fit(counts[train], targets[train], inverse_penalty)
    said = model.predict(weights.transform(counts[held]))
    return float(f1_score(targets[held], said, average="macro", zero_division=0))


def _fit(counts: Any, targets: NDArray[np.str_], inverse_penalty: float) -> tuple[LogisticRegression, TfidfTransformer]:
    weights = TfidfTransformer(sublinear_tf=True)
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=500)
    return model.fit(weights.fit_transform(counts), targets), weights


def _counts(masked: MaskedRuns, training: NDArray[np.intp], runs: NDArray[np.intp]) -> Any:
    """How often each term comes in each of `runs`, shape (runs, V); terms that enough training runs have."""
    terms = [line_terms(words) for words in masked.words]
    known: Counter[str] = Counter()
    for run in training.tolist():
        known.update({term for line in masked.distinct(run).tolist() for term in terms[line]})
    column = {term: i for i, term in enumerate(sorted(term for term, count in known.items() if count >= MIN_RUNS))}
    of_line = [[column[term] for term in of_one if term in column] for of_one in terms]
    rows, columns, values = [], [], []
    for row, run in enumerate(runs.tolist()):
        found: Counter[int] = Counter()
        lines, times = np.unique(np.concatenate(list(masked.runs[run].values())), return_counts=True)
        for line, count in zip(lines.tolist(), times.tolist(), strict=True):
            for term in of_line[line]:
                found[term] += count
        rows += [row] * len(found)
        columns += list(found)
        values += list(found.values())
    return csr_matrix((values, (rows, columns)), shape=(len(runs), len(column)), dtype=np.float64)


def _row(
    model: str, split: str, numbers: str, corpus: Corpus, test: NDArray[np.intp], said: Sequence[str]
) -> dict[str, Any]:
    found = label_figures(corpus.masked.labels[test].tolist(), said, corpus.labels)
    return {"model": model, "split": split, "numbers": numbers, **found}


if __name__ == "__main__":
    raise SystemExit(main())
