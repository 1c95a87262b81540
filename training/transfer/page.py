"""Figures of `python -m training.transfer_benchmark` in, a Markdown page out."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from training.report.markdown import table
from training.resampling import RESAMPLES
from training.transfer.measures import BINS, COVERAGES, LEVEL
from training.transfer.sets import SERVED, TFIDF

__all__ = ["page"]

FEW_GROUPS: Final = 5
Row = Mapping[str, Any]

HEAD = """# Transfer

Written by `python -m training.transfer_benchmark`. How well models judge runs that differ from those they were trained on:
other causes, other words, other habits, another generator. No model has seen the runs that it is tested on, except where a
note below the table of test sets says so. All verdicts went through the serving pipeline.

**The TM500-style runs are invented**, both versions of the corpus ([README.md](README.md)). No line of them was written by a
TM500. The figures show how far models generalise from one part of the corpus to another; they do not say how well a model
does on a farm's own logs."""
INTERVALS = f"""In brackets: the {100 * LEVEL:.0f} % interval, from {RESAMPLES:,} resamples of whole groups. Runs of one
group are alike, so the number of groups says more about the uncertainty than the number of runs. Where a share of the runs
is 0 or 1, the interval is that of as many independent observations as there are groups."""
SETS = """## Test sets

*Served* is what each set is judged by: bundles without networks that were fitted to other runs, or the bundle that was
given. Where several bundles are named, each was fitted without a share of the groups and judged the runs of that share. The
baselines learn from the same runs as a fitted bundle; beside the given bundle, from all invented runs."""
BASELINES = """## Macro-F1

The *commonest label* is that of the training runs, given to every run. The *keyword rule* (`training/keyword_rule.py`) names
the layer in the last line with an error word. *TF-IDF + logistic regression* counts masked words and pairs of words. The
last column is macro-F1 of the served bundle less that of TF-IDF, on the same resamples."""
ACCURACY = "## Accuracy"
DOUBT = f"""## Doubt

A run is decided if its verdict needs no review. *Decided and wrong* is a share of all runs: these are the errors that nobody
looks for. Macro-F1 among the decided is over the labels that enough decided runs have; a dash stands where there are none.
ECE is the expected calibration error of the probability of the label, in {BINS} bins. It tends to be larger in resamples
than on the runs themselves, so its interval is a cautious one and may lie above the figure."""
COVERAGE = """## Error by coverage

Share of wrong labels if only the most confident runs are kept: a fifth of all runs, two fifths, and so on. The last
column is the error on all runs. The confidence of a model is worth something if its errors are rare on the left."""


def page(results: Row) -> str:
    """The whole page.

    Args:
        results: What the command writes as JSON: `sets`, `bundle`, `every`, `minutes` and `notes`.
    """
    sets: Sequence[Row] = results["sets"]
    parts = [
        HEAD,
        *_about(results),
        _winners(sets),
        SETS,
        _sets(sets),
        *_notes(sets),
        BASELINES,
        INTERVALS,
        _models(sets, "macro_f1", with_difference=True),
        *results["notes"],
        ACCURACY,
        _models(sets, "accuracy", with_difference=False),
        DOUBT,
        _doubt(sets),
        COVERAGE,
        _coverage(sets),
    ]
    return "\n\n".join(parts) + "\n"


def _about(results: Row) -> Iterator[str]:
    bundle = results["bundle"]
    yield (
        f"Given bundle: `{bundle['name']}` {bundle['version']}, trained on {bundle['runs']:,} runs ({bundle['source']}). "
        f"The command took {results['minutes']:.0f} minutes on {results['cores']} cores."
    )
    if results["every"] > 1:
        yield f"**A quick trial with one in {results['every']} runs.** Its figures are not to be compared with others."


def _winners(sets: Sequence[Row]) -> str:
    """A sentence for each set and figure in which a baseline is as good as what is served, or one that there is none."""
    lost = [line for one in sets for figure in ("macro_f1", "accuracy") if (line := _lost(one, figure))]
    if not lost:
        return "No baseline reaches the macro-F1 or the accuracy of the served models on any of these sets."
    return "**Where a baseline is at least as good as what is served:**\n\n" + "\n".join(f"- {line}" for line in lost)


def _lost(one: Row, figure: str) -> str:
    """The simplest baseline that reaches the served figure, in a sentence; empty if none does."""
    served = one["models"][SERVED][figure]["value"]
    name = "macro-F1" if figure == "macro_f1" else figure
    for model, figures in one["models"].items():
        value = figures[figure]["value"]
        if model != SERVED and value is not None and served is not None and value >= served:
            return f"{one['name']}: {_named(model)} has {name} {value:.3f}, the served bundle {served:.3f}."
    return ""


def _named(model: str) -> str:
    """The model with an article, where it needs one."""
    return model if model == TFIDF else f"the {model}"


def _sets(sets: Sequence[Row]) -> str:
    rows = [
        (
            one["name"],
            one["judged_by"],
            f"{one['runs']:,}",
            ", ".join(f"{label} {count}" for label, count in one["labels"].items()),
            str(one["groups"]),
            one["grouped_by"],
        )
        for one in sets
    ]
    return table(("set", "served", "test runs", "labels", "groups", "grouped by"), rows)


def _notes(sets: Sequence[Row]) -> Iterator[str]:
    """What a reader of the figures must know of single sets."""
    lines = [f"- {one['name']}: {note}" for one in sets for note in one["notes"]]
    for one in sets:
        if omitted := [label for label in one["labels"] if label not in one["counted"]]:
            lines.append(
                f"- {one['name']}: macro-F1 leaves out {', '.join(omitted)}, which fewer than {one['min_runs']} runs have."
            )
        if one["groups"] == 1:
            lines.append(f"- {one['name']}: all runs are of one group, so nothing can be said about others.")
        elif one["groups"] < FEW_GROUPS:
            lines.append(
                f"- {one['name']}: with {one['groups']} groups, the intervals show little more than how these groups differ."
            )
    if lines:
        yield "\n".join(lines)


def _models(sets: Sequence[Row], figure: str, *, with_difference: bool) -> str:
    models = list(sets[0]["models"]) if sets else []
    rows = [
        (
            one["name"],
            *(_interval(one["models"][model][figure]) for model in models),
            *([_interval(one["less_tfidf"], sign="+")] if with_difference else []),
        )
        for one in sets
    ]
    return table(("set", *models, *(["served less TF-IDF"] if with_difference else [])), rows)


def _doubt(sets: Sequence[Row]) -> str:
    names = ("decided", "decided_and_wrong", "macro_f1_of_decided", "ece")
    rows = [
        (
            one["name"],
            *(_interval(one["models"][SERVED][name]) for name in names),
            _interval(one["models"][TFIDF]["ece"]),
        )
        for one in sets
    ]
    head = ("set", "decided", "decided and wrong", "macro-F1 among the decided", "ECE", "ECE of TF-IDF")
    return table(head, rows)


def _coverage(sets: Sequence[Row]) -> str:
    rows = [
        (one["name"], model, *(f"{one['models'][model]['error_at_coverage'][str(share)]:.3f}" for share in COVERAGES))
        for one in sets
        for model in (SERVED, TFIDF)
    ]
    return table(("set", "model", *(f"{share} %" for share in COVERAGES)), rows)


def _interval(figure: Row, sign: str = "") -> str:
    """A figure with its interval; a dash if it cannot be computed."""
    if figure["value"] is None:
        return "–"
    value, low, high = (f"{figure[name]:{sign}.3f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"
