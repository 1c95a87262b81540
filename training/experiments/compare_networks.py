"""Compares shapes and settings of the char-CNN, trained on the same runs and scored on the same held-out runs.

    python -m training.experiments.compare_networks --oai DATA/ran/oai_rfsim_runs.jsonl.xz [--out FILE]
    python -m training.experiments.compare_networks --logs DIR/runs --labels DIR/labels.csv --out FILE

Appends one JSON object for each trial to the file as soon as the trial is done, and skips trials that the file has already:
an interrupted comparison continues when it is called again. Settings are chosen by the validation figures; the held-out
figures only report. For runs with predefined splits only the served shape is trained, once for each split.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from training.arguments import add_corpus, add_out, add_passing_label, command_parser, finish
from training.data import CorpusError, MaskedRuns, read_oai, read_predefined
from training.evaluate import MIN_TEST_RUNS, label_figures
from training.fit.bundle import Corpus
from training.fit.folded import FoldedRuns, fit_alphabet
from training.fit.settings import CharCNNSettings
from training.packages import MissingPackageError, require
from training.trials import append_trial, is_done

__all__ = ["Trial", "main", "trials"]

RESULTS = Path(__file__).parents[1] / "results" / "networks.jsonl"
LINES = CharCNNSettings(epochs=10)
# The plain shape takes several times as long to train.
PLAIN = replace(LINES, shape="plain", batch=16, epochs=4)
# The grouping and seed of a split. `injected_key` is compared on the fold on which all models are worst.
BY_TEMPLATE = ("template_hash", 0)
BY_FAULT = ("injected_key", 2)


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        name: Row of the table that the trial belongs to.
        settings: Network and training.
        kind: Grouping or predefined split to hold out by.
        split: Seed of the split.
        seed: Seed of the training.
    """

    name: str
    settings: CharCNNSettings
    kind: str
    split: int
    seed: int

    def identity(self) -> dict[str, Any]:
        """What distinguishes the trial from all others, for its row in the file."""
        return {
            "name": self.name,
            "kind": self.kind,
            "split": self.split,
            "seed": self.seed,
            "settings": asdict(self.settings),
        }


def trials() -> Iterator[Trial]:
    """Trials on the OpenAirInterface runs, the most important first, so that an interrupted comparison is of use."""
    for seed in range(3):
        yield Trial("lines", LINES, *BY_TEMPLATE, seed)
        yield Trial("lines", LINES, *BY_FAULT, seed)
    for seed in range(2):
        yield Trial("lines, not residual", replace(LINES, residual=False), *BY_TEMPLATE, seed)
        yield Trial("lines, not residual", replace(LINES, residual=False), *BY_FAULT, seed)
    for seed in range(3):
        yield Trial("plain", PLAIN, *BY_TEMPLATE, seed)
    yield Trial("plain, not residual", replace(PLAIN, residual=False), *BY_TEMPLATE, 0)
    for batch in (16, 64):
        yield Trial(f"lines, batch of {batch}", replace(LINES, batch=batch), *BY_TEMPLATE, 0)


def trials_of_predefined(splits: Sequence[str]) -> Iterator[Trial]:
    """The served shape with the better batch size, once for each predefined split."""
    yield from (Trial("lines, batch of 16", replace(LINES, batch=16), split, 0, 0) for split in splits)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    parser = command_parser("training.experiments.compare_networks", __doc__)
    add_corpus(parser)
    add_passing_label(parser)
    add_out(parser, RESULTS, "JSON Lines file for the trials")
    parser.add_argument("--only", default="", metavar="NAME", help="run only trials whose name begins like this")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    arguments = finish(parser, argv)
    try:
        corpus = _read(arguments)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    every = list(trials() if arguments.oai else trials_of_predefined(corpus.group_kinds))
    wanted = [trial for trial in every if trial.name.startswith(arguments.only)]
    if not wanted:
        parser.error(f"no trial begins with {arguments.only!r}; there is {'; '.join(dict.fromkeys(t.name for t in every))}")
    try:
        require("torch")
    except MissingPackageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for trial in wanted:
        if not is_done(arguments.out, trial.identity()):
            append_trial(arguments.out, trial.identity() | run(trial, corpus, arguments.threads))
    return 0


def _read(arguments: argparse.Namespace) -> Corpus:
    runs = read_oai(arguments.oai) if arguments.oai else read_predefined(arguments.logs, arguments.labels)
    labels = tuple(sorted({run.label for run in runs}))
    kinds = tuple(runs[0].groups if arguments.oai else runs[0].parts)
    return Corpus(runs, MaskedRuns(runs), labels, arguments.passing_label, kinds)


def run(trial: Trial, corpus: Corpus, threads: int = 1) -> dict[str, Any]:
    """Trains one network and returns its figures on the validation and the held-out runs."""
    import torch

    from training.fit.charcnn import fit_charcnn

    torch.set_num_threads(threads)
    masked, names = corpus.masked, list(corpus.labels)
    training, test = corpus.split(trial.kind, trial.split)
    folded = FoldedRuns(masked, fit_alphabet(masked, training.tolist()))
    started = time.perf_counter()
    fitted = fit_charcnn(
        folded,
        names,
        training.tolist(),
        corpus.groups(trial.kind, training),
        trial.settings,
        seed=trial.seed,
        report=lambda number, epoch: print(trial.name, trial.kind, trial.seed, number, epoch, file=sys.stderr, flush=True),
    )
    seconds = time.perf_counter() - started
    true = np.array([names.index(label) for label in masked.labels[test]])
    predicted = fitted.task.scores(test.tolist()).argmax(axis=1)
    counted = [i for i in range(len(names)) if (true == i).sum() >= MIN_TEST_RUNS]
    rare = {
        names[i]: f"{int(((true == i) & (predicted == i)).sum())} of {int((true == i).sum())}"
        for i in range(len(names))
        if 0 < (true == i).sum() < MIN_TEST_RUNS
    }
    return {
        "parameters": sum(weights.numel() for weights in fitted.task.network.parameters()),
        "training_runs": len(fitted.training),
        "best_epoch": fitted.curve.best,
        "epochs": [epoch._asdict() for epoch in fitted.curve.epochs],
        "seconds": round(seconds),
        "validation_macro_f1": round(fitted.curve.epochs[fitted.curve.best].validation["macro_f1"], 4),
        "macro_f1": round(float(f1_score(true, predicted, labels=counted, average="macro", zero_division=0)), 4),
        "accuracy": round(float((true == predicted).mean()), 4),
        "per_label": label_figures([names[i] for i in true], [names[i] for i in predicted], names)["per_label"],
        "rare": rare,
    }


if __name__ == "__main__":
    raise SystemExit(main())
