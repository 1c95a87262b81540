"""Draws the pictures of the results with matplotlib: training curves, confusion matrices, comparisons of networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from training.report.corpus import characters_read

mpl.use("Agg")
from matplotlib import pyplot as plt

__all__ = [
    "draw_confusion",
    "draw_contexts",
    "draw_curves",
    "draw_published",
    "draw_trials",
    "published_confusion",
    "served_confusion",
]

Row = Mapping[str, Any]
Matrices = Mapping[str, tuple[Sequence[str], Any]]
"""By title: the labels, and counts of shape (true, predicted)."""

# The context of the paper, and of all trials that do not vary it.
USUAL_CONTEXT = 50_000


def draw_curves(split: Row, path: Path) -> None:
    """Training and validation loss by epoch of each network of one split."""
    curves = {name: curve for name, curve in split["curves"].items() if "fold" not in name}
    figure, axes = plt.subplots(1, len(curves), figsize=(9, 3.2), squeeze=False)
    for axis, (name, curve) in zip(axes[0], curves.items(), strict=True):
        numbers = range(1, len(curve["epochs"]) + 1)
        validation = [epoch["validation"]["loss"] for epoch in curve["epochs"]]
        axis.plot(numbers, [epoch["training_loss"] for epoch in curve["epochs"]], label="training")
        axis.plot(numbers, validation, label="validation")
        axis.plot(curve["best"] + 1, validation[curve["best"]], "o", color="black", markersize=4)
        axis.set(title={"charcnn": "char-CNN", "next_key": "LogGPT"}[name], xlabel="epoch", ylabel="loss", yscale="log")
        axis.legend(frameon=False)
    _save(figure, path)


def served_confusion(splits: Sequence[Row]) -> Matrices:
    """Confusion matrices of the served bundle for each kind of split, summed over its seeds."""
    rows: dict[str, list[Row]] = {}
    for row in splits:
        rows.setdefault(row["kind"], []).append(row)
    return {
        kind: (some[0]["labels"], np.sum([row["confusion"]["served"] for row in some], axis=0))
        for kind, some in rows.items()
    }


def published_confusion(trials: Sequence[Row]) -> Matrices:
    """Confusion matrices of the two networks in the paper's Fig. 7, each by its first seed."""
    return {
        f"{trial['name']}, {trial['split']}\n{characters_read(trial)}, {trial['epochs_at_most']} epochs": (
            trial["labels"],
            np.array(trial["confusion"]),
        )
        for trial in trials
        if trial["name"] in ("CNN", "BiLSTM + CNN") and trial["seed"] == 0
    }


def draw_confusion(matrices: Matrices, path: Path) -> None:
    """One panel for each matrix; shades are shares of the true label, numbers are runs."""
    figure, axes = plt.subplots(1, len(matrices), figsize=(4.6 * len(matrices), 4.2), squeeze=False)
    for axis, (title, (labels, counts)) in zip(axes[0], matrices.items(), strict=True):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if shares[row, column] > 0.5 else "black"
                axis.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
        axis.set(title=title, xlabel="predicted", ylabel="true")
        axis.set_xticks(range(len(labels)), labels, fontsize=8)
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
    _save(figure, path)


def draw_trials(trials: Sequence[Row], path: Path) -> None:
    """Validation macro-F1 by epoch; all seeds of one network in one colour."""
    figure, axis = plt.subplots(figsize=(8, 3.6))
    colours: dict[str, str] = {}
    for trial in trials:
        if trial["kind"] != "template_hash":
            continue
        first = trial["name"] not in colours
        colour = colours.setdefault(trial["name"], f"C{len(colours)}")
        values = [epoch["validation"]["macro_f1"] for epoch in trial["epochs"]]
        axis.plot(range(1, len(values) + 1), values, color=colour, label=trial["name"] if first else None, alpha=0.8)
    axis.set(xlabel="epoch", ylabel="validation macro-F1", ylim=(0.5, 1.005))
    axis.legend(frameon=False, fontsize=8)
    _save(figure, path)


def _lines_read(trial: Row) -> str:
    return "each line once" if trial["distinct"] else "whole logs"


def draw_published(trials: Sequence[Row], path: Path) -> None:
    """Validation loss by epoch, one panel for each way of training; all seeds of one network in one colour."""
    panels: dict[str, dict[str, list[Row]]] = {}
    for trial in trials:
        if not trial["name"].startswith("CNN, context"):
            title = (
                f"{trial['split']}, {_lines_read(trial)}, ≤ {trial['epochs_at_most']} epochs at {trial['learning_rate']:g}"
            )
            name = trial["name"] + ("" if trial["context"] == USUAL_CONTEXT else f", context {trial['context']}")
            panels.setdefault(title, {}).setdefault(name, []).append(trial)
    figure, axes = plt.subplots(1, len(panels), figsize=(5 * len(panels), 4.4), squeeze=False, sharey=True)
    for axis, (title, networks) in zip(axes[0], panels.items(), strict=True):
        for number, (name, some) in enumerate(networks.items()):
            for seed, trial in enumerate(some):
                values = [epoch["validation"]["loss"] for epoch in trial["epochs"]]
                label = name if seed == 0 else None
                axis.plot(range(1, len(values) + 1), values, color=f"C{number}", label=label, alpha=0.8)
        axis.set(title=title, xlabel="epoch", ylabel="validation loss (weighted)")
        axis.title.set_fontsize(10)
        axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=2)
    _save(figure, path)


def draw_contexts(trials: Sequence[Row], path: Path) -> None:
    """Macro-F1 by the number of characters that are read, as in the paper's Fig. 6."""
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    lines: dict[str, list[tuple[int, float]]] = {}
    for trial in trials:
        if trial["seed"] == 0 and trial["split"] == "hard" and trial["embedded"] and not trial["network"]:
            name = f"{_lines_read(trial)}, {trial['epochs_at_most']} epochs"
            lines.setdefault(name, []).append((trial["context"], trial["macro_f1"]))
    for name, points in lines.items():
        axis.plot(*zip(*sorted(points), strict=True), "o-", label=name)
    axis.set(xlabel="characters read from the end of a log", ylabel="macro-F1, hard", xscale="log")
    axis.legend(frameon=False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    # Without the date and version that matplotlib would write, so that equal figures give equal files.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
