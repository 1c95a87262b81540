"""The published networks side by side: residual CNN with and without the seq2seq embedding, BiLSTM + CNN, depth, context.

    python -m training.paper.compare --logs DIR/runs --labels DIR/labels.csv --split hard [--only NAME] [--epochs 20]

One JSON object a trial is appended to `--out` as soon as the trial is done, and a trial that is in the file already is not
run again; networks go on from the last epoch in `--checkpoints`. The validation part of the split stops a training, the test
part is only told. Learning rate 1e-4, at most 200 epochs, patience 30 and class weights as published (Ihalage et al.,
section V). `--rate` and `--epochs` make it shorter, and `--distinct` leaves repeated lines out: a quarter of the text, and
a few points of macro-F1 less (LOG.md, 2026-11-29); the file says so.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import CorpusError, LabelledRun, read_settled
from training.evaluate import label_figures
from training.networks.loop import LoopSettings, fit
from training.paper.cnn import PaperCNNConfig, PaperCNNTask
from training.paper.preprocess import block_lengths, clean
from training.paper.seq2seq import Characters, Seq2SeqConfig, Seq2SeqTask, load_embedding, save_embedding
from training.report.trials import append_trial, is_done
from training.tracking import TrackingError, tracking

__all__ = ["Texts", "Trial", "main", "trials"]

RESULTS = Path(__file__).parents[1] / "results" / "paper.jsonl"
PATIENCE = 30
CONTEXTS = (1_000, 5_000, 10_000, 20_000, 100_000, 200_000)


@dataclass(frozen=True)
class Trial:
    """One training; `name` is the row of the table that it belongs to."""

    name: str
    seed: int = 0
    context: int = 50_000
    embedded: bool = True
    network: Mapping[str, Any] = field(default_factory=dict)


def trials(context: int = 50_000) -> Iterator[Trial]:
    """The main pair first, so that an interrupted comparison is worth something."""
    cnn = Trial("CNN", context=context)
    yield cnn
    yield replace(cnn, name="CNN, random embedding", embedded=False)
    yield replace(cnn, name="BiLSTM + CNN", network={"bilstm": True})
    yield replace(cnn, name="CNN, not residual", network={"residual": False})
    for layers in (1, 2, 3):
        yield replace(cnn, name=f"CNN, {layers} conv layer{'s' * (layers > 1)}", network={"layers": layers})
    for context in CONTEXTS:
        yield replace(cnn, name=f"CNN, context {context}", context=context)
    for seed in range(1, 5):
        yield replace(cnn, seed=seed)
        yield replace(cnn, name="CNN, random embedding", embedded=False, seed=seed)


class Texts:
    """Cleaned logs of a corpus, encoded by the characters of its training part."""

    def __init__(self, runs: Sequence[LabelledRun], split: str, distinct: bool = False) -> None:
        """With `distinct` each line of a log comes once, where it came first."""
        self.labels = sorted({run.label for run in runs})
        self.targets = np.array([self.labels.index(run.label) for run in runs])
        part = {
            name: [i for i, run in enumerate(runs) if run.parts[split] == name] for name in ("train", "validation", "test")
        }
        self.training, self.validation, self.test = part["train"], part["validation"], part["test"]
        texts = ["\n".join(clean(data) for _, data in sorted(run.sources.items())) for run in runs]
        if distinct:
            texts = ["\n".join(dict.fromkeys(text.split("\n"))) for text in texts]
        self.characters = Characters.of([texts[i] for i in self.training])
        lengths = [length for i in self.training for length in block_lengths(texts[i])]
        self.block_length = int(np.median(lengths)) if lengths else 100
        self.logs = [self.characters.encode(text) for text in texts]

    def joined(self, runs: Sequence[int]) -> NDArray[np.uint8]:
        return np.concatenate([self.logs[i] for i in runs])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.paper.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--logs", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--split", required=True, help="a settled split with train, validation and test part")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--checkpoints", type=Path, default=Path(".cache/training/paper"))
    parser.add_argument("--only", default="", help="only the trials of this name")
    parser.add_argument("--seeds", type=int, default=5, help="seeds below this number")
    parser.add_argument(
        "--context", type=int, default=50_000, help="characters of a log's end, where the trial does not say"
    )
    parser.add_argument("--distinct", action="store_true", help="each line of a log once: a quarter of the time")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate")
    parser.add_argument("--seq2seq-epochs", type=int, default=10)
    parser.add_argument("--pool", type=int, default=PaperCNNConfig(1, 1).pool)
    parser.add_argument("--track", metavar="URI", nargs="?", const="sqlite:///mlflow.db", help="log to MLflow")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    names = dict.fromkeys(trial.name for trial in trials())
    if arguments.only not in ("", *names):
        parser.error(f"no trial is called {arguments.only!r}; there is {'; '.join(names)}")
    try:
        PaperCNNConfig(1, 1, pool=arguments.pool)
    except ValueError as error:
        parser.error(str(error))
    try:
        runs = read_settled(arguments.logs, arguments.labels, [arguments.split])
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    texts = Texts(runs, arguments.split, arguments.distinct)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for trial in trials(arguments.context):
        identity = _identity(arguments, trial)
        if arguments.only in ("", trial.name) and trial.seed < arguments.seeds and not is_done(arguments.out, identity):
            row = identity | _run(trial, texts, arguments)
            append_trial(arguments.out, row)
            try:
                _track(arguments.track, row)
            except TrackingError as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
    return 0


def _track(uri: str | None, row: dict[str, Any]) -> None:
    """One MLflow run a trial: settings, the curve by epoch, the figures of the test part."""
    with tracking(uri, "stream-triage-paper") as tracker:
        tracker.parameters({name: row[name] for name in row if name not in ("epochs", "per_label", "confusion", "labels")})
        for number, epoch in enumerate(row["epochs"]):
            told = {f"validation_{name}": value for name, value in epoch["validation"].items()}
            tracker.metrics({"training_loss": epoch["training_loss"], **told}, step=number)
        tracker.metrics({"macro_f1": row["macro_f1"], "accuracy": row["accuracy"]})


def _identity(arguments: argparse.Namespace, trial: Trial) -> dict[str, Any]:
    settings = {
        "epochs_at_most": arguments.epochs,
        "learning_rate": arguments.rate,
        "pool": arguments.pool,
        "distinct": arguments.distinct,
    }
    return {"split": arguments.split, **settings, **asdict(trial)}


def _run(trial: Trial, texts: Texts, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of one training on the test part."""
    embedding = _embedding(texts, arguments) if trial.embedded else None
    config = PaperCNNConfig(len(texts.characters), len(texts.labels), **{"pool": arguments.pool, **trial.network})
    task = PaperCNNTask(
        texts.logs,
        texts.targets,
        texts.training,
        texts.validation,
        config,
        context=trial.context,
        seed=trial.seed,
        embedding=embedding,
    )
    identity = _identity(arguments, trial)
    name = f"{arguments.split}-{trial.name}-{trial.context}-{trial.seed}".replace(" ", "_").replace(",", "")
    started = time.perf_counter()
    curve = fit(
        task,
        LoopSettings(epochs=arguments.epochs, learning_rate=arguments.rate, patience=PATIENCE, seed=trial.seed),
        checkpoint=arguments.checkpoints / f"{name}.pt",
        about=identity,
        report=lambda number, epoch: print(trial.name, trial.seed, number, epoch, file=sys.stderr, flush=True),
    )
    names = np.array(texts.labels)
    truth, said = names[texts.targets[texts.test]], names[task.scores(texts.test).argmax(axis=1)]
    return {
        "parameters": sum(weights.numel() for weights in task.network.parameters()),
        "seconds": round(time.perf_counter() - started),
        "best_epoch": curve.best,
        "epochs": [epoch._asdict() for epoch in curve.epochs],
        **label_figures(truth.tolist(), said.tolist(), texts.labels),
    }


def _embedding(texts: Texts, arguments: argparse.Namespace) -> NDArray[np.float32]:
    """The seq2seq model's, trained once for each split; the seeds of the trials share it."""
    path = arguments.checkpoints / f"seq2seq-{arguments.split}.npz"
    if not path.exists():
        config = Seq2SeqConfig(len(texts.characters))
        task = Seq2SeqTask(texts.joined(texts.training), texts.joined(texts.validation), config, length=texts.block_length)
        fit(
            task,
            LoopSettings(epochs=arguments.seq2seq_epochs, learning_rate=1e-3, patience=3),
            checkpoint=path.with_suffix(".pt"),
            about={"length": texts.block_length, "characters": texts.characters.characters},
            report=lambda number, epoch: print("seq2seq", number, epoch, file=sys.stderr, flush=True),
        )
        save_embedding(path, texts.characters, task.network)
    return load_embedding(path, texts.characters)


if __name__ == "__main__":
    raise SystemExit(main())
