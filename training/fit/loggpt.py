"""Template keys of passing runs in, the next-key network, its profile and what it says of unseen passing runs out.

The limits are set by cross-fitting: each passing run is scored by a network that has seen the runs of the other folds alone.
Equal sequences of keys are trained on once: near copies would only repeat each other.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stream_triage.stages.next_key import START, UNK, NextKey, NextKeyProfile, Order
from stream_triage.stages.template import Templates
from training.fit.detector import KeyedRun, KeyedRuns, group_folds
from training.networks.loggpt import LogGPT
from training.networks.loop import Curve, Epoch, LoopSettings, fit
from training.networks.next_key_task import LogGPTSettings, NextKeyTask, Numbers, Vocabulary, cut_windows, stacked

__all__ = ["LogGPTFit", "LogGPTSettings", "fit_loggpt", "order_of", "serve"]

VALIDATION_FOLDS = 5
# Share of unseen passing runs that may have a surprise, and that may have a higher mean surprisal. False alarms are bounded
# by the detector's threshold, not by this: at 0.01 the rarest passing runs alone decide, top_k becomes 20, and of runs with
# two lines swapped half are found instead of four in five (training/experiments/order.py, seed 0).
SURPRISED_RATE = 0.05
MAX_TOP_K = 20
# Bits a key. Below this a run is as regular as runs can be, and twice as much says nothing.
LOWEST_SURPRISAL_HIGH = 0.05

Report = Callable[[int, Epoch], None]


class LogGPTFit(NamedTuple):
    """`orders` are what networks of the other folds say of each passing run, in their order."""

    network: LogGPT
    profile: NextKeyProfile
    orders: list[Order]
    curve: Curve


def fit_loggpt(
    keyed: KeyedRuns,
    templates: Templates,
    passing: Sequence[int],
    groups: Sequence[str],
    seed: int,
    settings: LogGPTSettings | None = None,
    *,
    checkpoints: Path | None = None,
    about: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> LogGPTFit:
    """Trains one network a fold and one on all `passing` runs; `groups` name near copies, which stay in one fold.

    `checkpoints` is a folder, with a file for each network. Raises `CorpusError` where the runs share no key.
    """
    settings = settings or LogGPTSettings()
    train = _Trainer(keyed, templates, seed, settings, checkpoints, about or {}, report)
    folds = [fold for fold in group_folds(groups, seed, settings.folds) if fold.any()]
    parts = []
    for number, fold in enumerate(folds):
        rest = np.flatnonzero(~fold).tolist()
        parts.append(train([passing[i] for i in rest], [groups[i] for i in rest], f"fold-{number}"))
    profile = _profile(keyed, passing, folds, parts, settings.stride)
    orders: dict[int, Order] = {}
    for fold, part in zip(folds, parts, strict=True):
        told = profile.model_copy(update={"keys": part.vocabulary.keys})
        stage = NextKey(templates.keys, told, serve(part.network))
        orders |= {i: order_of(stage, keyed.run(passing[i])) for i in np.flatnonzero(fold).tolist()}
    whole = train(passing, groups, "all")
    profile = profile.model_copy(update={"keys": whole.vocabulary.keys})
    return LogGPTFit(whole.network, profile, [orders[i] for i in range(len(passing))], whole.curve)


class _Part(NamedTuple):
    vocabulary: Vocabulary
    network: LogGPT
    curve: Curve


class _Trainer:
    """Trains the networks of one fit, which differ in their runs alone."""

    def __init__(
        self,
        keyed: KeyedRuns,
        templates: Templates,
        seed: int,
        settings: LogGPTSettings,
        checkpoints: Path | None,
        about: Mapping[str, Any],
        report: Report | None,
    ) -> None:
        self._keyed, self._templates, self._seed, self._settings = keyed, templates, seed, settings
        self._checkpoints, self._about, self._report = checkpoints, about, report

    def __call__(self, runs: Sequence[int], groups: Sequence[str], name: str) -> _Part:
        """Stops by the loss on a fifth of the runs, by groups."""
        settings, keyed = self._settings, self._keyed
        held = group_folds(groups, self._seed, VALIDATION_FOLDS)[0]
        learned = [i for i in range(len(runs)) if not held[i]]
        training = [runs[i] for i in learned]
        vocabulary = Vocabulary(keyed, self._templates, training, [groups[i] for i in learned], settings.max_keys)
        sequences = vocabulary.sequences(keyed, training)
        validation = vocabulary.sequences(keyed, [run for run, out in zip(runs, held, strict=True) if out])
        task = NextKeyTask(sequences, validation, len(vocabulary), settings, self._seed)
        curve = fit(
            task,
            LoopSettings(settings.epochs, settings.learning_rate, settings.patience, settings.weight_decay, seed=self._seed),
            checkpoint=self._checkpoints and self._checkpoints / f"{name}.pt",
            about={**asdict(settings), "sequences": _digest(sequences), "validation": _digest(validation), **self._about},
            report=self._report,
        )
        return _Part(vocabulary, task.network, curve)


def _digest(sequences: Sequence[Numbers]) -> str:
    return hashlib.sha256(b"".join(sequence.tobytes() for sequence in sequences)).hexdigest()


def _profile(
    keyed: KeyedRuns,
    passing: Sequence[int],
    folds: Sequence[NDArray[np.bool_]],
    parts: Sequence[_Part],
    stride: int,
) -> NextKeyProfile:
    """Limits that few unseen passing runs exceed; the vocabulary is that of the first fold until another is put in."""
    means, worst = np.zeros(len(passing)), np.zeros(len(passing), dtype=np.int64)
    for fold, part in zip(folds, parts, strict=True):
        known: dict[bytes, tuple[float, int, int]] = {}
        for i in np.flatnonzero(fold).tolist():
            said = []
            for sequence in part.vocabulary.sequences(keyed, [passing[i]]):
                name = sequence.tobytes()
                known[name] = known.get(name) or _said(part.network, sequence, stride)
                said.append(known[name])
            means[i] = sum(bits for bits, _, _ in said) / max(1, sum(count for _, count, _ in said))
            worst[i] = max((rank for _, _, rank in said), default=0)
    top_k = min(1 + int(np.quantile(worst, 1 - SURPRISED_RATE, method="higher")), MAX_TOP_K)
    return NextKeyProfile(
        keys=parts[0].vocabulary.keys,
        stride=stride,
        top_k=top_k,
        surprisal_high=max(float(np.quantile(means, 1 - SURPRISED_RATE, method="higher")), LOWEST_SURPRISAL_HIGH),
        surprised_rate=round(float((worst >= top_k).mean()), 4),
    )


def _said(network: LogGPT, sequence: Numbers, stride: int) -> tuple[float, int, int]:
    """Bits, known keys and the highest rank of them."""
    cut = stacked(list(cut_windows(sequence, stride, stride)), stride)
    surprisal, rank, _ = serve(network)(keys=cut.keys.numpy(), targets=cut.targets.numpy())
    scored = np.isin(cut.targets.numpy(), (START, UNK), invert=True)
    return float(surprisal[scored].sum(dtype=np.float64)), int(scored.sum()), int(rank[scored].max(initial=0))


def serve(network: LogGPT) -> Callable[..., list[NDArray[Any]]]:
    """The network as the serving stage asks for it, without an export."""

    def run(keys: Numbers, targets: Numbers) -> list[NDArray[Any]]:
        place = network.never.device
        with torch.no_grad():
            said = network(torch.from_numpy(keys).to(place), torch.from_numpy(targets).to(place))
        return [tensor.cpu().numpy() for tensor in said]

    return run


def order_of(stage: NextKey, run: KeyedRun) -> Order:
    """What the stage says of a whole run."""
    states = {}
    for source, (keys, _) in run.items():
        states[source] = stage.start()
        stage.update(states[source], keys, 1)
    return stage.finish(states, final=True)
