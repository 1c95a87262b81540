"""Shapes and settings of the char-CNN side by side: trained on the same runs, scored on the same held-out ones.

    python -m training.experiments.compare_networks --oai DATA/ran/oai_rfsim_runs.jsonl.xz [--out FILE]
    python -m training.experiments.compare_networks --logs DIR/runs --labels DIR/labels.csv --out FILE

One JSON object a trial is appended to the file as soon as the trial is done, and a trial that is in the file already is not
run again: the script may be interrupted and called anew. What was chosen was chosen by the validation columns. Of runs with
settled splits the served shape alone is trained, on each split.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import f1_score

from training.data import CorpusError, MaskedRuns, read_oai, read_settled
from training.evaluate import MIN_TEST_RUNS, label_figures
from training.fit.bundle import Corpus
from training.fit.charcnn import CharCNNSettings, FoldedRuns, fit_alphabet, fit_charcnn
from training.report.trials import append_trial, is_done

__all__ = ["Trial", "main", "trials"]

RESULTS = Path(__file__).parents[1] / "results" / "networks.jsonl"
LINES = CharCNNSettings(epochs=10)
# The plain shape takes several times as long to train.
PLAIN = replace(LINES, shape="plain", batch=16, epochs=4)


@dataclass(frozen=True)
class Trial:
    """One training; `name` is the row of the table that it belongs to."""

    name: str
    settings: CharCNNSettings
    kind: str
    split: int
    seed: int

    def identity(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "split": self.split,
            "seed": self.seed,
            "settings": asdict(self.settings),
        }


def trials() -> Iterator[Trial]:
    """The main pair first, so that an interrupted comparison is worth something."""
    both = (("template_hash", 0), ("injected_key", 2))
    for seed in range(3):
        yield from (Trial("lines", LINES, kind, split, seed) for kind, split in both)
    for seed in range(2):
        yield from (Trial("lines, not residual", replace(LINES, residual=False), kind, split, seed) for kind, split in both)
    for seed in range(3):
        yield Trial("plain", PLAIN, *both[0], seed)
    yield Trial("plain, not residual", replace(PLAIN, residual=False), *both[0], 0)
    for batch in (16, 64):
        yield Trial(f"lines, batch of {batch}", replace(LINES, batch=batch), *both[0], 0)


def trials_of_settled(kinds: Sequence[str]) -> Iterator[Trial]:
    """The shape that is served, in the better batch size, for each settled split."""
    yield from (Trial("lines, batch of 16", replace(LINES, batch=16), kind, 0, 0) for kind in kinds)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.experiments.compare_networks", description=(__doc__ or "").split("\n")[0]
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--oai", type=Path, help="oai_rfsim_runs.jsonl.xz")
    data.add_argument("--logs", type=Path, help="folder of logs, with --labels that settle splits")
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--passing-label", default="Pass")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--only", default="", help="only trials whose name begins so")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    try:
        corpus = _read(arguments)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    every = list(trials() if arguments.oai else trials_of_settled(corpus.group_kinds))
    wanted = [trial for trial in every if trial.name.startswith(arguments.only)]
    if not wanted:
        parser.error(f"no trial begins with {arguments.only!r}; there is {'; '.join(dict.fromkeys(t.name for t in every))}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for trial in wanted:
        if not is_done(arguments.out, trial.identity()):
            append_trial(arguments.out, trial.identity() | run(trial, corpus))
    return 0


def _read(arguments: argparse.Namespace) -> Corpus:
    if arguments.oai:
        runs = read_oai(arguments.oai)
    elif arguments.labels is None:
        raise CorpusError("--logs needs --labels")
    else:
        runs = read_settled(arguments.logs, arguments.labels)
    labels = tuple(sorted({run.label for run in runs}))
    kinds = tuple(runs[0].groups if arguments.oai else runs[0].parts)
    return Corpus(runs, MaskedRuns(runs), labels, arguments.passing_label, kinds)


def run(trial: Trial, corpus: Corpus) -> dict[str, Any]:
    """Figures of one training: validation decides, held out is only told."""
    masked, names = corpus.masked, list(corpus.labels)
    training, test = corpus.split(trial.kind, trial.split)
    folded = FoldedRuns(masked, fit_alphabet(masked, training.tolist()))
    started = time.perf_counter()
    fitted = fit_charcnn(
        folded,
        masked.labels,
        names,
        training.tolist(),
        corpus.groups(trial.kind, training),
        trial.seed,
        trial.settings,
        report=lambda number, epoch: print(trial.name, trial.kind, trial.seed, number, epoch, file=sys.stderr, flush=True),
    )
    seconds = time.perf_counter() - started
    truth = np.array([names.index(label) for label in masked.labels[test]])
    said = fitted.task.scores(test.tolist()).argmax(axis=1)
    counted = [i for i in range(len(names)) if (truth == i).sum() >= MIN_TEST_RUNS]
    rare = {
        names[i]: f"{int(((truth == i) & (said == i)).sum())} of {int((truth == i).sum())}"
        for i in range(len(names))
        if 0 < (truth == i).sum() < MIN_TEST_RUNS
    }
    return {
        "parameters": sum(weights.numel() for weights in fitted.task.network.parameters()),
        "training_runs": len(fitted.training),
        "best_epoch": fitted.curve.best,
        "epochs": [epoch._asdict() for epoch in fitted.curve.epochs],
        "seconds": round(seconds),
        "validation_macro_f1": round(fitted.curve.epochs[fitted.curve.best].validation["macro_f1"], 4),
        "macro_f1": round(float(f1_score(truth, said, labels=counted, average="macro", zero_division=0)), 4),
        "accuracy": round(float((truth == said).mean()), 4),
        "per_label": label_figures([names[i] for i in truth], [names[i] for i in said], names)["per_label"],
        "rare": rare,
    }


if __name__ == "__main__":
    raise SystemExit(main())
