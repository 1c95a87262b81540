"""Checks that nothing crude tells the labels of version 2 of the corpus, and how difficult it is.

    python -m training.varied.audit [--runs 3262] [--seed 1]

Each crude feature (crude.py) alone predicts the labels with a shallow tree, cross-validated, and all of them together with
boosted trees. They may not be better than always saying Pass by more than three points of accuracy, all together by five.
Words of the set-up must not predict labels better than chance. Prints each figure with its limits, then macro-F1 of two
baselines on every split. Exits with 1 if a figure is outside its limits.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.tree import DecisionTreeClassifier

from stream_triage.stages.normalise import mask
from training.arguments import command_parser
from training.corpus.figures import Figure, failures, print_figures
from training.keyword_rule import keyword_label
from training.varied.crude import crude_features
from training.varied.generate import GeneratedRun, generate
from training.varied.plan import LABELS, RUNS, SPLITS

__all__ = ["audit", "baselines", "crude", "difficulty", "main", "set_up"]

MARGIN: Final = 0.03
"""Points of accuracy by which a crude feature may be better than always saying the most frequent label."""
MARGIN_TOGETHER: Final = 0.05
"""The same for all crude features together."""
DEPTH: Final = 3
FOLDS: Final = 5


def audit(runs: Sequence[GeneratedRun]) -> list[Figure]:
    """All figures of a corpus."""
    return [*crude(runs), *set_up(runs), *difficulty(runs)]


def crude(runs: Sequence[GeneratedRun]) -> Iterator[Figure]:
    """How well each crude feature tells the labels, and all of them together.

    The limit widens with fewer runs by two standard errors of the accuracy.
    """
    labels = np.array([run.label for run in runs])
    rows = [crude_features(run) for run in runs]
    majority = max(float((labels == label).mean()) for label in LABELS)
    limit = majority + MARGIN + 2 * float(np.sqrt(majority * (1 - majority) / len(runs))) * (len(runs) < RUNS)
    for name in rows[0]:
        accuracy = _accuracy(_columns([row[name] for row in rows]), labels)
        yield Figure(f"accuracy by {name} alone", accuracy, 0, limit)
    trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.05, max_leaf_nodes=8, random_state=0)
    together = _cross_validated(trees, DictVectorizer(sparse=False).fit_transform(rows), labels)
    yield Figure("accuracy by all crude features together", together, 0, limit + MARGIN_TOGETHER - MARGIN)


def _columns(values: Sequence[Any]) -> NDArray[np.float64]:
    """One column for numbers; one for each value of texts."""
    if not isinstance(values[0], str):
        return np.array(values, dtype=float)[:, None]
    names = sorted(set(values))
    return np.array([[value == name for name in names] for value in values], dtype=float)


def _accuracy(columns: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=max(5, len(labels) // 300), random_state=0)
    return _cross_validated(tree, columns, labels)


def _cross_validated(model: Any, columns: NDArray[np.float64], labels: NDArray[np.str_]) -> float:
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return float((cross_val_predict(model, columns, labels, cv=folds) == labels).mean())


def set_up(runs: Sequence[GeneratedRun]) -> Iterator[Figure]:
    """How well the words of the set-up tell the labels, as balanced accuracy; guessing has a quarter."""
    some = [run for run in runs if run.written.set_up]
    labels = np.array([run.label for run in some])
    texts = []
    for run in some:
        lines = run.text.decode(errors="replace").replace("\r\n", "\n").split("\n")
        texts.append("\n".join(lines[place].split("\t", 1)[-1] for place in run.written.set_up))
    features = TfidfVectorizer(analyzer=_raw_words, min_df=5, sublinear_tf=True).fit_transform(texts)
    model = LogisticRegression(class_weight="balanced", max_iter=200)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(model, features, labels, cv=folds)
    chance = 1 / len(LABELS)
    counts = [int((labels == label).sum()) for label in LABELS]
    error = float(np.sqrt(sum(chance * (1 - chance) / count for count in counts)) / len(LABELS))
    yield Figure(
        "balanced accuracy by words of the set-up", float(balanced_accuracy_score(labels, predicted)), 0, chance + 3 * error
    )


def _raw_words(text: str) -> list[str]:
    return re.findall(r"[^\s,]+", text)


def _words_and_pairs(text: str) -> list[str]:
    words = re.findall(r"[A-Za-z][\w#-]*", text)
    return words + [f"{first} {second}" for first, second in pairwise(words)]


def difficulty(runs: Sequence[GeneratedRun]) -> Iterator[Figure]:
    """How often passing runs have troubles and failing runs have records of other layers or none of their cause."""
    slack = 3 * float(np.sqrt(0.25 / max(1, sum(run.label != "Pass" for run in runs))))
    passing, failing = [run for run in runs if run.label == "Pass"], [run for run in runs if run.label != "Pass"]

    def share(some: Sequence[bool]) -> float:
        return float(np.mean(some))

    yield Figure(
        "passing runs with a trouble that is overcome", share([bool(run.overcome) for run in passing]), 0.6 - slack, 1
    )
    yield Figure(
        "failing runs with another trouble that is overcome", share([bool(run.overcome) for run in failing]), 0.4 - slack, 1
    )
    yield Figure(
        "failing runs with abnormal records of two layers", share([len(run.layers) >= 2 for run in failing]), 0.4 - slack, 1
    )
    hidden = [run.evidence != "records" for run in failing]
    yield Figure("failing runs without a direct record of their cause", share(hidden), 0.1 - slack, 0.4 + slack)


def baselines(runs: Sequence[GeneratedRun]) -> Mapping[str, Mapping[str, float]]:
    """Macro-F1 on the test part of every split: always Pass, keyword rule, TF-IDF with logistic regression."""
    labels = np.array([run.label for run in runs])
    texts = [mask("\n".join(run.text.decode(errors="replace").splitlines())) for run in runs]
    keyword = np.array([keyword_label({"": run.text}, "Pass") for run in runs])
    scores: dict[str, dict[str, float]] = {}
    for split in SPLITS:
        test = np.array([run.parts[split] == "test" for run in runs])
        vectorizer = TfidfVectorizer(analyzer=_words_and_pairs, min_df=5, max_features=40_000, sublinear_tf=True)
        features = vectorizer.fit_transform([text for text, held in zip(texts, test, strict=True) if not held])
        model = OneVsRestClassifier(LogisticRegression(class_weight="balanced", C=10, solver="liblinear")).fit(
            features, labels[~test]
        )
        predicted = model.predict(vectorizer.transform([text for text, held in zip(texts, test, strict=True) if held]))
        scores[split] = {
            "majority": _macro_f1(labels[test], np.full(int(test.sum()), "Pass")),
            "keyword rule": _macro_f1(labels[test], keyword[test]),
            "TF-IDF and logistic regression": _macro_f1(labels[test], predicted),
        }
    return scores


def _macro_f1(labels: NDArray[np.str_], predicted: NDArray[np.str_]) -> float:
    return float(f1_score(labels, predicted, labels=list(LABELS), average="macro", zero_division=0))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 if a figure is outside its limits."""
    parser = command_parser("training.varied.audit", __doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="number of runs to generate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the corpus (default: %(default)s)")
    arguments = parser.parse_args(argv)
    runs = list(generate(arguments.runs, arguments.seed))
    figures = audit(runs)
    print_figures(figures)
    for split, scores in baselines(runs).items():
        print(f"macro-F1, split {split}: " + ", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    return 1 if failures(figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
