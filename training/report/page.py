"""Figures of finished trainings in, training/RESULTS.md with its pictures out. Nothing is trained here.

    python -m training.report      # or: make results

Reads what the other scripts left in training/results/.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from training.evaluate import mean_and_spread
from training.report.corpus import corpus_parts, read_of
from training.report.markdown import spread, table
from training.report.trials import read_trials

mpl.use("Agg")
from matplotlib import pyplot as plt

__all__ = ["main"]

FOLDER = Path(__file__).parents[1]
MODELS = {
    "served": "**served: the pool**",
    "terms": "TF-IDF + logistic regression alone",
    "charcnn": "char-CNN alone",
}
Row = Mapping[str, Any]
# By title: labels, and counts of shape (true, said).
Matrices = Mapping[str, tuple[Sequence[str], Any]]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--figures", type=Path, default=FOLDER / "results" / "oai5g.json")
    parser.add_argument("--card", type=Path, default=FOLDER.parent / "models" / "oai5g" / "card.json")
    parser.add_argument("--corpus-card", type=Path, default=FOLDER.parent / "models" / "tm500" / "card.json")
    parser.add_argument("--networks", type=Path, default=FOLDER / "results" / "networks.jsonl")
    parser.add_argument("--order", type=Path, default=FOLDER / "results" / "order.md")
    parser.add_argument("--out", type=Path, default=FOLDER / "RESULTS.md")
    arguments = parser.parse_args(argv)
    splits: list[Row] = json.loads(arguments.figures.read_text())
    card: Row = json.loads(arguments.card.read_text())
    trials = read_trials(arguments.networks)
    pictures = arguments.out.parent / "results"
    pictures.mkdir(exist_ok=True)
    _draw_curves(splits[0], pictures / "curves.png")
    _draw_confusion(_served_confusion(splits), pictures / "confusion.png")
    _draw_trials(trials, pictures / "networks.png")
    page = _page(splits, card, trials, arguments.order.read_text())
    corpus = corpus_parts(arguments.figures.parent, arguments.corpus_card)
    of_corpus = arguments.figures.parent / "tm500.json"
    if of_corpus.is_file():
        _draw_confusion(_served_confusion(json.loads(of_corpus.read_text())), pictures / "tm500.png")
    if published := read_trials(arguments.figures.parent / "paper.jsonl"):
        _draw_published(published, pictures / "paper.png")
        _draw_confusion(_published_confusion(published), pictures / "paper_confusion.png")
        _draw_contexts(published, pictures / "contexts.png")
    stops = [json.loads(path.read_text()) for path in sorted(arguments.figures.parent.glob("early_stop_*.json"))]
    early = [EARLY_STOP, _early_stop_table(stops)] if stops else []
    arguments.out.write_text("\n\n".join([page.rstrip(), *corpus, *early]) + "\n")
    return 0


HEAD = """# Results

Written by `python -m training.report` from what the trainings left in [results/](results); scores are those of held-out
runs through the serving pipeline. [LOG.md](LOG.md) tells what was tried on the way."""
CLASSIFIERS = """## Classifiers

Macro-F1 over labels with at least 20 held-out runs, mean ± standard deviation of the folds; the difference to the pool on
the same runs with its 95 % interval (paired bootstrap over groups of near copies)."""
DETECTORS = """## Detectors

Pass or fail by the anomaly score alone; false alarms among passing runs, those of all folds together and (of each fold). The
threshold is set for a rate of 2 %; the last column is the 95 % interval that the detector states for that rate."""
ORDER = """### What the network adds

Held-out passing runs of one split (seed 1; settings were chosen in view of seed 0), changed in nothing but the order of
their lines: the share that each detector calls anomalous, and the share with any key or end outside the K likeliest."""
NETWORKS = """## Which network

Each trial is one training; a split's held-out runs are the same for all of them. Chosen by the validation column. Held out
by `injected_key` is the fold on which all models are worst (see LOG.md)."""
CURVES = """## Curves of the bundle

Training and validation loss by epoch; a dot marks the epoch whose weights are served."""
EARLY_STOP = """## Early stop

Held-out runs read line by line, the same share of each source at a time: which would have been stopped as surely lost
([docs/lab.md](../docs/lab.md#early-stop)). *First sign* is the share of a failing run at which the first term comes that no
passing run has; medians are over all failing runs, none where fewer than half were stopped."""


def _page(splits: Sequence[Row], card: Row, trials: Sequence[Row], order: str) -> str:
    kinds = list(dict.fromkeys(row["kind"] for row in splits))
    losses = card["training"]["out_of_fold_log_loss"]
    parts = [
        HEAD,
        _who_decides(card),
        table(("out-of-fold log-loss", "nats a run"), [(name, f"{loss:.4f}") for name, loss in losses.items()]),
        CLASSIFIERS,
        _classifier_table(card, kinds),
        _picture("confusion", "Confusion matrices of the served pool, runs of all folds together"),
        DETECTORS,
        _detector_table(card, splits),
        ORDER,
        order.strip(),
        NETWORKS,
        _trial_table(trials),
        _picture("networks", "Validation macro-F1 by epoch, split by template_hash"),
        CURVES,
        _picture("curves", "Training curves of the networks of the bundle"),
    ]
    return "\n\n".join(parts) + "\n"


def _who_decides(card: Row) -> str:
    training = card["training"]
    precision = training["charcnn_precision"]
    shares = ", ".join(f"{name} {share:g}" for name, share in card["classifiers"].items())
    apart = f"{precision['median_difference']:g} apart in the median, {precision['largest_difference']:g} at most"
    return f"""## Who decides

Bundle `{card["name"]}` {card["version"]}, trained on {training["runs"]} runs ({training["split"]}). Shares in the label
scores, chosen by log-loss on runs that the models of each fold had not seen: {shares}; temperature
{card["temperature"]:g}. The char-CNN's line part is served in {precision["served"]}: the same label on
{precision["same_labels"]:.1%} of its validation runs as in fp32, scores {apart}."""


def _picture(name: str, title: str) -> str:
    return f"![{title}](results/{name}.png)"


def _classifier_table(card: Row, kinds: Iterable[str]) -> str:
    rows = []
    for kind in kinds:
        scores = card["scores"][kind]
        rows.append((f"`{kind}`", MODELS["served"], spread(scores["macro_f1"]), ""))
        for model in ("terms", "charcnn"):
            less = scores[f"served_less_{model}_alone"]
            interval = f"{less['difference']:+.4f} ({less['low']:+.4f} to {less['high']:+.4f})"
            rows.append((f"`{kind}`", MODELS[model], spread(scores[f"{model}_alone_macro_f1"]), interval))
        rows.append((f"`{kind}`", "keyword rule", spread(scores["keyword_rule_macro_f1"]), ""))
    return table(("split", "model", "macro-F1", "pool less this"), rows)


def _detector_table(card: Row, splits: Sequence[Row]) -> str:
    rows = []
    for kind in dict.fromkeys(row["kind"] for row in splits):
        scores, tables = card["scores"][kind], [row["tables"] for row in splits if row["kind"] == kind]
        served = spread(scores["anomaly_auroc"]), _false_alarms([table["served"] for table in tables])
        # Of the first fold; the others differ in the last digit.
        interval = scores["false_alarms_in_interval"][0].partition("within ")[2]
        if "next_key" in scores["detectors"]:
            rows.append((f"`{kind}`", "**served: plain and LogGPT**", *served, interval))
            rows.append((f"`{kind}`", "plain detector alone", spread(scores["plain_detector_auroc"]), "", ""))
        else:
            rows.append((f"`{kind}`", "plain detector alone", *served, interval))
    return table(("split", "detector", "AUROC", "false alarms", "stated interval of their rate"), rows)


def _false_alarms(tables: Sequence[Row]) -> str:
    """Of all folds together, and of each."""
    counts = [tuple(map(int, table["false_alarms"].split(" passing")[0].split(" of "))) for table in tables]
    alarms, runs = sum(count for count, _ in counts), sum(count for _, count in counts)
    each = ", ".join(str(count) for count, _ in counts)
    return f"{alarms} of {runs}: {alarms / runs:.4f} ({each})"


def _trial_table(trials: Sequence[Row]) -> str:
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for trial in trials:
        groups.setdefault((trial["name"], trial["kind"], trial["split"]), []).append(trial)
    rows = []
    for (name, kind, split), some in groups.items():
        rows.append(
            (
                name,
                f"`{kind}`, fold {split}",
                f"{some[0]['parameters']:,}",
                str(len(some)),
                spread(mean_and_spread([trial["validation_macro_f1"] for trial in some])),
                spread(mean_and_spread([trial["macro_f1"] for trial in some])),
                ", ".join(count for trial in some for count in trial["rare"].values()),
            )
        )
    head = ("network", "held out", "parameters", "seeds", "validation", "held-out macro-F1", "L2 found")
    return table(head, rows)


def _early_stop_table(stops: Sequence[Row]) -> str:
    rows = [
        (
            f"`{stop['bundle']}`",
            f"{stop['false_stops']} of {stop['passing_runs']}",
            f"{stop['stopped']} of {stop['failing_runs']}",
            "" if stop["median_share"] is None else f"{stop['median_share']:.0%}",
            f"{stop['median_share_of_the_first_sign']:.0%}",
            f"{stop['lines_not_run']:.1%}",
        )
        for stop in stops
    ]
    head = ("bundle", "passing runs stopped", "failing runs stopped", "after, median", "first sign", "lines not run")
    return table(head, rows)


def _draw_curves(split: Row, path: Path) -> None:
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


def _served_confusion(splits: Sequence[Row]) -> Matrices:
    """By kind of split, counts of all folds together."""
    rows: dict[str, list[Row]] = {}
    for row in splits:
        rows.setdefault(row["kind"], []).append(row)
    return {
        kind: (some[0]["labels"], np.sum([row["confusion"]["served"] for row in some], axis=0))
        for kind, some in rows.items()
    }


def _published_confusion(trials: Sequence[Row]) -> Matrices:
    """Of the two networks of the published table, their first seeds."""
    return {
        f"{trial['name']}, {trial['split']}\n{read_of(trial)}, {trial['epochs_at_most']} epochs": (
            trial["labels"],
            np.array(trial["confusion"]),
        )
        for trial in trials
        if trial["name"] in ("CNN", "BiLSTM + CNN") and trial["seed"] == 0
    }


def _draw_confusion(matrices: Matrices, path: Path) -> None:
    figure, axes = plt.subplots(1, len(matrices), figsize=(4.6 * len(matrices), 4.2), squeeze=False)
    for axis, (title, (labels, counts)) in zip(axes[0], matrices.items(), strict=True):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                shade = "white" if shares[row, column] > 0.5 else "black"
                axis.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
        axis.set(title=title, xlabel="said", ylabel="true")
        axis.set_xticks(range(len(labels)), labels, fontsize=8)
        axis.set_yticks(range(len(labels)), labels, fontsize=8)
    _save(figure, path)


def _draw_trials(trials: Sequence[Row], path: Path) -> None:
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


def _draw_published(trials: Sequence[Row], path: Path) -> None:
    """Validation loss by epoch, a panel for each way to train; seeds of one network in one colour."""
    panels: dict[str, dict[str, list[Row]]] = {}
    for trial in trials:
        if not trial["name"].startswith("CNN, context"):
            title = (
                f"{trial['split']}, {_lines_read(trial)}, ≤ {trial['epochs_at_most']} epochs at {trial['learning_rate']:g}"
            )
            name = trial["name"] + ("" if trial["context"] == 50_000 else f", context {trial['context']}")
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


def _draw_contexts(trials: Sequence[Row], path: Path) -> None:
    """What more of the log is worth to one network, as Ihalage et al., Fig. 6."""
    figure, axis = plt.subplots(figsize=(6.5, 3.6))
    lines: dict[str, list[tuple[int, float]]] = {}
    for trial in trials:
        if trial["seed"] == 0 and trial["split"] == "hard" and trial["embedded"] and not trial["network"]:
            name = f"{_lines_read(trial)}, {trial['epochs_at_most']} epochs"
            lines.setdefault(name, []).append((trial["context"], trial["macro_f1"]))
    for name, points in lines.items():
        axis.plot(*zip(*sorted(points), strict=True), "o-", label=name)
    axis.set(xlabel="characters of a log's end that are read", ylabel="macro-F1, hard", xscale="log")
    axis.legend(frameon=False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    # Without the date and version that matplotlib would write, so that equal figures give equal files.
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
