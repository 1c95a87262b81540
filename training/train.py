"""Labelled runs in, a model bundle with its card out.

    python -m training.train --oai data/ran/oai_rfsim_runs.jsonl.xz --out models/oai5g
    python -m training.train --logs my/logs --labels my/labels.csv --out models/mine

The steps, in order: read the runs, hold a fifth out, fit every part of a bundle on the rest (fit/bundle.py), score the
held-out runs through the serving pipeline, repeat with other seeds and groupings for the spread, write bundle and card.
`--figures` also writes what training.report makes tables and pictures from. A training that was interrupted is called
again: networks go on from the last epoch in `--checkpoints`.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

import numpy as np

from stream_triage.bundle import Bundle, replaceable_files, write_bundle
from stream_triage.errors import StreamTriageError
from stream_triage.settings import Settings, load_settings
from stream_triage.stages.normalise import Numbers
from stream_triage.stages.redact import Redactor
from stream_triage.stages.rules import Rules
from training.data import CorpusError, LabelledRun, MaskedRuns, read_folder, read_oai
from training.evaluate import MIN_TEST_RUNS, HeldOut, Scores, judge, mean_and_spread, paired_bootstrap, scores_of
from training.fit.bundle import BundleSettings, Corpus, alone, classifiers_in, fit_bundle
from training.splits import FOLDS
from training.tracking import Tracker, TrackingError, tracking

if TYPE_CHECKING:
    from training.networks.loop import Curve

__all__ = ["main"]

# One group of each label is held out; the rest is cross-fitted. The bundle's own split needs as many as there are folds.
MIN_GROUPS_PER_LABEL = FOLDS
OAI_SOURCE = (
    "OpenAirInterface 5G on the RF simulator with injected configuration faults: "
    "johnson-penguin/Telco-Co-Pilot-SFT-Data-Generation-Training, EvanZJ/oai-error-configuration"
)
SERVED: Final = "served"
TERMS: Final = "terms"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    try:
        replaceable_files(arguments.out)  # refuses a folder of something else before time is spent
        settings = load_settings(arguments.config)
        redactor = Redactor.from_settings(settings.redaction)
        with tracking(arguments.track, "stream-triage") as tracker:
            train(arguments, settings, redactor, tracker)
    except (CorpusError, TrackingError, StreamTriageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=(__doc__ or "").split("\n")[0])
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--oai", type=Path, help="oai_rfsim_runs.jsonl.xz")
    data.add_argument("--logs", type=Path, help="folder of logs, with --labels")
    parser.add_argument("--labels", type=Path, help="CSV file with the columns run,label and perhaps group")
    parser.add_argument("--passing-label", default="Pass")
    parser.add_argument("--config", type=Path, help="settings file (TOML), the one that `stream-triage run` will use")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; its name is the bundle's name")
    parser.add_argument("--version", default="1", help="version of the bundle")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split that the bundle is made from")
    parser.add_argument("--seeds", type=int, default=5, help="splits scored for mean and spread, the bundle's included")
    parser.add_argument("--models", choices=("all", "baseline"), default="all", help="baseline: no networks, no torch")
    parser.add_argument(
        "--numbers",
        choices=get_args(Numbers),
        default="magnitude",
        help="what masking tells of a number: its power of ten, nothing, or more of the kinds whose value decides",
    )
    parser.add_argument("--rules", type=Path, help="rules file (TOML) that the bundle will carry")
    parser.add_argument("--source", default="own logs", help="where the runs are from, for the card")
    parser.add_argument("--checkpoints", type=Path, help="where networks are kept after each epoch", metavar="DIR")
    parser.add_argument("--figures", type=Path, help="JSON file for curves, confusion matrices and comparisons")
    parser.add_argument("--jobs", type=int, default=1, help="splits worked on at once, one thread each")
    parser.add_argument("--track", metavar="URI", nargs="?", const="sqlite:///mlflow.db", help="log to MLflow")
    arguments = parser.parse_args(argv)
    if arguments.logs and not arguments.labels:
        parser.error("--logs needs --labels")
    if arguments.seed < 0 or arguments.seeds < 1 or arguments.jobs < 1:
        parser.error("--seed counts from 0, --seeds and --jobs from 1")
    if arguments.models == "all" and find_spec("torch") is None:
        parser.error("networks need torch; run `make setup-training` in a checkout, or use --models baseline")
    return arguments


class Split(NamedTuple):
    """One kind of groups and one seed: a fifth of the runs is held out, the same fifth each time."""

    kind: str
    seed: int


class Outcome(NamedTuple):
    """What came of one split: its bundle, and the scores of the served bundle and of its parts alone."""

    bundle: Bundle
    scores: dict[str, Scores]
    held_out: HeldOut
    curves: "dict[str, Curve]"


def train(arguments: argparse.Namespace, settings: Settings, redactor: Redactor, tracker: Tracker) -> Bundle:
    corpus = _read(arguments, settings, redactor)
    tracker.parameters({"runs": len(corpus.runs), "seed": arguments.seed, "labels": ",".join(corpus.labels)})
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    splits = [Split(kind, seed) for kind in corpus.group_kinds for seed in seeds]
    outcomes = dict(zip(splits, _work(corpus, splits, arguments), strict=True))
    scores = {}
    for kind in corpus.group_kinds:
        of_kind = {split.seed: outcome for split, outcome in outcomes.items() if split.kind == kind}
        scores[kind] = _summary(list(of_kind.values()))
        for seed, outcome in of_kind.items():
            told = outcome.scores[SERVED]
            tracker.metrics({f"{kind}/macro_f1": told.macro_f1, f"{kind}/auroc": told.anomaly_auroc}, step=seed)
    if arguments.figures:
        _write_figures(arguments.figures, outcomes, corpus.labels)
    bundle = outcomes[splits[0]].bundle
    card = bundle.card.model_copy(update={"scores": scores})
    return write_bundle(arguments.out, card, {name: bundle.data(name) for name in card.files})


_worked_on: dict[str, Any] = {}
"""Corpus and arguments, for the processes that are forked to share them."""


def _work(corpus: Corpus, splits: Sequence[Split], arguments: argparse.Namespace) -> list[Outcome]:
    _worked_on.update(corpus=corpus, arguments=arguments)
    if arguments.jobs == 1:
        return [_one(split) for split in splits]
    # Forked, since the corpus is large and only read; each process has one thread.
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("fork")) as processes:
        return list(processes.map(_one, splits))


def _one(split: Split) -> Outcome:
    corpus, arguments = _worked_on["corpus"], _worked_on["arguments"]
    outcome = fit_and_score(corpus, split, _bundle_settings(arguments, split))
    _say(f"{split.kind}, seed {split.seed}: {_told(outcome.scores)}")
    return outcome


def _bundle_settings(arguments: argparse.Namespace, split: Split) -> BundleSettings:
    where = f"{split.kind}, seed {split.seed}"
    return BundleSettings(
        name=arguments.out.resolve().name,
        version=arguments.version,
        models=arguments.models,
        # It learns from passing runs alone, whose kinds a split by fault leaves as they are: one kind of split is enough.
        next_key=split.kind == _worked_on["corpus"].group_kinds[0],
        rules=arguments.rules,
        checkpoints=arguments.checkpoints and arguments.checkpoints / f"{split.kind}-{split.seed}",
        say=lambda text: _say(f"{where}: {text}"),
    )


def fit_and_score(corpus: Corpus, split: Split, settings: BundleSettings) -> Outcome:
    """A bundle from the training part of one split, and its scores on the held-out part."""
    training, test = corpus.split(split.kind, split.seed)
    bundle, curves = fit_bundle(corpus, training, split.kind, split.seed, settings)
    held_out = [corpus.runs[i] for i in test.tolist()]
    bundles = {SERVED: bundle}
    fitted = classifiers_in(bundle)
    if len(fitted) > 1:
        bundles |= {name: alone(bundle, name) for name in fitted}
    scores, said = {}, {}
    for name, one in bundles.items():
        verdicts = judge(one, held_out, corpus.masked.redactor, corpus.masked.line_bytes)
        scores[name] = scores_of(held_out, verdicts, corpus.passing_label, one)
        said[name] = [verdict.label for verdict in verdicts]
    truth = [run.label for run in held_out]
    return Outcome(bundle, scores, HeldOut(truth, corpus.groups(split.kind, test), said), curves)


def _read(arguments: argparse.Namespace, settings: Settings, redactor: Redactor) -> Corpus:
    runs = read_oai(arguments.oai) if arguments.oai else read_folder(arguments.logs, arguments.labels, settings.input)
    kinds = ("template_hash", "injected_key") if arguments.oai else tuple(runs[0].parts) or ("group",)
    counts = Counter(run.label for run in runs)
    if arguments.passing_label not in counts:
        raise CorpusError(f"no run has the passing label {arguments.passing_label!r}; name yours with --passing-label")
    if len(counts) < 2:
        raise CorpusError("all runs have one label; a classifier needs at least one more")
    _refuse_rare_labels(runs, kinds[0])
    _say(f"{len(runs)} runs: " + ", ".join(f"{label} {count}" for label, count in sorted(counts.items())))
    started = time.perf_counter()
    masked = MaskedRuns(runs, redactor, settings.input.line_bytes, arguments.numbers)
    _say(f"{len(masked.lines)} distinct masked lines in {time.perf_counter() - started:.0f} s")
    others = sorted(set(counts) - {arguments.passing_label})
    if arguments.rules:
        Rules.read(arguments.rules).check_labels(counts)  # before any training time is spent
    source = OAI_SOURCE if arguments.oai else arguments.source
    return Corpus(runs, masked, (arguments.passing_label, *others), arguments.passing_label, kinds, source)


def _refuse_rare_labels(runs: Sequence[LabelledRun], kind: str) -> None:
    groups = Counter(label for label, _ in {(run.label, run.groups[kind]) for run in runs})
    rarest = min(sorted(groups), key=lambda label: groups[label])
    if groups[rarest] < MIN_GROUPS_PER_LABEL:
        count = groups[rarest]
        raise CorpusError(
            f"label {rarest!r} has {count} run{'s' if count > 1 else ''}, near copies counted once; training needs "
            f"{MIN_GROUPS_PER_LABEL} of each label: add runs or leave the label out"
        )


def _summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Of all seeds of one kind of groups, for the card."""

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
    beside = {}
    for model in outcomes[0].scores:
        if model != SERVED:
            beside[f"{model}_alone_macro_f1"] = over_seeds(model, "macro_f1")
            beside[f"served_less_{model}_alone"] = paired_bootstrap(
                [outcome.held_out for outcome in outcomes], SERVED, model
            )
    if TERMS in outcomes[0].scores:
        # Its false alarms would need a threshold of its own; training/experiments/order.py has both side by side.
        beside["plain_detector_auroc"] = over_seeds(TERMS, "anomaly_auroc")
    shares = [outcome.bundle.card.classifiers for outcome in outcomes]
    return {**served, **beside, "classifiers": shares, "first_seed": outcomes[0].scores[SERVED].table}


def _write_figures(path: Path, outcomes: dict[Split, Outcome], labels: Sequence[str]) -> None:
    rows = [
        {
            "kind": split.kind,
            "seed": split.seed,
            "labels": list(labels),
            "confusion": {model: outcome.held_out.confusion(model, labels) for model in outcome.held_out.said},
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


def _told(scores: dict[str, Scores]) -> str:
    served = scores[SERVED]
    if np.isnan(served.macro_f1):
        return (
            f"accuracy {served.table['accuracy']:.4f}; no label has {MIN_TEST_RUNS} held-out runs, so there is no macro-F1"
        )
    beside = "".join(f", {name} alone {scores[name].macro_f1:.4f}" for name in scores if name != SERVED)
    return f"macro-F1 {served.macro_f1:.4f}{beside} (keyword rule {served.keyword_macro_f1:.4f})"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
