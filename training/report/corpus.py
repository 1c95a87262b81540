"""Figures of the TM500-style corpus in, their part of RESULTS.md out; parts whose figures are not there are left out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluate import mean_and_spread
from training.report.markdown import spread, table
from training.report.trials import read_trials

__all__ = ["corpus_parts", "read_of"]

Row = Mapping[str, Any]
MODELS = {
    "served": "**served: the pool**",
    "terms": "TF-IDF (presence) + logistic regression alone",
    "procedures": "boosted trees on UE procedures alone",
    "charcnn": "char-CNN alone",
}

HEAD = """## TM500-style corpus

**Invented runs**: no line was written by a TM500 ([training/README.md](README.md#the-tm500-style-corpus)). Whoever wrote the
generator also wrote the stage that follows procedures, so its scores are optimistic for real logs; they say how models
compare. `easy` is a random split; the runs of the `hard` test part fail of causes, in scripts, that no training run had.
Both test parts have 978 runs; mean ± standard deviation of the seeds of the training."""
LABELS = """### By label

Of the served bundle's kind, first seed."""
CALIBRATION = """### Calibration and abstention"""
PAPER = """### The published networks

The residual CNN of Ihalage et al. and its variants, trained on a CPU for at most as many epochs as the row says (the paper:
200 on a GPU), patience 30. *context* is how many characters of a log's end are read, *distinct* that each line of it was
read once. Where a row has one seed, differences below .07 say little."""
DOCUMENTS = """### Document embeddings

One embedding a log, the mean over overlapping windows, and classifiers on top (Ihalage et al., Fig. 8)."""
EACH = """### All models by label

F1, and in brackets precision and recall. Micro-F1 is the accuracy: each run has one label. Of networks the first seed."""


def corpus_parts(results: Path, card: Path) -> list[str]:
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
                *({**row, "model": f"{_published_name(row)}, {read_of(row)}"} for row in trials if row["seed"] == 0),
            ]
        ),
    ]
    if found := _read(results / "reliability.json"):
        parts += [CALIBRATION, _reliability(found), "![Reliability diagram](results/reliability.png)", _missed(found)]
        parts += [_environment(found["environment"])]
    if found := _read(results / "preprocess.json"):
        parts += [_preprocessed(found), "![Lengths before and after cleaning](results/lengths.png)"]
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
        rest = (f"{first['accuracy']:.4f}", f"{first['expected_calibration_error']:.4f}")
        yield (f"`{split}`", MODELS["served"], "magnitude", spread(of_split["macro_f1"]), *rest)
        for name, words in MODELS.items():
            if f"{name}_alone_macro_f1" in of_split:
                yield (f"`{split}`", words, "magnitude", spread(of_split[f"{name}_alone_macro_f1"]), "", "")
        for row in baselines:
            if row["split"] == split:
                yield (f"`{split}`", row["model"], row["numbers"], f"{row['macro_f1']:.4f}", f"{row['accuracy']:.4f}", "")


def _by_label(scores: Row) -> str:
    rows = [
        (f"`{split}`", label, one["found"], f"{one['precision']:.3f}", f"{one['recall']:.3f}", f"{one['f1']:.3f}")
        for split, of_split in scores.items()
        for label, one in of_split["first_seed"]["per_label"].items()
    ]
    return table(("split", "label", "found", "precision", "recall", "F1"), rows)


def _reliability(found: Row) -> str:
    rest = found["error_rate_of_the_rest"]
    return (
        f"Test part of `{found['split']}`, bundle {found['bundle']}: expected calibration error "
        f"{found['expected_calibration_error']:.4f}. Verdicts below a confidence of {found['review_below_confidence']:g}, "
        f"and doubtful input, are marked for review: {found['needs_review_share']:.1%} of the runs. Of the others "
        f"{'none' if rest is None else f'{rest:.2%}'} are wrong (the limit was set for 1 % on training runs)."
    )


def _missed(found: Row) -> str:
    rows = [(f"`{cause}`", said, f"{count} of {of}") for cause, said, count, of in found["missed_causes"][:15]]
    return "Causes that are missed most:\n\n" + table(("cause", "said", "runs"), rows)


def _preprocessed(found: Row) -> str:
    low, high = found["fences"]["low"], found["fences"]["high"]
    return f"""### Pre-processing

Of {sum(row["runs"] for row in found["table"].values())} runs {found["kept"]} are kept: Tukey's fences lie at {low:,.0f} and
{high:,.0f} characters of cleaned text, {found["cleaned_below_50000"]:.1%} of the logs are below 50,000 (the paper says
nearly 95 %).
The served bundle is trained on all runs."""


def _each_label(rows: Sequence[Row]) -> str:
    labels = sorted(rows[0]["per_label"]) if rows else []
    told = [
        (
            f"`{row['split']}`",
            row["model"] + (f", {row['numbers']}" if row.get("numbers") else ""),
            f"{row['accuracy']:.4f}",
            f"{row['macro_f1']:.4f}",
            *(_label_cell(row["per_label"][label]) for label in labels),
        )
        for row in sorted(rows, key=lambda row: str(row["split"]))
    ]
    return table(("split", "model", "micro-F1", "macro-F1", *labels), told)


def _label_cell(figures: Row) -> str:
    return f"{figures['f1']:.3f} ({figures['precision']:.2f}, {figures['recall']:.2f})"


def _environment(found: Row) -> str:
    """Of the runs that failed by the test bed, as the bundle's rules tell it."""
    return (
        f"Of the test runs {found['runs']} failed by the test bed (licence, data server, set-up, crash of the tester). The "
        f"rules of the bundle say `cause: environment` of {found['told']} runs, and are right with {found['right']} of them."
    )


def _documents(rows: Sequence[Row]) -> str:
    told = [
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
    return table(("split", "model", "tokens of a window", "runs", "macro-F1", "accuracy"), told)


def read_of(trial: Row) -> str:
    """Which characters of a log the network reads."""
    return f"{trial['context']:,}" + (", distinct" if trial["distinct"] else "")


def _published_name(trial: Row) -> str:
    """The row's name without the context, which has a column of its own."""
    name = trial["name"]
    return "CNN" if name.startswith("CNN, context") else name


def _trials(trials: Sequence[Row]) -> str:
    """Seeds of one setting in one row."""
    settings = ("split", "name", "context", "distinct", "epochs_at_most", "learning_rate")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for trial in sorted(trials, key=lambda t: (t["split"], not t["distinct"], _published_name(t), t["context"])):
        groups.setdefault(tuple(trial[name] for name in settings), []).append(trial)
    rows = [
        (
            f"`{split}`",
            _published_name(some[0]),
            read_of(some[0]),
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
