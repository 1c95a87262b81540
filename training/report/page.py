"""Writes training/RESULTS.md and its pictures from the figures of finished trainings. Nothing is trained.

    python -m training.report      # or: make results

Reads what the other commands left in training/results/ and the cards of the shipped bundles.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.arguments import command_parser
from training.evaluate import mean_and_spread
from training.packages import MissingPackageError, require
from training.report.corpus import corpus_parts
from training.report.markdown import spread, table
from training.trials import read_trials

__all__ = ["main"]

FOLDER = Path(__file__).parents[1]
MODELS = {
    "served": "**served: the pool**",
    "terms": "TF-IDF + logistic regression alone",
    "charcnn": "char-CNN alone",
}
Row = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    arguments = _arguments(argv)
    try:
        require("matplotlib")
    except MissingPackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    splits: list[Row] = json.loads(arguments.figures.read_text())
    card: Row = json.loads(arguments.card.read_text())
    trials = read_trials(arguments.networks)
    figures = arguments.figures.parent
    _draw(splits, trials, figures, arguments.out.parent / "results")
    page = _page(splits, card, trials, arguments.order.read_text())
    corpus = corpus_parts(figures, arguments.corpus_card)
    stops = [json.loads(path.read_text()) for path in sorted(figures.glob("early_stop_*.json"))]
    early = [EARLY_STOP, _early_stop_table(stops)] if stops else []
    arguments.out.write_text("\n\n".join([page.rstrip(), *corpus, *early]) + "\n")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser("training.report", __doc__)
    results, models = FOLDER / "results", FOLDER.parent / "models"
    options = (
        ("--figures", results / "oai5g.json", "figures of `python -m training.train`, in the folder of all other figures"),
        ("--card", models / "oai5g" / "card.json", "card of the bundle for the OpenAirInterface runs"),
        ("--corpus-card", models / "tm500" / "card.json", "card of the bundle for the TM500-style corpus"),
        ("--networks", results / "networks.jsonl", "trials of `python -m training.experiments.compare_networks`"),
        ("--order", results / "order.md", "tables of `python -m training.experiments.order`"),
        ("--out", FOLDER / "RESULTS.md", "Markdown file; pictures go to the folder `results` beside it"),
    )
    for name, default, text in options:
        shown = default.relative_to(FOLDER.parent)
        parser.add_argument(name, type=Path, default=default, metavar="FILE", help=f"{text} (default: {shown})")
    return parser.parse_args(argv)


def _draw(splits: Sequence[Row], trials: Sequence[Row], figures: Path, folder: Path) -> None:
    """Draws all pictures whose figures exist."""
    from training.report import pictures  # matplotlib

    folder.mkdir(exist_ok=True)
    pictures.draw_curves(splits[0], folder / "curves.png")
    pictures.draw_confusion(pictures.served_confusion(splits), folder / "confusion.png")
    pictures.draw_trials(trials, folder / "networks.png")
    of_corpus = figures / "tm500.json"
    if of_corpus.is_file():
        pictures.draw_confusion(pictures.served_confusion(json.loads(of_corpus.read_text())), folder / "tm500.png")
    if published := read_trials(figures / "paper.jsonl"):
        pictures.draw_published(published, folder / "paper.png")
        pictures.draw_confusion(pictures.published_confusion(published), folder / "paper_confusion.png")
        pictures.draw_contexts(published, folder / "contexts.png")


HEAD = """# Results

Written by `python -m training.report` from the figures in [results/](results). All scores are of held-out runs that went
through the serving pipeline. [LOG.md](LOG.md) is the log of the experiments behind them."""
CLASSIFIERS = """## Classifiers

Macro-F1 over labels with at least 20 held-out runs: mean ± standard deviation over the folds. The last column is the
difference to the pool on the same runs with its 95 % interval (paired bootstrap over groups of near-duplicates)."""
DETECTORS = """## Detectors

Pass or fail by the anomaly score alone. False alarms are passing runs that are called anomalous: those of all folds
together, and in brackets those of each fold. The threshold is set for a target rate of 2 %; the last column is the 95 %
interval of the rate that the detector of the first fold measured by cross-fitting on its training runs."""
ORDER = """### What the next-key network adds

Held-out passing runs of one split (seed 1; the settings were chosen with seed 0 in view) are changed only in the order of
their lines. The table shows the share that each detector calls anomalous, and the share with any surprise: a key or an end
that is not among the K likeliest."""
NETWORKS = """## Comparison of networks

Each trial is one training; the held-out runs of a split are the same for all trials. Settings were chosen by the validation
column. Held out by `injected_key` is the fold on which all models are worst (see LOG.md)."""
CURVES = """## Training curves of the bundle

Training and validation loss by epoch; a dot marks the epoch whose weights are served."""
EARLY_STOP = """## Early stop

Held-out runs are read line by line, all sources of a run at the same pace, and stopped once they are certain to fail
([docs/lab.md](../docs/lab.md#early-stop)). *First sign* is the share of a failing run after which the first term appears
that no passing run has. Medians are over all failing runs; there is none if fewer than half were stopped."""


def _page(splits: Sequence[Row], card: Row, trials: Sequence[Row], order: str) -> str:
    """The part of the page on the OpenAirInterface runs."""
    kinds = list(dict.fromkeys(row["kind"] for row in splits))
    losses = card["training"]["out_of_fold_log_loss"]
    parts = [
        HEAD,
        _shares(card),
        table(("classifier", "out-of-fold log-loss, nats a run"), [(name, f"{loss:.4f}") for name, loss in losses.items()]),
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


def _shares(card: Row) -> str:
    training = card["training"]
    precision = training["charcnn_precision"]
    shares = ", ".join(f"{name} {share:g}" for name, share in card["classifiers"].items())
    apart = f"{precision['median_difference']:g} in the median and by {precision['largest_difference']:g} at most"
    return f"""## Shares of the classifiers

Bundle `{card["name"]}` {card["version"]}, trained on {training["runs"]} runs ({training["split"]}). The shares in the label
scores were chosen by log-loss on runs that the models of each fold had not seen: {shares}; temperature
{card["temperature"]:g}. The line part of the char-CNN is served in {precision["served"]}: it predicts the same label as fp32
on {precision["same_labels"]:.1%} of its validation runs, and scores differ by {apart}."""


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
    return table(("split", "model", "macro-F1", "pool less this model"), rows)


def _detector_table(card: Row, splits: Sequence[Row]) -> str:
    rows = []
    for kind in dict.fromkeys(row["kind"] for row in splits):
        scores, tables = card["scores"][kind], [row["tables"] for row in splits if row["kind"] == kind]
        served = spread(scores["anomaly_auroc"]), _false_alarms([table["served"] for table in tables])
        interval = scores["false_alarms_in_interval"][0].partition("within ")[2]
        if "next_key" in scores["detectors"]:
            rows.append((f"`{kind}`", "**served: plain and LogGPT**", *served, interval))
            rows.append((f"`{kind}`", "plain detector alone", spread(scores["plain_detector_auroc"]), "", ""))
        else:
            rows.append((f"`{kind}`", "plain detector alone", *served, interval))
    return table(("split", "detector", "AUROC", "false alarms", "stated interval of their rate"), rows)


def _false_alarms(tables: Sequence[Row]) -> str:
    """False alarms of all folds together, their rate, and those of each fold."""
    counts = [tuple(map(int, table["false_alarms"].split(" passing")[0].split(" of "))) for table in tables]
    alarms, runs = sum(count for count, _ in counts), sum(count for _, count in counts)
    each = ", ".join(str(count) for count, _ in counts)
    return f"{alarms} of {runs}: {alarms / runs:.4f} ({each})"


def _trial_table(trials: Sequence[Row]) -> str:
    """One row for all seeds of a network on a split."""
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for trial in trials:
        groups.setdefault((trial["name"], trial["kind"], trial["split"]), []).append(trial)
    rows = [
        (
            name,
            f"`{kind}`, fold {split}",
            f"{some[0]['parameters']:,}",
            str(len(some)),
            spread(mean_and_spread([trial["validation_macro_f1"] for trial in some])),
            spread(mean_and_spread([trial["macro_f1"] for trial in some])),
            ", ".join(count for trial in some for count in trial["rare"].values()),
        )
        for (name, kind, split), some in groups.items()
    ]
    head = ("network", "held out", "parameters", "seeds", "validation", "held-out macro-F1", "L2 recognised")
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


if __name__ == "__main__":
    raise SystemExit(main())
