"""A network and its batches in, the weights of its best epoch and its training curve out: the one loop for all networks.

AdamW with warm-up and cosine decay, gradients clipped, early stopping on the validation loss. After each epoch everything
that is needed to go on is written to a checkpoint, so an interrupted training loses at most one epoch.
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

__all__ = ["Curve", "Epoch", "LoopSettings", "Task", "class_weights", "device", "fit"]

GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class LoopSettings:
    """How a network is trained; `patience` epochs without a better validation loss end it."""

    epochs: int
    learning_rate: float
    patience: int
    weight_decay: float = 0.01
    warm_up_share: float = 0.05
    seed: int = 0


class Task(Protocol):
    """What is trained: a network, its batches, its loss, and figures on runs it does not learn from."""

    @property
    def network(self) -> nn.Module: ...

    def batches(self, rng: np.random.Generator) -> Iterable[Any]:
        """The batches of one epoch, in an order of its own."""

    def steps(self) -> int:
        """How many batches an epoch has."""

    def loss(self, batch: Any) -> Tensor: ...

    def validate(self) -> Mapping[str, float]:
        """Figures on the validation part; `loss` decides which epoch is the best."""


class Epoch(NamedTuple):
    """Figures of one epoch; `seconds` of its training alone."""

    training_loss: float
    validation: dict[str, float]
    seconds: float


class Curve(NamedTuple):
    epochs: list[Epoch]
    best: int
    """Index of the epoch whose weights were kept."""


def class_weights(targets: NDArray[np.intp], labels: int, power: float = 1.0) -> Tensor:
    """Weight of each label in the loss, shape (labels,): rare ones count as much as common ones, less with a power below 1.

    A label that is not among the targets weighs nothing.
    """
    counts = np.bincount(targets, minlength=labels)
    weights = (len(targets) / np.maximum(counts, 1) / labels) ** power
    return torch.tensor(weights * (counts > 0), dtype=torch.float32)


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
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

    `checkpoint` is written after each epoch, and read at the start if it was written for the same settings and the same
    `about` (data fingerprint, network configuration); one of another training is begun anew.
    """
    network = task.network
    optimiser = torch.optim.AdamW(_groups(network, settings.weight_decay), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _factor(settings, task.steps()))
    identity = hashlib.sha256(json.dumps([asdict(settings), about or {}], sort_keys=True, default=str).encode()).hexdigest()
    epochs, best_weights = _resumed(checkpoint, identity, network, optimiser, schedule)
    while len(epochs) < settings.epochs and not _stalled(epochs, settings.patience):
        number, started = len(epochs), time.perf_counter()
        torch.manual_seed(settings.seed * 10_007 + number)
        training_loss = _train(task, optimiser, schedule, np.random.default_rng((settings.seed, number)))
        seconds = time.perf_counter() - started
        network.eval()
        with torch.no_grad():
            epochs.append(Epoch(training_loss, dict(task.validate()), round(seconds, 2)))
        if _best(epochs) == number:
            best_weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
        if report:
            report(number, epochs[-1])
        if checkpoint:
            _save(checkpoint, identity, epochs, best_weights, network, optimiser, schedule)
    network.load_state_dict(best_weights)
    network.eval()
    return Curve(epochs, _best(epochs))


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, gains of norms and embeddings do not."""
    embeddings = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    weights = [p for p in network.parameters() if p.requires_grad]
    decayed = [p for p in weights if p.ndim > 1 and id(p) not in embeddings]
    rest = [p for p in weights if p.ndim <= 1 or id(p) in embeddings]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _factor(settings: LoopSettings, steps: int) -> Callable[[int], float]:
    """Rises to 1 over the warm-up, then falls to 0 along half a cosine."""
    total = max(1, settings.epochs * steps)
    rise = max(1, round(settings.warm_up_share * total))
    return lambda step: (
        (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (total - rise + 1)))
    )


def _train(
    task: Task, optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, rng: np.random.Generator
) -> float:
    task.network.train()
    losses = []
    for batch in task.batches(rng):
        loss = task.loss(batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(task.network.parameters(), GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def _best(epochs: list[Epoch]) -> int:
    return min(range(len(epochs)), key=lambda i: epochs[i].validation["loss"])


def _stalled(epochs: list[Epoch], patience: int) -> bool:
    return bool(epochs) and len(epochs) - 1 - _best(epochs) >= patience


def _resumed(
    checkpoint: Path | None,
    identity: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> tuple[list[Epoch], dict[str, Tensor]]:
    if checkpoint is None or not checkpoint.exists():
        return [], {}
    # `weights_only`: a checkpoint is tensors and plain values, and nothing in it can execute code.
    saved = torch.load(checkpoint, map_location=device(), weights_only=True)
    if saved["identity"] != identity:
        return [], {}
    network.load_state_dict(saved["network"])
    optimiser.load_state_dict(saved["optimiser"])
    schedule.load_state_dict({**schedule.state_dict(), **saved["schedule"]})
    return [Epoch(*row) for row in saved["epochs"]], saved["best"]


def _save(
    checkpoint: Path,
    identity: str,
    epochs: list[Epoch],
    best: dict[str, Tensor],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Whole or not at all: an interrupted write leaves the checkpoint of the epoch before."""
    content = {
        "identity": identity,
        "epochs": [tuple(epoch) for epoch in epochs],
        "best": best,
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": {key: value for key, value in schedule.state_dict().items() if key != "lr_lambdas"},
    }
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    beside = checkpoint.with_suffix(".writing")
    torch.save(content, beside)
    os.replace(beside, checkpoint)
