"""Rows of features and targets in, boosted trees as plain arrays out: grown by XGBoost, read from its public dump."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import xgboost
from numpy.typing import NDArray

from stream_triage.stages.procedures.trees import Trees

__all__ = ["grow"]


def grow(
    rows: NDArray[np.float64],
    targets: NDArray[np.intp],
    outputs: int,
    weights: NDArray[np.float64],
    seed: int,
    *,
    prior: NDArray[np.float64] | None = None,
    monotone: Sequence[int] | None = None,
    **settings: Any,
) -> dict[str, NDArray[Any]]:
    """Grows trees and returns the arrays that `stages.procedures.trees.Trees` reads.

    Args:
        rows: Feature vectors, shape (runs, F), NaN where a feature is unknown.
        targets: Index of the output of each run; for a single output, 0 or 1.
        outputs: Number of outputs; 1 for the log-odds of target 1.
        weights: Weight of each run, shape (runs,).
        seed: Seed of the choices of runs and features.
        prior: What a feature that is set (above 0.5) adds to each output before any tree, shape (F + 1, outputs); the last
            row is added always. Trees then learn what is left to explain.
        monotone: For each feature 1 if a larger value may only raise the score, else 0.
        settings: Further parameters of XGBoost.
    """
    objective = {"objective": "binary:logistic"} if outputs == 1 else {"objective": "multi:softprob", "num_class": outputs}
    parameters = {**objective, **settings, "seed": seed, "nthread": 1, "tree_method": "hist"}
    if monotone:
        parameters["monotone_constraints"] = tuple(monotone)
    rounds = parameters.pop("rounds")
    if prior is None:
        prior = np.zeros((rows.shape[1] + 1, outputs))
    matrix = xgboost.DMatrix(rows, label=targets, weight=weights, base_margin=_margin(rows, prior))
    booster = xgboost.train(parameters, matrix, num_boost_round=rounds)
    trees = _arrays(booster, outputs)
    arrays = _joined(_stumps(prior, rows), trees)
    _check(Trees(arrays), booster, rows[:20], prior)
    return arrays


def _margin(rows: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((np.nan_to_num(rows) > 0.5) @ prior[:-1] + prior[-1])


def _stumps(prior: NDArray[np.float64], rows: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """The prior as trees of one split."""
    set_ones = [(feature, output) for feature, output in zip(*np.nonzero(prior[:-1]), strict=True)]
    nodes: list[tuple[int, float, int, int, bool, float]] = []
    roots, outputs = [], []
    for feature, output in set_ones:
        value, share = prior[feature, output], float((np.nan_to_num(rows[:, feature]) > 0.5).mean())
        roots.append(len(nodes))
        outputs.append(output)
        first = len(nodes)
        nodes.append((feature, 0.5, first + 1, first + 2, True, share * value))
        nodes += [(-1, 0.0, 0, 0, True, 0.0), (-1, 0.0, 0, 0, True, value)]
    return {**_columns(nodes), "roots": np.array(roots), "outputs": np.array(outputs), "base": prior[-1].copy()}


def _joined(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    shift = len(one["feature"])
    moved = {**other, "left": other["left"] + shift, "right": other["right"] + shift, "roots": other["roots"] + shift}
    joined = {name: np.concatenate([one[name], moved[name]]) for name in one if name != "base"}
    return {name: joined[name].astype(_TYPES[name]) for name in joined} | {"base": one["base"] + other["base"]}


_TYPES: Final = {
    "feature": np.int16, "threshold": np.float32, "left": np.int32, "right": np.int32, "missing_left": np.int8,
    "value": np.float64, "roots": np.int32, "outputs": np.int16,
}  # fmt: skip


def _columns(nodes: Sequence[tuple[int, float, int, int, bool, float]]) -> dict[str, NDArray[Any]]:
    columns = list(zip(*nodes, strict=True)) if nodes else [()] * 6
    names = ("feature", "threshold", "left", "right", "missing_left", "value")
    return {name: np.array(column, dtype=_TYPES[name]) for name, column in zip(names, columns, strict=True)}


def _arrays(booster: xgboost.Booster, outputs: int) -> dict[str, NDArray[Any]]:
    nodes: list[tuple[int, float, int, int, bool, float]] = []
    roots, of_output = [], []
    for number, text in enumerate(booster.get_dump(dump_format="json", with_stats=True)):
        # Each round has one tree for each output, in their order.
        roots.append(len(nodes))
        of_output.append(number % outputs)
        nodes += _nodes(json.loads(text), len(nodes))
    return {**_columns(nodes), "roots": np.array(roots), "outputs": np.array(of_output), "base": _base(booster, outputs)}


def _base(booster: xgboost.Booster, outputs: int) -> NDArray[np.float64]:
    """The score before the first tree: what the trees' own scores lack, on a row of unknown features."""
    row = xgboost.DMatrix(np.full((1, booster.num_features()), np.nan), base_margin=np.zeros((1, outputs)))
    margin = np.ravel(booster.predict(row, output_margin=True))
    leaves = np.ravel(booster.predict(row, pred_leaf=True)).astype(int)
    sums = np.zeros(outputs)
    for number, (text, leaf) in enumerate(zip(booster.get_dump(dump_format="json"), leaves.tolist(), strict=True)):
        sums[number % outputs] += next(node["leaf"] for node in _all(json.loads(text)) if node["nodeid"] == leaf)
    return np.asarray(margin - sums, dtype=np.float64)


def _all(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("children", ()):
        yield from _all(child)


def _nodes(root: dict[str, Any], first: int) -> list[tuple[int, float, int, int, bool, float]]:
    """Nodes of one tree, numbered from `first`, children after their parent.

    XGBoost gives a value to leaves only. Inner nodes get the mean of the leaves below them, weighted by training runs: the
    difference between a node and its child is what the split at that node contributes, which explains a verdict.
    """
    ordered = _breadth_first(root)
    position = {node["nodeid"]: number for number, node in enumerate(ordered)}
    values: dict[int, float] = {}
    for node in reversed(ordered):
        if "leaf" in node:
            values[node["nodeid"]] = node["leaf"]
        else:
            covers = [child["cover"] for child in node["children"]]
            means = [values[child["nodeid"]] for child in node["children"]]
            values[node["nodeid"]] = float(np.dot(covers, means) / max(sum(covers), 1e-9))
    return [
        (-1, 0.0, 0, 0, True, values[node["nodeid"]])
        if "leaf" in node
        else (
            int(node["split"].removeprefix("f")),
            float(node["split_condition"]),
            first + position[node["yes"]],
            first + position[node["no"]],
            node["missing"] == node["yes"],
            values[node["nodeid"]],
        )
        for node in ordered
    ]


def _breadth_first(root: dict[str, Any]) -> list[dict[str, Any]]:
    ordered = [root]
    for node in ordered:
        ordered += node.get("children", ())
    return ordered


def _check(trees: Trees, booster: xgboost.Booster, rows: NDArray[np.float64], prior: NDArray[np.float64]) -> None:
    """Compares the arrays with the model that they were read from."""
    matrix = xgboost.DMatrix(rows, base_margin=_margin(rows, prior))
    theirs = booster.predict(matrix, output_margin=True).reshape(len(rows), -1)
    ours = np.array([trees.scores(row) for row in rows])
    if not np.allclose(ours, theirs, atol=1e-4):
        raise AssertionError("the exported trees and those of XGBoost differ; look at the fields of its dump")
