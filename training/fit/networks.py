"""Trains the networks of a bundle: the next-key network on the passing training runs, the char-CNN on all of them.

Imports torch; `fit/bundle.py` imports this module only if networks are asked for.
"""

from collections.abc import Callable, Mapping
from typing import Any

from training.data import CorpusError
from training.fit.charcnn_bundle import fit_served_charcnn
from training.fit.loggpt import LogGPTFit, fit_loggpt
from training.fit.parts import FittedNetworks, TrainingPart
from training.fit.settings import BundleSettings
from training.networks.curve import Epoch
from training.networks.loggpt import export

__all__ = ["fit_networks"]


def fit_networks(part: TrainingPart, seed: int, settings: BundleSettings, about: Mapping[str, Any]) -> FittedNetworks:
    """Trains both networks.

    Args:
        part: The training runs.
        seed: Seed of folds, weights and batches.
        settings: Settings of both networks, and where their checkpoints are.
        about: Identifies the training: a checkpoint of another training is not continued.
    """

    def report(name: str, number: int, epoch: Epoch) -> None:
        figures = ", ".join(f"{figure} {value:.4f}" for figure, value in epoch.validation.items())
        settings.report(f"{name}: epoch {number + 1} in {epoch.seconds:.0f} s: {figures}")

    order = _fit_order(part, seed, settings, report) if settings.next_key else None
    keys = (*part.templates.keys, "", "")  # NEW and BLANK are -1 and -2: they index from the end
    charcnn = fit_served_charcnn(
        part,
        seed,
        settings.charcnn,
        key_of_line=lambda line: keys[part.keyed.key_of_line[line]],
        checkpoint=lambda name: settings.checkpoints and settings.checkpoints / f"{name}.pt",
        about=about,
        report=report,
    )
    files, curves = {**charcnn.files}, {"charcnn": charcnn.curves[0]}
    curves |= {f"charcnn, fold {i}": curve for i, curve in enumerate(charcnn.curves[1:], 1)}
    if order:
        files["next_key.json"] = (order.profile.model_dump_json(indent=1) + "\n").encode()
        files["next_key.onnx"] = export(order.network)
        curves["next_key"] = order.curve
    orders = order.orders if order else None
    return FittedNetworks(files, orders, charcnn.out_of_fold, charcnn.temperature, charcnn.precision, curves)


def _fit_order(
    part: TrainingPart, seed: int, settings: BundleSettings, report: Callable[[str, int, Epoch], None]
) -> LogGPTFit | None:
    try:
        return fit_loggpt(
            part.keyed,
            part.templates,
            part.passing,
            part.passing_groups,
            seed,
            settings=settings.loggpt,
            checkpoints=settings.checkpoints and settings.checkpoints / "next_key",
            report=lambda number, epoch: report("next_key", number, epoch),
        )
    except CorpusError as error:  # too few passing runs: the bundle has the plain detector alone
        settings.report(f"no next-key network: {error}")
        return None
