"""The training loop of all networks: a task in, its network with the weights of the best epoch and a training curve out.

AdamW with warm-up and cosine decay, clipped gradients, early stopping on the validation loss. After each epoch everything
that is needed to continue is written to a checkpoint, so that an interrupted training loses one epoch at most.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks.curve import Curve, Epoch

__all__ = ["LoopSettings", "Task", "class_weights", "device", "fit"]

# Gradients are scaled down to this norm: a single odd batch must not undo what was learned.
GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class LoopSettings:
    """How a network is trained.

    Attributes:
        epochs: Epochs at most; the schedule of the learning rate is laid out for this number.
        learning_rate: Highest learning rate, reached after the warm-up.
        patience: Epochs without a better validation loss that end the training.
        weight_decay: Of the weight matrices; see `_groups`.
        warm_up_share: Share of all steps in which the learning rate rises.
        seed: Seed of batches and dropout.
    """

    epochs: int
    learning_rate: float
    patience: int
    weight_decay: float = 0.01
    warm_up_share: float = 0.05
    seed: int = 0


class Task(Protocol):
    """What is trained: a network, its batches and its loss, and figures on runs that it does not learn from."""

    @property
    def network(self) -> nn.Module:
        """The network, which is trained in place."""

    def batches(self, rng: np.random.Generator) -> Iterable[Any]:
        """The batches of one epoch, in an order drawn from `rng`."""

    def steps(self) -> int:
        """The number of batches in an epoch, the same for all epochs."""

    def loss(self, batch: Any) -> Tensor:
        """The loss of one batch, a scalar with a gradient."""

    def validate(self) -> Mapping[str, float]:
        """Figures on the validation part; `loss` decides which epoch is the best."""


class _Training(NamedTuple):
    """What changes in each step, and is saved and loaded together."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler


def class_weights(targets: NDArray[np.intp], labels: int, power: float = 1.0) -> Tensor:
    """Weight of each label in the loss, shape (labels,).

    With power 1 the runs of a rare label weigh as much together as those of a common one, with power 0 each run weighs the
    same. A label that is not among the targets weighs nothing.
    """
    counts = np.bincount(targets, minlength=labels)
    # scikit-learn's "balanced" weights, to a power. With power 1 a label of a dozen runs in
    # thousands gets a weight of about 50, and single runs of it decide whole steps.
    weights = (len(targets) / np.maximum(counts, 1) / labels) ** power
    return torch.tensor(weights * (counts > 0), dtype=torch.float32)


def device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    task: Task,
    settings: LoopSettings,
    *,
    checkpoint: Path | None = None,
    about: Mapping[str, Any] | None = None,
    report: Callable[[int, Epoch], None] | None = None,
) -> Curve:
    """Trains `task.network` in place and leaves it, in evaluation mode, with the weights of its best epoch.

    Args:
        task: What to train.
        settings: How to train it.
        checkpoint: File that is written after each epoch. At the start the training continues from it if it was written
            with the same settings and the same `about`; otherwise the training starts anew and overwrites it.
        about: Identifies the training, for example by a fingerprint of its data and the sizes of its network.
        report: Called with the number, from 0, and the figures of each epoch.
    """
    network = task.network
    # AdamW instead of the Adam of Ihalage et al. (section V): its decoupled decay takes the place of their L2
    # regularisation (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019).
    optimiser = torch.optim.AdamW(_groups(network, settings.weight_decay), lr=settings.learning_rate)
    training = _Training(network, optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, _factor(settings, task.steps())))
    # Checkpoints of other settings or data must not be continued: their epochs would be mixed with those of this training.
    identity = hashlib.sha256(json.dumps([asdict(settings), about or {}], sort_keys=True, default=str).encode()).hexdigest()
    epochs, best_weights = _resumed(checkpoint, identity, training)
    # A resumed training may be finished or stalled already; then only its best weights are loaded.
    while len(epochs) < settings.epochs and not _stalled(epochs, settings.patience):
        number, started = len(epochs), time.perf_counter()
        # Each epoch has seeds of its own, so that a continued training draws what an uninterrupted one would have drawn.
        torch.manual_seed(settings.seed * 10_007 + number)
        training_loss = _train(task, training, np.random.default_rng((settings.seed, number)))
        seconds = time.perf_counter() - started
        network.eval()
        with torch.no_grad():
            epochs.append(Epoch(training_loss, dict(task.validate()), round(seconds, 2)))
        # A copy: the tensors of the state are those that the next epoch changes.
        if _best(epochs) == number:
            best_weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        if report:
            report(number, epochs[-1])
        if checkpoint:
            _save(checkpoint, identity, epochs, best_weights, training)
    network.load_state_dict(best_weights)
    network.eval()
    return Curve(epochs, _best(epochs))


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: matrices decay; biases, gains of norms and embeddings do not.

    An embedding is only corrected by the symbols of a batch but would decay in every step, the rare symbols to nothing.
    """
    embeddings = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    weights = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in weights if p.ndim > 1 and id(p) not in embeddings]
    others = [p for p in weights if p.ndim <= 1 or id(p) in embeddings]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _factor(settings: LoopSettings, steps: int) -> Callable[[int], float]:
    """Factor of the learning rate by step: rises to 1 over the warm-up, then falls to 0 along half a cosine.

    The warm-up keeps AdamW's first steps small, while its estimate of the gradients' variance comes from few batches.
    """
    total = max(1, settings.epochs * steps)
    rise = max(1, round(settings.warm_up_share * total))
    return lambda step: (
        (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise + 1)))
    )


def _train(task: Task, training: _Training, rng: np.random.Generator) -> float:
    """Trains one epoch; returns the mean loss of its batches."""
    task.network.train()
    # The mean over batches, each with the weights of its own step: a figure to watch, not the loss of the epoch's last
    # weights.
    losses = []
    for batch in task.batches(rng):
        loss = task.loss(batch)
        training.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(task.network.parameters(), GRADIENT_NORM)
        training.optimiser.step()
        training.schedule.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _best(epochs: list[Epoch]) -> int:
    # Of equal losses the earliest epoch: the least trained network that is as good.
    return min(range(len(epochs)), key=lambda i: epochs[i].validation["loss"])


def _stalled(epochs: list[Epoch], patience: int) -> bool:
    return bool(epochs) and len(epochs) - 1 - _best(epochs) >= patience


def _resumed(checkpoint: Path | None, identity: str, training: _Training) -> tuple[list[Epoch], dict[str, Tensor]]:
    """Epochs and best weights of an interrupted training, whose state is loaded; empty if there is none to continue."""
    if checkpoint is None or not checkpoint.exists():
        return [], {}
    # `weights_only`: a checkpoint is tensors and plain values, and nothing in it can execute code.
    saved = torch.load(checkpoint, map_location=device(), weights_only=True)
    if saved["identity"] != identity:
        return [], {}
    training.network.load_state_dict(saved["network"])
    training.optimiser.load_state_dict(saved["optimiser"])
    training.schedule.load_state_dict({**training.schedule.state_dict(), **saved["schedule"]})
    return [Epoch(*row) for row in saved["epochs"]], saved["best"]


def _save(
    checkpoint: Path,
    identity: str,
    epochs: list[Epoch],
    best: dict[str, Tensor],
    training: _Training,
) -> None:
    """Writes the checkpoint to a second file and renames it: an interrupted write leaves that of the epoch before."""
    content = {
        "identity": identity,
        "epochs": [tuple(epoch) for epoch in epochs],
        "best": best,
        "network": training.network.state_dict(),
        "optimiser": training.optimiser.state_dict(),
        # The schedule's function cannot be stored as plain values; it is made anew from the settings.
        "schedule": {key: value for key, value in training.schedule.state_dict().items() if key != "lr_lambdas"},
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    beside = checkpoint.with_suffix(".writing")
    torch.save(content, beside)
    os.replace(beside, checkpoint)
