"""Figures of a network's training, epoch by epoch. Needs no torch, so that they can be passed on and drawn without it."""

from typing import NamedTuple

__all__ = ["Curve", "Epoch"]


class Epoch(NamedTuple):
    """Figures of one epoch.

    Attributes:
        training_loss: Mean loss of its batches.
        validation: Figures on the validation part; `loss` decides which epoch is the best.
        seconds: Duration of the training alone, without the validation.
    """

    training_loss: float
    validation: dict[str, float]
    seconds: float


class Curve(NamedTuple):
    """All epochs of a training, and the index of the one whose weights were kept."""

    epochs: list[Epoch]
    best: int
