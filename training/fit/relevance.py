"""Fits the relevance model: logs whose relevant lines are known in, the two files of a bundle out.

A logistic regression weighs hashed words and pairs of words. Boosted trees then read its score for a line and for the lines
around it, beside what `stages/reduce/context.py` counts. Where the trees are fitted, words are weighed by a regression that
has not seen the project of the log: the trees must learn how far words can be trusted in a new project.
"""

import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from stream_triage.escapes import without_escapes
from stream_triage.stages.reduce.blocks import find_blocks
from stream_triage.stages.reduce.context import FEATURES, features
from stream_triage.stages.reduce.lines import BUCKETS, COLUMNS, LineTable, LogLines, read_lines
from stream_triage.stages.reduce.relevance import ARRAYS, PROFILE, Relevance, RelevanceProfile, log_lines
from stream_triage.stages.reduce.select import importance
from training.ci_logs import CiLog
from training.splits import group_folds

__all__ = ["fit_relevance", "relevance_of", "scores_of"]

FOLDS: Final = 3
INVERSE_PENALTY: Final = 0.003
# A word that fewer projects use says something about these, not about failures.
LEAST_PROJECTS: Final = 3
READ_LINES: Final = 4096
GAP: Final = COLUMNS.index("gap")
# Relevant and other lines of a log that the regression reads at most.
WORD_LINES: Final = (60, 250)
# Rows drawn of each log: a log of 90,000 lines must not outweigh a hundred short ones.
RELEVANT_ROWS, HARD_ROWS, OTHER_ROWS = 80, 250, 250
# Weight of a log's other lines against its relevant ones, whose weight grows with the square root of their number.
OTHER_WEIGHT: Final = 3.0
SETTINGS: Final[dict[str, Any]] = {
    "max_iter": 120,
    "learning_rate": 0.09,
    "max_depth": 5,
    "max_leaf_nodes": None,
    "min_samples_leaf": 30,
    "max_features": 0.3,
    "l2_regularization": 5.0,
    "max_bins": 64,
    "early_stopping": False,
}


class _Read(NamedTuple):
    """A log as the stage reads it: its lines with text."""

    project: str
    table: LineTable
    relevant: NDArray[np.bool_]


class _Words(NamedTuple):
    """Drawn lines of a log as hashed words; shapes (n, BUCKETS), (n,) and (n,)."""

    project: str
    matrix: Any
    truth: NDArray[np.bool_]
    weight: NDArray[np.float64]


class _Rows(NamedTuple):
    """Drawn lines of a log as features; shapes (n, len(FEATURES)), (n,) and (n,)."""

    table: NDArray[np.float32]
    truth: NDArray[np.bool_]
    weight: NDArray[np.float64]


def read_log(log: CiLog) -> _Read:
    """Reads a log as `LogReader` does, and keeps the words, whose weights are not known yet."""
    shown = [without_escapes(line) for line in log.lines]
    kept = [i for i, line in enumerate(shown) if line and not line.isspace()]
    tables = [read_lines([shown[i] for i in kept[at : at + READ_LINES]]) for at in range(0, max(len(kept), 1), READ_LINES)]
    offsets = np.cumsum([0, *(len(table.numbers) for table in tables[:-1])])
    numbers = np.concatenate([table.numbers for table in tables])
    numbers[:, GAP] = np.minimum(np.diff(np.array(kept, dtype=np.int64), prepend=-1) - 1, 3)
    table = LineTable(
        numbers,
        np.concatenate([table.bucket_line + offset for table, offset in zip(tables, offsets, strict=True)]),
        np.concatenate([table.buckets for table in tables]),
        np.concatenate([table.identity for table in tables]),
    )
    return _Read(log.project, table, log.relevant[kept])


def fit_relevance(logs: Sequence[CiLog], seed: int, report: Callable[[str], None] = lambda text: None) -> dict[str, bytes]:
    """Fits the model to logs with relevant lines; returns its files by name."""
    read = [read_log(log) for log in logs]
    folds = group_folds([log.project for log in read], seed, FOLDS)
    rng = np.random.default_rng(seed)
    drawn = [_draw_words(log, rng) for log in read]
    report("lines")
    words = [np.empty(0, dtype=np.float32)] * len(read)
    for number, fold in enumerate(folds, 1):
        weights, bias = _weigh([one for one, out in zip(drawn, fold, strict=True) if not out], seed)
        for i in np.flatnonzero(fold).tolist():
            words[i] = log_lines(read[i].table, weights, bias).words
        report(f"words, fold {number} of {FOLDS}")
    rows = [_draw_rows(log, own, rng) for log, own in zip(read, words, strict=True)]
    report("features")
    model = _grow(rows, seed)
    weights, bias = _weigh(drawn, seed)
    profile = RelevanceProfile(columns=COLUMNS, features=FEATURES, bias=bias)
    arrays = {"words": weights.astype(np.float16), **_arrays(model)}
    _check_export(Relevance(profile, arrays), model, rows[0].table)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return {PROFILE: (json.dumps(profile.model_dump(), indent=1) + "\n").encode(), ARRAYS: buffer.getvalue()}


def relevance_of(files: dict[str, bytes]) -> Relevance:
    """The model of these files, as a bundle opens it."""
    with np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False) as arrays:
        return Relevance.from_files(json.loads(files[PROFILE]), dict(arrays))


def scores_of(relevance: Relevance, log: CiLog) -> NDArray[np.float32]:
    """The score of each line of a log; lines without text get the lowest one."""
    reader = relevance.reader()
    reader.add(log.lines)
    scored = reader.finish()
    scores = np.full(len(log.lines), -np.inf, dtype=np.float32)
    scores[scored.number.astype(np.intp) - 1] = importance(scored.table, scored.score, find_blocks(scored.table))
    return scores


def _draw_words(log: _Read, rng: np.random.Generator) -> _Words:
    """Lines of a log for the regression, each kind of line once."""
    _, distinct = np.unique(log.table.identity, return_index=True)
    others, relevant = distinct[~log.relevant[distinct]], np.flatnonzero(log.relevant)
    chosen = np.sort(np.concatenate([rng.permutation(relevant)[: WORD_LINES[0]], rng.permutation(others)[: WORD_LINES[1]]]))
    place = np.full(len(log.relevant), -1)
    place[chosen] = np.arange(len(chosen))
    row = place[log.table.bucket_line]
    inside = row >= 0
    # A bucket counts once for a line.
    cells = np.unique(row[inside] * BUCKETS + log.table.buckets[inside])
    matrix = csr_matrix((np.ones(len(cells), dtype=np.float32), np.divmod(cells, BUCKETS)), shape=(len(chosen), BUCKETS))
    truth = log.relevant[chosen]
    weight = np.where(truth, max(truth.sum(), 1) ** -0.5, OTHER_WEIGHT / max((~truth).sum(), 1))
    return _Words(log.project, matrix, truth, weight)


def _weigh(drawn: Sequence[_Words], seed: int) -> tuple[NDArray[np.float32], float]:
    """Weights of all buckets and the bias."""
    used: dict[str, NDArray[np.bool_]] = {}
    for one in drawn:
        used[one.project] = used.get(one.project, False) | (np.asarray(one.matrix.sum(axis=0)).ravel() > 0)
    kept = np.flatnonzero(np.sum(list(used.values()), axis=0) >= min(LEAST_PROJECTS, len(used)))
    weight = np.concatenate([one.weight for one in drawn])
    model = LogisticRegression(C=INVERSE_PENALTY, solver="liblinear", tol=1e-3, random_state=seed)
    model.fit(
        vstack([one.matrix for one in drawn]).tocsr()[:, kept],
        np.concatenate([one.truth for one in drawn]),
        sample_weight=weight * (len(weight) / weight.sum()),
    )
    result = np.zeros(BUCKETS, dtype=np.float32)
    result[kept] = model.coef_[0]
    return result, float(model.intercept_[0])


def _features(log: _Read, words: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([table for _, table in features(LogLines(log.table.numbers, words, log.table.identity))])


def _draw_rows(log: _Read, words: NDArray[np.float32], rng: np.random.Generator) -> _Rows:
    """Lines of a log for the trees: relevant ones, those whose words look relevant, and others."""
    table = _features(log, words)
    relevant, others = np.flatnonzero(log.relevant), np.flatnonzero(~log.relevant)
    by_words = others[np.argsort(-words[others])]
    hard, easy = by_words[:HARD_ROWS], by_words[HARD_ROWS:]
    drawn = (rng.permutation(relevant)[:RELEVANT_ROWS], hard, rng.permutation(easy)[:OTHER_ROWS])
    totals = (len(relevant) ** 0.5, *(OTHER_WEIGHT * len(part) / max(len(others), 1) for part in (hard, easy)))
    weights = [np.full(len(part), total / max(len(part), 1)) for part, total in zip(drawn, totals, strict=True)]
    chosen = np.concatenate(drawn)
    return _Rows(table[chosen], log.relevant[chosen], np.concatenate(weights))


def _grow(rows: Sequence[_Rows], seed: int) -> HistGradientBoostingClassifier:
    table, truth, weight = (np.concatenate(column) for column in zip(*rows, strict=True))
    model = HistGradientBoostingClassifier(random_state=seed, **SETTINGS)
    return model.fit(table, truth, sample_weight=weight * (len(weight) / weight.sum()))


def _arrays(model: HistGradientBoostingClassifier) -> dict[str, NDArray[Any]]:
    """The trees, each filled up to a complete one; the baseline becomes part of the first."""
    depth = SETTINGS["max_depth"]
    predictors = [iteration[0].nodes for iteration in model._predictors]
    feature = np.zeros((len(predictors), (1 << depth) - 1), dtype=np.int16)
    threshold = np.full(feature.shape, np.inf, dtype=np.float32)
    value = np.zeros((len(predictors), 1 << depth), dtype=np.float32)
    for tree, nodes in enumerate(predictors):
        _fill(nodes, 0, 0, 0, (feature[tree], threshold[tree], value[tree]))
    value[0] += float(np.ravel(model._baseline_prediction)[0])
    return {"feature": feature, "threshold": threshold, "value": value}


def _fill(nodes: NDArray[Any], node: int, place: int, level: int, arrays: tuple[NDArray[Any], ...]) -> None:
    """Copies a node and what is below it to `place`, in the numbering of a complete tree."""
    feature, threshold, value = arrays
    inner = len(feature)
    if nodes[node]["is_leaf"]:
        width = (inner + 1) >> level
        first = ((place + 1) << (inner.bit_length() - level)) - 1 - inner
        value[first : first + width] = nodes[node]["value"]
        return
    feature[place] = nodes[node]["feature_idx"]
    # Features are float32, thresholds float64: rounded up, a value that was equal stays on the left.
    limit = np.float32(nodes[node]["num_threshold"])
    threshold[place] = limit if limit >= nodes[node]["num_threshold"] else np.nextafter(limit, np.float32(np.inf))
    _fill(nodes, int(nodes[node]["left"]), 2 * place + 1, level + 1, arrays)
    _fill(nodes, int(nodes[node]["right"]), 2 * place + 2, level + 1, arrays)


def _check_export(relevance: Relevance, model: HistGradientBoostingClassifier, table: NDArray[np.float32]) -> None:
    """Compares exported trees with the model: they are read from private fields of scikit-learn, which may change."""
    if not np.allclose(relevance.trees.scores(table), model.decision_function(table), atol=1e-3):
        raise AssertionError("the exported trees and scikit-learn's differ; look at the fields of its nodes")
