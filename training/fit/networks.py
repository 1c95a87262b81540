"""Training runs in, the networks of a bundle out: the LogGPT detector from the passing ones, the char-CNN from all."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_triage.stages.next_key import Order
from stream_triage.stages.template import Templates
from training.data import CorpusError, MaskedRuns
from training.fit.charcnn import CharCNNSettings
from training.fit.charcnn_bundle import Precision, fit_served_charcnn
from training.fit.detector import KeyedRuns
from training.fit.loggpt import LogGPTFit, fit_loggpt
from training.networks.loggpt import export
from training.networks.loop import Curve, Epoch

if TYPE_CHECKING:
    from training.fit.bundle import BundleSettings

__all__ = ["Ground", "Networks", "fit_networks"]


class Ground(NamedTuple):
    """What networks learn from: the training runs and, among them, the passing ones; groups are of near copies."""

    masked: MaskedRuns
    labels: Sequence[str]
    training: NDArray[np.intp]
    groups: Sequence[str]
    passing: Sequence[int]
    passing_groups: Sequence[str]
    keyed: KeyedRuns
    templates: Templates


class Networks(NamedTuple):
    """Files of the bundle; what each network says of training runs that its like had not seen."""

    files: dict[str, bytes]
    orders: list[Order] | None
    """Of each passing run, in their order; none where no such network was asked for."""
    out_of_fold: NDArray[np.float64]
    """Calibrated scores of the char-CNN, shape (runs, L)."""
    temperature: float
    precision: Precision
    curves: dict[str, Curve]


def fit_networks(ground: Ground, seed: int, settings: "BundleSettings", about: Mapping[str, Any]) -> Networks:
    def say(name: str, number: int, epoch: Epoch) -> None:
        figures = ", ".join(f"{figure} {value:.4f}" for figure, value in epoch.validation.items())
        settings.say(f"{name}: epoch {number + 1} in {epoch.seconds:.0f} s: {figures}")

    order = _fit_order(ground, seed, settings, say) if settings.next_key else None
    keys = (*ground.templates.keys, "", "")  # NEW and BLANK count from the end
    charcnn = fit_served_charcnn(
        ground.masked,
        ground.training,
        ground.groups,
        ground.labels,
        seed,
        settings.charcnn or CharCNNSettings(),
        passing=ground.passing,
        key_of_line=lambda line: keys[ground.keyed.key_of_line[line]],
        checkpoint=lambda name: settings.checkpoints and settings.checkpoints / f"{name}.pt",
        about=about,
        report=say,
    )
    files, curves = {**charcnn.files}, {"charcnn": charcnn.curves[0]}
    curves |= {f"charcnn, fold {i}": curve for i, curve in enumerate(charcnn.curves[1:], 1)}
    if order:
        files["next_key.json"] = (order.profile.model_dump_json(indent=1) + "\n").encode()
        files["next_key.onnx"] = export(order.network)
        curves["next_key"] = order.curve
    orders = order.orders if order else None
    return Networks(files, orders, charcnn.out_of_fold, charcnn.temperature, charcnn.precision, curves)


def _fit_order(
    ground: Ground, seed: int, settings: "BundleSettings", say: Callable[[str, int, Epoch], None]
) -> LogGPTFit | None:
    try:
        return fit_loggpt(
            ground.keyed,
            ground.templates,
            ground.passing,
            ground.passing_groups,
            seed,
            settings.loggpt,
            checkpoints=settings.checkpoints and settings.checkpoints / "next_key",
            report=lambda number, epoch: say("next_key", number, epoch),
        )
    except CorpusError as error:  # a handful of passing runs: the plain detector has to do
        settings.say(f"no next-key network: {error}")
        return None
