"""Trains the next-key network on the template keys of passing runs and sets its limits.

The limits are set by cross-fitting: each passing run is scored by a network that was trained on the runs of the other folds.
Equal sequences of keys are trained on once: near-duplicates would only repeat each other.
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
from training.fit.settings import LogGPTSettings
from training.keyed import KeyedRun, KeyedRuns
from training.networks.curve import Curve, Epoch
from training.networks.key_windows import KeyNumbers, Vocabulary, cut_windows
from training.networks.loggpt import LogGPT, LogGPTConfig
from training.networks.loop import LoopSettings, fit
from training.networks.next_key_task import NextKeyTask, stacked
from training.splits import group_folds

__all__ = ["LogGPTFit", "fit_loggpt", "order_of", "serve"]

VALIDATION_FOLDS = 5
# Share of the unseen passing runs that may have a surprise, and that may have a higher mean surprisal. False alarms are
# bounded by the detector's threshold, not by this. At 0.01 the rarest passing runs alone decide: top_k becomes 20, and of
# the runs with two lines swapped half are detected instead of four in five (training/experiments/order.py, seed 0).
SURPRISED_RATE = 0.05
MAX_TOP_K = 20
# Bits a key. Runs below this are as regular as runs can be, so twice as much is no sign of anything.
LOWEST_SURPRISAL_HIGH = 0.05

Report = Callable[[int, Epoch], None]


class LogGPTFit(NamedTuple):
    """The fitted next-key network.

    Attributes:
        network: Trained on all passing runs.
        profile: Its vocabulary and limits.
        orders: For each passing run, what a network reports of it that has not seen it.
        curve: Training curve of `network`.
    """

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
    *,
    settings: LogGPTSettings | None = None,
    checkpoints: Path | None = None,
    about: Mapping[str, Any] | None = None,
    report: Report | None = None,
) -> LogGPTFit:
    """Trains one network for each fold and one on all passing runs.

    Args:
        keyed: All runs of the corpus as template keys.
        templates: The templates of the bundle.
        passing: Indexes of the passing training runs.
        groups: The group of near-duplicates of each of them; a group stays in one fold.
        seed: Seed of folds, weights and batches.
        settings: Network and training.
        checkpoints: Folder with a file for each network, from which an interrupted training continues.
        about: Identifies the training: a checkpoint of another training is not continued.
        report: Called with the number and figures of each epoch, of all networks.

    Raises:
        CorpusError: The runs of a fold share no key.
    """
    settings = settings or LogGPTSettings()
    train = _Trainer(keyed, templates, settings, seed=seed, checkpoints=checkpoints, about=about or {}, report=report)
    folds = [fold for fold in group_folds(groups, seed, settings.folds) if fold.any()]
    parts = []
    for number, fold in enumerate(folds):
        training = np.flatnonzero(~fold).tolist()
        parts.append(train([passing[i] for i in training], [groups[i] for i in training], f"fold-{number}"))
    # One set of limits from all folds together: the runs of one fold are too few for a quantile of 95 %.
    profile = _profile(keyed, passing, folds, parts, settings.stride)
    orders: dict[int, Order] = {}
    for fold, part in zip(folds, parts, strict=True):
        # Each fold has a vocabulary of its own: a key that only its held-out runs have must be unknown to its network.
        of_fold = profile.model_copy(update={"keys": part.vocabulary.keys})
        stage = NextKey(templates.keys, of_fold, serve(part.network))
        orders |= {i: order_of(stage, keyed.run(passing[i])) for i in np.flatnonzero(fold).tolist()}
    # The network that serves sees all passing runs. Its limits come from networks that saw two thirds of them, so they are
    # rather too wide than too narrow.
    whole = train(passing, groups, "all")
    profile = profile.model_copy(update={"keys": whole.vocabulary.keys})
    return LogGPTFit(whole.network, profile, [orders[i] for i in range(len(passing))], whole.curve)


class _Part(NamedTuple):
    """One trained network."""

    vocabulary: Vocabulary
    network: LogGPT
    curve: Curve


class _Trainer:
    """Trains the networks of one fit, which differ only in their runs."""

    def __init__(
        self,
        keyed: KeyedRuns,
        templates: Templates,
        settings: LogGPTSettings,
        *,
        seed: int,
        checkpoints: Path | None,
        about: Mapping[str, Any],
        report: Report | None,
    ) -> None:
        self._keyed, self._templates, self._seed, self._settings = keyed, templates, seed, settings
        self._checkpoints, self._about, self._report = checkpoints, about, report

    def __call__(self, runs: Sequence[int], groups: Sequence[str], name: str) -> _Part:
        """Trains on four fifths of the groups and stops by the loss on the last fifth."""
        settings, keyed = self._settings, self._keyed
        # The vocabulary comes from the learned part alone, so that the validation part has unknown keys, as new runs have.
        held = group_folds(groups, self._seed, VALIDATION_FOLDS)[0]
        learned = [i for i in range(len(runs)) if not held[i]]
        training = [runs[i] for i in learned]
        vocabulary = Vocabulary(keyed, self._templates, training, [groups[i] for i in learned], settings.max_keys)
        sequences = vocabulary.sequences(keyed, training)
        validation = vocabulary.sequences(keyed, [run for run, out in zip(runs, held, strict=True) if out])
        config = LogGPTConfig(
            vocabulary=len(vocabulary),
            stride=settings.stride,
            layers=settings.layers,
            width=settings.width,
            heads=settings.heads,
            dropout=settings.dropout,
        )
        task = NextKeyTask(
            sequences,
            validation,
            config,
            batch=settings.batch,
            unknown_share=settings.unknown_share,
            seed=self._seed,
        )
        loop = LoopSettings(
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            patience=settings.patience,
            weight_decay=settings.weight_decay,
            seed=self._seed,
        )
        curve = fit(
            task,
            loop,
            checkpoint=self._checkpoints and self._checkpoints / f"{name}.pt",
            about={**asdict(settings), "sequences": _digest(sequences), "validation": _digest(validation), **self._about},
            report=self._report,
        )
        return _Part(vocabulary, task.network, curve)


def _digest(sequences: Sequence[KeyNumbers]) -> str:
    return hashlib.sha256(b"".join(sequence.tobytes() for sequence in sequences)).hexdigest()


def _profile(
    keyed: KeyedRuns,
    passing: Sequence[int],
    folds: Sequence[NDArray[np.bool_]],
    parts: Sequence[_Part],
    stride: int,
) -> NextKeyProfile:
    """Limits that few unseen passing runs exceed. The vocabulary is that of the first fold and must be replaced."""
    means, worst = np.zeros(len(passing)), np.zeros(len(passing), dtype=np.int64)
    for fold, part in zip(folds, parts, strict=True):
        # Near-duplicates have equal sequences, which need not be scored again.
        cache: dict[bytes, tuple[float, int, int]] = {}
        for i in np.flatnonzero(fold).tolist():
            scores = []
            for sequence in part.vocabulary.sequences(keyed, [passing[i]]):
                name = sequence.tobytes()
                if name not in cache:
                    cache[name] = _score(part.network, sequence, stride)
                scores.append(cache[name])
            # Over all sources of the run together; a long source weighs by its keys.
            means[i] = sum(bits for bits, _, _ in scores) / max(1, sum(count for _, count, _ in scores))
            worst[i] = max((rank for _, _, rank in scores), default=0)
    # The K of LogGPT (its Top-K ratio), chosen so that few unseen passing runs have a key beyond it instead of by hand.
    # `worst` counts ranks from 0.
    top_k = min(1 + int(np.quantile(worst, 1 - SURPRISED_RATE, method="higher")), MAX_TOP_K)
    return NextKeyProfile(
        keys=parts[0].vocabulary.keys,
        stride=stride,
        top_k=top_k,
        surprisal_high=max(float(np.quantile(means, 1 - SURPRISED_RATE, method="higher")), LOWEST_SURPRISAL_HIGH),
        surprised_rate=round(float((worst >= top_k).mean()), 4),
    )


def _score(network: LogGPT, sequence: KeyNumbers, stride: int) -> tuple[float, int, int]:
    """Surprisal of a sequence in bits, the number of its known keys, and the highest rank of any of them."""
    cut = stacked(list(cut_windows(sequence, stride, stride)), stride)
    surprisal, rank, _ = serve(network)(keys=cut.keys.numpy(), targets=cut.targets.numpy())
    scored = np.isin(cut.targets.numpy(), (START, UNK), invert=True)
    return float(surprisal[scored].sum(dtype=np.float64)), int(scored.sum()), int(rank[scored].max(initial=0))


def serve(network: LogGPT) -> Callable[..., list[NDArray[Any]]]:
    """The network as a callable for the serving stage, without an export to ONNX."""

    def run(keys: KeyNumbers, targets: KeyNumbers) -> list[NDArray[Any]]:
        device = network.never.device
        with torch.no_grad():
            outputs = network(torch.from_numpy(keys).to(device), torch.from_numpy(targets).to(device))
        return [tensor.cpu().numpy() for tensor in outputs]

    return run


def order_of(stage: NextKey, run: KeyedRun) -> Order:
    """What the serving stage reports of a whole run."""
    states = {}
    for source, (keys, _) in run.items():
        states[source] = stage.start()
        stage.update(states[source], keys, 1)
    return stage.finish(states, final=True)
