"""The part of RESULTS.md on the TM500-style corpus. Sections whose figures do not exist are left out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluate import mean_and_spread
from training.report.markdown import spread, table
from training.trials import read_trials

__all__ = ["characters_read", "corpus_parts"]

Row = Mapping[str, Any]
_OF_LABEL = ("precision", "recall", "f1")
MODELS = {
    "served": "**served: the pool**",
    "terms": "TF-IDF (presence) + logistic regression alone",
    "procedures": "boosted trees on UE procedures alone",
    "charcnn": "char-CNN alone",
}

HEAD = """## TM500-style corpus

**The runs are invented**: no line was written by a TM500 ([training/README.md](README.md#the-tm500-style-corpus)). The
generators and the stage that follows procedures were written together, so the scores are optimistic for real logs; they show
how models compare. Training has both versions of the corpus. The split `vocabulary` holds out two vocabularies of version 2,
and all test runs of version 1; its bundle is the one that ships. `causes` holds out causes and scripts of both. `easy` and
`hard` are those of version 1, 978 test runs each, with all of version 2 in the training part; the baselines of these two
splits learn from version 1 alone. Figures are the mean ± standard deviation over the seeds of the training."""
LABELS = """### By label

Served pool, first seed."""
CALIBRATION = """### Calibration and abstention"""
PAPER = """### The published networks

The residual CNN of Ihalage et al. and its variants, trained on a CPU for at most the number of epochs in the row (in the
paper: 200, on a GPU), with patience 30. *Context* is the number of characters that are read from the end of a log; with
*distinct* each line of the log was read once. Between rows of a single seed, differences below .07 mean little."""
DOCUMENTS = """### Document embeddings

One embedding for each log, the mean over overlapping windows, with classifiers on top (Ihalage et al., Fig. 8)."""
EACH = """### All models by label

F1, and in brackets precision and recall. Micro-F1 is the accuracy, since each run has one label. Networks are shown with
their first seed."""


def corpus_parts(results: Path, card: Path) -> list[str]:
    """All sections, from the figures in the folder `results` and the card of the bundle; none if there is no card."""
    if not card.is_file():
        return []
    scores: Row = json.loads(card.read_text())["scores"]
    baselines: Sequence[Row] = _read(results / "baselines.json") or ()
    documents: Sequence[Row] = _read(results / "document_embeddings.json") or ()
    networks = [
        {**row, "model": "char-CNN of the shape that `oai5g` serves", "split": row["kind"], "numbers": "magnitude"}
        for row in read_trials(results / "tm500_networks.jsonl")
    ]
    trials = read_trials(results / "paper.jsonl")
    head = ("split", "model", "numbers", "macro-F1", "accuracy", "ECE")
    parts = [HEAD, table(head, _models(scores, [*baselines, *networks]))]
    parts += [LABELS, _by_label(scores)]
    if (results / "tm500.json").is_file():
        parts += ["![Confusion matrices of the served pool, all seeds together](results/tm500.png)"]
    parts += [
        EACH,
        _each_label(
            [
                *baselines,
                *networks,
                *({**row, "model": f"{row['encoder']}, {row['model']}"} for row in documents),
                *({**row, "model": f"{_published_name(row)}, {characters_read(row)}"} for row in trials if row["seed"] == 0),
            ]
        ),
    ]
    if figures := _read(results / "reliability.json"):
        parts += [CALIBRATION, _reliability(figures), "![Reliability diagram](results/reliability.png)", _missed(figures)]
        parts += [_environment(figures["environment"])]
    if figures := _read(results / "preprocess.json"):
        parts += [_preprocessed(figures), "![Lengths before and after cleaning](results/lengths.png)"]
        parts += ["![Box plot of cleaned lengths](results/boxplot.png)"]
    if trials:
        parts += [PAPER, _trials(trials)]
        parts += ["![Validation loss by epoch](results/paper.png)"]
        parts += ["![Macro-F1 by context](results/contexts.png)"]
        parts += ["![Confusion matrices of the published networks](results/paper_confusion.png)"]
    if documents:
        parts += [DOCUMENTS, _documents(documents)]
    return parts


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None


def _models(scores: Row, baselines: Sequence[Row]) -> Iterable[Sequence[str]]:
    for split, of_split in scores.items():
        first = of_split["first_seed"]
        of_first = (f"{first['accuracy']:.4f}", f"{first['expected_calibration_error']:.4f}")
        yield (f"`{split}`", MODELS["served"], "magnitude", spread(of_split["macro_f1"]), *of_first)
        for name, words in MODELS.items():
            if f"{name}_alone_macro_f1" in of_split:
                yield (f"`{split}`", words, "magnitude", spread(of_split[f"{name}_alone_macro_f1"]), "", "")
        for row in baselines:
            if row["split"] == split:
                yield (f"`{split}`", row["model"], row["numbers"], f"{row['macro_f1']:.4f}", f"{row['accuracy']:.4f}", "")


def _by_label(scores: Row) -> str:
    rows = [
        # Verdicts may be `unknown`, which no run is.
        (f"`{split}`", label, one["found"], *(f"{one[name]:.3f}" if name in one else "-" for name in _OF_LABEL))
        for split, of_split in scores.items()
        for label, one in of_split["first_seed"]["per_label"].items()
    ]
    return table(("split", "label", "recognised", "precision", "recall", "F1"), rows)


def _reliability(figures: Row) -> str:
    wrong = figures["error_rate_of_decided"]
    return (
        f"Test part of `{figures['split']}`, bundle {figures['bundle']}: expected calibration error "
        f"{figures['expected_calibration_error']:.4f}. Verdicts with a confidence below "
        f"{figures['review_below_confidence']:g}, and those on doubtful input, are marked for review: "
        f"{figures['needs_review_share']:.1%} of the runs. Of the other verdicts "
        f"{'none' if wrong is None else f'{wrong:.2%}'} are wrong. The limit was set so that at most 1 % of all training "
        "runs are decided wrongly."
    )


def _missed(figures: Row) -> str:
    rows = [(f"`{cause}`", label, f"{count} of {of}") for cause, label, count, of in figures["missed_causes"][:15]]
    return "Causes that are missed most often:\n\n" + table(("cause", "predicted", "runs"), rows)


def _preprocessed(figures: Row) -> str:
    low, high = figures["fences"]["low"], figures["fences"]["high"]
    return f"""### Pre-processing

Of {sum(row["runs"] for row in figures["table"].values())} runs {figures["kept"]} are kept. Tukey's fences are at
{low:,.0f} and {high:,.0f} characters of cleaned text; {figures["cleaned_below_50000"]:.1%} of the logs are below 50,000 (the
paper says nearly 95 %). The served bundle is trained on all runs."""


def _each_label(rows: Sequence[Row]) -> str:
    """One row for each model, with a column for each label."""
    labels = sorted(rows[0]["per_label"]) if rows else []
    cells = [
        (
            f"`{row['split']}`",
            row["model"] + (f", {row['numbers']}" if row.get("numbers") else ""),
            f"{row['accuracy']:.4f}",
            f"{row['macro_f1']:.4f}",
            *(_label_cell(row["per_label"][label]) for label in labels),
        )
        for row in sorted(rows, key=lambda row: str(row["split"]))
    ]
    return table(("split", "model", "micro-F1", "macro-F1", *labels), cells)


def _label_cell(figures: Row) -> str:
    return f"{figures['f1']:.3f} ({figures['precision']:.2f}, {figures['recall']:.2f})"


def _environment(figures: Row) -> str:
    """How well the rules of the bundle recognise failures of the test environment."""
    return (
        f"{figures['runs']} of the test runs failed because of the test environment (licence, data server, set-up, crash of "
        f"the tester). The rules of the bundle give {figures['predicted']} runs `cause: environment`, {figures['right']} of "
        "them rightly."
    )


def _documents(rows: Sequence[Row]) -> str:
    cells = [
        (
            f"`{row['split']}`",
            f"{row['encoder']}, {row['model']}",
            str(row["context"]),
            f"{row['runs']:,}",
            f"{row['macro_f1']:.4f}",
            f"{row['accuracy']:.4f}",
        )
        for row in rows
    ]
    return table(("split", "model", "tokens in a window", "runs", "macro-F1", "accuracy"), cells)


def characters_read(trial: Row) -> str:
    """Which characters of a log the network of a trial reads, for a table."""
    return f"{trial['context']:,}" + (", distinct" if trial["distinct"] else "")


def _published_name(trial: Row) -> str:
    """Name of the network without its context, which has a column of its own."""
    name = trial["name"]
    return "CNN" if name.startswith("CNN, context") else name


def _trials(trials: Sequence[Row]) -> str:
    """One row for all seeds of one setting."""
    settings = ("split", "name", "context", "distinct", "epochs_at_most", "learning_rate")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for trial in sorted(trials, key=lambda t: (t["split"], not t["distinct"], _published_name(t), t["context"])):
        groups.setdefault(tuple(trial[name] for name in settings), []).append(trial)
    rows = [
        (
            f"`{split}`",
            _published_name(some[0]),
            characters_read(some[0]),
            f"{some[0]['parameters']:,}",
            f"{epochs} at {rate:g}",
            str(len(some)),
            spread(mean_and_spread([trial["macro_f1"] for trial in some])),
            spread(mean_and_spread([trial["accuracy"] for trial in some])),
            f"{sum(trial['seconds'] for trial in some) / len(some) / 60:.0f}",
        )
        for (split, _, _, _, epochs, rate), some in groups.items()
    ]
    head = ("split", "network", "context", "parameters", "epochs", "seeds", "macro-F1", "accuracy", "minutes a seed")
    return table(head, rows)
