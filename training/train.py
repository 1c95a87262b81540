"""Trains a model bundle from labelled runs and writes it with its scores.

    python -m training.train --oai data/ran/oai_rfsim_runs.jsonl.xz --out models/oai5g
    python -m training.train --logs my/logs --labels my/labels.csv --out models/mine

Steps: read the runs; hold out a fifth of them; fit every part of a bundle to the others; score the held-out runs through the
serving pipeline; repeat with other seeds and groupings for the spread of the scores; write the bundle and its card.
--figures also writes what `python -m training.report` makes tables and pictures from. If a training was interrupted, run the
same command again: networks continue from their last epoch in --checkpoints.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from stream_triage.bundle import Bundle, replaceable_files, write_bundle
from stream_triage.dialects import Dialects, DialectTable, dialect_files, load_dialects
from stream_triage.errors import StreamTriageError
from stream_triage.settings import Settings, load_settings
from stream_triage.stages.normalise import Numbers
from stream_triage.stages.redact import Redactor
from stream_triage.stages.rules import Rules
from training.arguments import add_corpus, add_passing_label, add_tracking, command_parser, finish
from training.data import CorpusError, LabelledRun, MaskedRuns, read_folder, read_oai
from training.evaluate import MIN_TEST_RUNS, HeldOut, Scores, judge, mean_and_spread, paired_bootstrap, scores_of
from training.fit.bundle import Corpus, alone, classifiers_in, fit_bundle
from training.fit.settings import BundleSettings
from training.lines import LineReader
from training.networks.curve import Curve
from training.packages import MissingPackageError, require
from training.splits import FOLDS
from training.tracking import Tracker, TrackingError, tracking

__all__ = ["Outcome", "Split", "fit_and_score", "main", "summary", "train", "write_figures"]

# One group of each label is held out and the others are cross-fitted, so the bundle's own split needs one group a fold.
MIN_GROUPS_PER_LABEL = FOLDS
OAI_SOURCE = (
    "OpenAirInterface 5G on the RF simulator with injected configuration faults: "
    "johnson-penguin/Telco-Co-Pilot-SFT-Data-Generation-Training, EvanZJ/oai-error-configuration"
)
# Names of the models in scores: the whole bundle, and the term classifier alone.
SERVED: Final = "served"
TERMS: Final = "terms"


class Split(NamedTuple):
    """One grouping and one seed: a fifth of the runs is held out, the same fifth each time."""

    kind: str
    seed: int


class Outcome(NamedTuple):
    """Result of one split.

    Attributes:
        bundle: The bundle that was fitted to its training part.
        scores: Scores of the served bundle and of each of its classifiers alone, by model name.
        held_out: The held-out runs with the labels that each model predicts.
        curves: Training curves of the networks, by name.
    """

    bundle: Bundle
    scores: dict[str, Scores]
    held_out: HeldOut
    curves: dict[str, Curve]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    arguments = _arguments(argv)
    try:
        replaceable_files(arguments.out)  # rejects a folder with other files before time is spent
        if arguments.models == "all":
            require("torch", "transformers", "onnx")
        settings = load_settings(arguments.config)
        redactor = Redactor.from_settings(settings.redaction)
        with tracking(arguments.track, "stream-triage") as tracker:
            train(arguments, settings, redactor, tracker)
    except (CorpusError, MissingPackageError, TrackingError, StreamTriageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser("training.train", __doc__)
    add_corpus(parser)
    add_passing_label(parser)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (TOML), the one that `stream-triage run` will use"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder of the bundle; its name is the name of the bundle"
    )
    parser.add_argument("--version", default="1", help="version of the bundle (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split that the bundle is made from (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="number of splits to score, the bundle's own included (default: %(default)s)"
    )
    parser.add_argument(
        "--models",
        choices=("all", "baseline"),
        default="all",
        help="baseline trains no networks: faster, and without torch (default: %(default)s)",
    )
    parser.add_argument(
        "--numbers",
        choices=get_args(Numbers),
        default="magnitude",
        help="what masking keeps of a number: its power of ten, nothing, or also the values of some kinds of numbers "
        "(default: %(default)s)",
    )
    parser.add_argument("--rules", type=Path, metavar="FILE", help="rules file (TOML) that the bundle will carry")
    parser.add_argument("--source", default="own logs", help="where the runs are from, for the card (default: %(default)s)")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="FOLDER", help="where networks are saved after each epoch, to be continued"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="FILE", help="JSON file for curves, confusion matrices and scores of all splits"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="splits to work on at once, with one thread each (default: %(default)s)"
    )
    add_tracking(parser)
    arguments = finish(parser, argv)
    if arguments.seed < 0 or arguments.seeds < 1 or arguments.jobs < 1:
        parser.error("--seed must be 0 or more, --seeds and --jobs must be 1 or more")
    return arguments


def train(arguments: argparse.Namespace, settings: Settings, redactor: Redactor, tracker: Tracker) -> Bundle:
    """Fits and scores all splits and writes the bundle of the first one.

    Raises:
        CorpusError: The runs cannot be used for training.
        StreamTriageError: The rules file or the output folder is not usable.
    """
    dialects = load_dialects(dialect_files(settings.dialects, arguments.out))
    corpus = _read(arguments, settings, LineReader(redactor, settings.input.line_bytes, Dialects(dialects)))
    tracker.parameters({"runs": len(corpus.runs), "seed": arguments.seed, "labels": ",".join(corpus.labels)})
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    splits = [Split(kind, seed) for kind in corpus.group_kinds for seed in seeds]
    outcomes = dict(zip(splits, _fit_all(corpus, splits, arguments, dialects), strict=True))
    scores = {}
    for kind in corpus.group_kinds:
        of_kind = {split.seed: outcome for split, outcome in outcomes.items() if split.kind == kind}
        scores[kind] = summary(list(of_kind.values()))
        for seed, outcome in of_kind.items():
            served = outcome.scores[SERVED]
            tracker.metrics({f"{kind}/macro_f1": served.macro_f1, f"{kind}/auroc": served.anomaly_auroc}, step=seed)
    if arguments.figures:
        write_figures(arguments.figures, outcomes, corpus.labels)
    bundle = outcomes[splits[0]].bundle
    card = bundle.card.model_copy(update={"scores": scores})
    return write_bundle(arguments.out, card, {name: bundle.data(name) for name in card.files})


_shared: dict[str, Any] = {}
"""Corpus, arguments and dialects, for the forked processes."""


def _fit_all(
    corpus: Corpus, splits: Sequence[Split], arguments: argparse.Namespace, dialects: tuple[DialectTable, ...]
) -> list[Outcome]:
    _shared.update(corpus=corpus, arguments=arguments, dialects=dialects)
    if arguments.jobs == 1:
        return [_fit_one(split) for split in splits]
    # Forked processes share the corpus, which is large and only read.
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("fork"), initializer=use_one_thread) as processes:
        return list(processes.map(_fit_one, splits))


def use_one_thread() -> None:
    """Limits this process to one thread for linear algebra, so that parallel trainings do not compete for the cores.

    The environment variable alone comes too late for numpy, which is loaded already; torch is loaded later and reads it.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)


def _fit_one(split: Split) -> Outcome:
    corpus, arguments = _shared["corpus"], _shared["arguments"]
    outcome = fit_and_score(corpus, split, _bundle_settings(arguments, split))
    _report(f"{split.kind}, seed {split.seed}: {_line_of_scores(outcome.scores)}")
    return outcome


def _bundle_settings(arguments: argparse.Namespace, split: Split) -> BundleSettings:
    name = f"{split.kind}, seed {split.seed}"
    return BundleSettings(
        name=arguments.out.resolve().name,
        version=arguments.version,
        models=arguments.models,
        # The next-key network learns from passing runs alone, and a split by fault does not change which kinds of these
        # there are: one kind of split is enough.
        next_key=split.kind == _shared["corpus"].group_kinds[0],
        rules=arguments.rules,
        dialects=_shared["dialects"],
        checkpoints=arguments.checkpoints and arguments.checkpoints / f"{split.kind}-{split.seed}",
        report=lambda text: _report(f"{name}: {text}"),
    )


def fit_and_score(corpus: Corpus, split: Split, settings: BundleSettings) -> Outcome:
    """Fits a bundle to the training part of a split and scores it, and each of its classifiers alone, on the test part."""
    training, test = corpus.split(split.kind, split.seed)
    bundle, curves = fit_bundle(corpus, training, split.kind, split.seed, settings)
    held_out = [corpus.runs[i] for i in test.tolist()]
    bundles = {SERVED: bundle}
    fitted = classifiers_in(bundle)
    if len(fitted) > 1:
        bundles |= {name: alone(bundle, name) for name in fitted}
    scores, predicted = {}, {}
    for name, one in bundles.items():
        verdicts = judge(one, held_out, corpus.masked.reader.redactor, corpus.masked.reader.line_bytes, settings.dialects)
        scores[name] = scores_of(held_out, verdicts, corpus.passing_label, one)
        predicted[name] = [verdict.label for verdict in verdicts]
    true = [run.label for run in held_out]
    return Outcome(bundle, scores, HeldOut(true, corpus.groups(split.kind, test), predicted), curves)


def _read(arguments: argparse.Namespace, settings: Settings, reader: LineReader) -> Corpus:
    """Reads and masks the corpus. Everything that can make it unusable is checked here, before training time is spent."""
    runs = read_oai(arguments.oai) if arguments.oai else read_folder(arguments.logs, arguments.labels, settings.input)
    kinds = ("template_hash", "injected_key") if arguments.oai else tuple(runs[0].parts) or ("group",)
    counts = Counter(run.label for run in runs)
    if arguments.passing_label not in counts:
        raise CorpusError(f"no run has the passing label {arguments.passing_label!r}; name yours with --passing-label")
    if len(counts) < 2:
        raise CorpusError("all runs have one label; a classifier needs at least one more")
    _check_rare_labels(runs, kinds[0])
    _report(f"{len(runs)} runs: " + ", ".join(f"{label} {count}" for label, count in sorted(counts.items())))
    started = time.perf_counter()
    masked = MaskedRuns(runs, reader, arguments.numbers)
    _report(f"{len(masked.lines)} distinct masked lines in {time.perf_counter() - started:.0f} s")
    others = sorted(set(counts) - {arguments.passing_label})
    if arguments.rules:
        Rules.read(arguments.rules).check_labels(counts)
    source = OAI_SOURCE if arguments.oai else arguments.source
    return Corpus(runs, masked, (arguments.passing_label, *others), arguments.passing_label, kinds, source)


def _check_rare_labels(runs: Sequence[LabelledRun], kind: str) -> None:
    groups = Counter(label for label, _ in {(run.label, run.groups[kind]) for run in runs})
    rarest = min(sorted(groups), key=lambda label: groups[label])
    if groups[rarest] < MIN_GROUPS_PER_LABEL:
        count = groups[rarest]
        raise CorpusError(
            f"label {rarest!r} has {count} run{'s' if count > 1 else ''}, near-duplicates counted once; training needs "
            f"{MIN_GROUPS_PER_LABEL} of each label: add runs or leave the label out"
        )


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Scores of all seeds of one kind of split, in the form of the card."""

    def over_seeds(model: str, figure: str) -> dict[str, Any]:
        return mean_and_spread([getattr(outcome.scores[model], figure) for outcome in outcomes])

    served = {
        "detectors": outcomes[0].bundle.card.detectors,
        "macro_f1": over_seeds(SERVED, "macro_f1"),
        "keyword_rule_macro_f1": over_seeds(SERVED, "keyword_macro_f1"),
        "anomaly_auroc": over_seeds(SERVED, "anomaly_auroc"),
        "false_alarm_rate": over_seeds(SERVED, "false_alarm_rate"),
        "false_alarms_in_interval": [outcome.scores[SERVED].table["false_alarms_in_interval"] for outcome in outcomes],
    }
    parts = {}
    for model in outcomes[0].scores:
        if model != SERVED:
            parts[f"{model}_alone_macro_f1"] = over_seeds(model, "macro_f1")
            parts[f"served_less_{model}_alone"] = paired_bootstrap([outcome.held_out for outcome in outcomes], SERVED, model)
    if TERMS in outcomes[0].scores:
        # The false alarms of the plain detector would need a threshold of its own; experiments/order.py compares them.
        parts["plain_detector_auroc"] = over_seeds(TERMS, "anomaly_auroc")
    shares = [outcome.bundle.card.classifiers for outcome in outcomes]
    return {**served, **parts, "classifiers": shares, "first_seed": outcomes[0].scores[SERVED].table}


def write_figures(path: Path, outcomes: Mapping[Split, Outcome], labels: Sequence[str]) -> None:
    """Writes a JSON list with an object for each split, for `python -m training.report`."""
    rows = [
        {
            "kind": split.kind,
            "seed": split.seed,
            "labels": list(labels),
            "confusion": {model: outcome.held_out.confusion(model, labels) for model in outcome.held_out.predicted},
            "tables": {model: score.table for model, score in outcome.scores.items()},
            "card": {
                "classifiers": outcome.bundle.card.classifiers,
                "temperature": outcome.bundle.card.temperature,
                "training": outcome.bundle.card.training,
            },
            "curves": {
                name: {"best": curve.best, "epochs": [epoch._asdict() for epoch in curve.epochs]}
                for name, curve in outcome.curves.items()
            },
        }
        for split, outcome in outcomes.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


def _line_of_scores(scores: Mapping[str, Scores]) -> str:
    served = scores[SERVED]
    if np.isnan(served.macro_f1):
        return (
            f"accuracy {served.table['accuracy']:.4f}; no label has {MIN_TEST_RUNS} held-out runs, so there is no macro-F1"
        )
    others = "".join(f", {name} alone {scores[name].macro_f1:.4f}" for name in scores if name != SERVED)
    return f"macro-F1 {served.macro_f1:.4f}{others} (keyword rule {served.keyword_macro_f1:.4f})"


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
