"""Trains the published networks and their variants on a predefined split and scores them side by side.

    python -m training.paper.compare --logs DIR/runs --labels DIR/labels.csv --split hard [--only NAME] [--epochs 20]

Variants: the residual CNN with and without the seq2seq embedding, BiLSTM + CNN, fewer layers, no residuals, other contexts.
Appends one JSON object for each trial to --out as soon as the trial is done, and skips trials that the file has already;
networks continue from their last epoch in --checkpoints. The validation part of the split stops a training; the test part
only reports. Learning rate 1e-4, at most 200 epochs, patience 30 and class weights are as published (section V).

--rate and --epochs make trainings shorter. --distinct leaves repeated lines out: a quarter of the text, and a few points of
macro-F1 less (training/LOG.md, 2026-11-29). The rows of the file say which options were used.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.arguments import add_logs, add_out, add_tracking, command_parser
from training.data import PARTS, CorpusError, LabelledRun, read_predefined
from training.evaluate import label_figures
from training.networks.curve import Epoch
from training.packages import MissingPackageError, require
from training.paper.characters import Characters, load_embedding, save_embedding
from training.paper.config import PaperCNNConfig, Seq2SeqConfig
from training.paper.preprocess import block_lengths, clean
from training.tracking import TrackingError, tracking
from training.trials import append_trial, is_done

__all__ = ["Texts", "Trial", "main", "trials"]

RESULTS = Path(__file__).parents[1] / "results" / "paper.jsonl"
CONTEXT = 50_000
# Contexts of Fig. 6, beside the one of all other trials.
CONTEXTS = (1_000, 5_000, 10_000, 20_000, 100_000, 200_000)
# Section V.
PATIENCE = 30
EPOCHS = 200
LEARNING_RATE = 1e-4
# Length of a sequence for the seq2seq model where no log has a message block.
BLOCK_LENGTH = 100


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        name: Row of the table that the trial belongs to.
        seed: Seed of weights and batches.
        context: Characters of a log's end that are read.
        embedded: Whether the embedding comes from the seq2seq model.
        network: Values of `PaperCNNConfig` that differ from the defaults.
    """

    name: str
    seed: int = 0
    context: int = CONTEXT
    embedded: bool = True
    network: Mapping[str, Any] = field(default_factory=dict)


def trials(context: int = CONTEXT) -> Iterator[Trial]:
    """All trials, the most important first, so that an interrupted comparison is of use."""
    cnn = Trial("CNN", context=context)
    yield cnn
    yield replace(cnn, name="CNN, random embedding", embedded=False)
    yield replace(cnn, name="BiLSTM + CNN", network={"bilstm": True})
    yield replace(cnn, name="CNN, not residual", network={"residual": False})
    for layers in (1, 2, 3):
        yield replace(cnn, name=f"CNN, {layers} conv layer{'s' * (layers > 1)}", network={"layers": layers})
    for other in CONTEXTS:
        yield replace(cnn, name=f"CNN, context {other}", context=other)
    for seed in range(1, 5):
        yield replace(cnn, seed=seed)
        yield replace(cnn, name="CNN, random embedding", embedded=False, seed=seed)


class Texts:
    """Cleaned logs of a corpus, encoded by the characters of its training part.

    Attributes:
        labels: All labels, sorted.
        targets: Label number of each run.
        training: Indexes of the training runs; `validation` and `test` are those of the other parts.
        characters: Characters of the training part.
        block_length: Median length of a message block of the training part, in characters (l_s in section III-A).
        logs: Encoded log of each run.
    """

    def __init__(self, runs: Sequence[LabelledRun], split: str, distinct: bool = False) -> None:
        """Cleans and encodes all logs; with `distinct` each line of a log is kept once, where it comes first."""
        self.labels = sorted({run.label for run in runs})
        self.targets = np.array([self.labels.index(run.label) for run in runs])
        self.training, self.validation, self.test = (
            [i for i, run in enumerate(runs) if run.parts[split] == name] for name in PARTS
        )
        texts = ["\n".join(clean(data) for _, data in sorted(run.sources.items())) for run in runs]
        if distinct:
            texts = ["\n".join(dict.fromkeys(text.split("\n"))) for text in texts]
        self.characters = Characters.of([texts[i] for i in self.training])
        lengths = [length for i in self.training for length in block_lengths(texts[i])]
        self.block_length = int(np.median(lengths)) if lengths else BLOCK_LENGTH
        self.logs = [self.characters.encode(text) for text in texts]

    def joined(self, runs: Sequence[int]) -> NDArray[np.uint8]:
        """The logs of some runs as one text."""
        return np.concatenate([self.logs[i] for i in runs])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 2 for an error that the user can mend."""
    arguments = _arguments(argv)
    try:
        runs = read_predefined(arguments.logs, arguments.labels, [arguments.split])
        require("torch")
        _compare(Texts(runs, arguments.split, arguments.distinct), arguments)
    except (CorpusError, MissingPackageError, TrackingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser("training.paper.compare", __doc__)
    add_logs(parser)
    parser.add_argument(
        "--split", required=True, metavar="NAME", help="predefined split with a train, a validation and a test part"
    )
    add_out(parser, RESULTS, "JSON Lines file for the trials")
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=Path(".cache/training/paper"),
        metavar="FOLDER",
        help="where networks are saved after each epoch (default: %(default)s)",
    )
    parser.add_argument("--only", default="", metavar="NAME", help="run only the trials of this name")
    parser.add_argument("--seeds", type=int, default=5, help="run only seeds below this number (default: %(default)s)")
    parser.add_argument(
        "--context",
        type=int,
        default=CONTEXT,
        help="characters of a log's end to read, for trials that do not set it themselves (default: %(default)s)",
    )
    parser.add_argument("--distinct", action="store_true", help="read each line of a log once: a quarter of the time")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs at most (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=LEARNING_RATE, help="learning rate (default: %(default)s)")
    parser.add_argument(
        "--seq2seq-epochs", type=int, default=10, help="epochs of the seq2seq model at most (default: %(default)s)"
    )
    parser.add_argument(
        "--pool",
        type=int,
        default=PaperCNNConfig(1, 1).pool,
        help="characters whose maximum is taken after the first layer, 1 as published (default: %(default)s)",
    )
    add_tracking(parser)
    parser.add_argument("--threads", type=int, help="threads of torch (default: all cores)")
    arguments = parser.parse_args(argv)
    names = dict.fromkeys(trial.name for trial in trials())
    if arguments.only not in ("", *names):
        parser.error(f"no trial is called {arguments.only!r}; there is {'; '.join(names)}")
    try:
        PaperCNNConfig(1, 1, pool=arguments.pool)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _compare(texts: Texts, arguments: argparse.Namespace) -> None:
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for trial in trials(arguments.context):
        identity = _identity(arguments, trial)
        if arguments.only in ("", trial.name) and trial.seed < arguments.seeds and not is_done(arguments.out, identity):
            row = identity | _run(trial, texts, arguments)
            append_trial(arguments.out, row)
            _track(arguments.track, row)


def _track(uri: str | None, row: Mapping[str, Any]) -> None:
    """Logs one MLflow run for a trial: its settings, its curve by epoch, and the figures of the test part."""
    with tracking(uri, "stream-triage-paper") as tracker:
        tracker.parameters({name: row[name] for name in row if name not in ("epochs", "per_label", "confusion", "labels")})
        for number, epoch in enumerate(row["epochs"]):
            validation = {f"validation_{name}": value for name, value in epoch["validation"].items()}
            tracker.metrics({"training_loss": epoch["training_loss"], **validation}, step=number)
        tracker.metrics({"macro_f1": row["macro_f1"], "accuracy": row["accuracy"]})


def _identity(arguments: argparse.Namespace, trial: Trial) -> dict[str, Any]:
    """What distinguishes the trial from all others, for its row in the file and its checkpoint."""
    settings = {
        "epochs_at_most": arguments.epochs,
        "learning_rate": arguments.rate,
        "pool": arguments.pool,
        "distinct": arguments.distinct,
    }
    return {"split": arguments.split, **settings, **asdict(trial)}


def _run(trial: Trial, texts: Texts, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains one network and returns its figures on the test part."""
    from training.networks.loop import LoopSettings, fit
    from training.paper.cnn_task import PaperCNNTask

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
    name = f"{arguments.split}-{trial.name}-{trial.context}-{trial.seed}".replace(" ", "_").replace(",", "")
    started = time.perf_counter()
    curve = fit(
        task,
        LoopSettings(epochs=arguments.epochs, learning_rate=arguments.rate, patience=PATIENCE, seed=trial.seed),
        checkpoint=arguments.checkpoints / f"{name}.pt",
        about=_identity(arguments, trial),
        report=_report(f"{trial.name} {trial.seed}"),
    )
    names = np.array(texts.labels)
    true, predicted = names[texts.targets[texts.test]], names[task.scores(texts.test).argmax(axis=1)]
    return {
        "parameters": sum(weights.numel() for weights in task.network.parameters()),
        "seconds": round(time.perf_counter() - started),
        "best_epoch": curve.best,
        "epochs": [epoch._asdict() for epoch in curve.epochs],
        **label_figures(true.tolist(), predicted.tolist(), texts.labels),
    }


def _embedding(texts: Texts, arguments: argparse.Namespace) -> NDArray[np.float32]:
    """The embedding of the seq2seq model, which is trained once for each split and shared by all trials."""
    from training.networks.loop import LoopSettings, fit
    from training.paper.seq2seq import Seq2SeqTask

    path = arguments.checkpoints / f"seq2seq-{arguments.split}.npz"
    if not path.exists():
        config = Seq2SeqConfig(len(texts.characters))
        task = Seq2SeqTask(texts.joined(texts.training), texts.joined(texts.validation), config, length=texts.block_length)
        fit(
            task,
            LoopSettings(epochs=arguments.seq2seq_epochs, learning_rate=1e-3, patience=3),
            checkpoint=path.with_suffix(".pt"),
            about={"length": texts.block_length, "characters": texts.characters.characters},
            report=_report("seq2seq"),
        )
        save_embedding(path, texts.characters, task.network.weights())
    return load_embedding(path, texts.characters)


def _report(name: str) -> Callable[[int, Epoch], None]:
    return lambda number, epoch: print(name, number, epoch, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
