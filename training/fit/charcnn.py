"""Trains the char-CNN on folded lines of labelled runs: four fifths of the runs teach it, the others stop it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor, nn

from stream_triage.stages.charcnn import PAD, Symbols
from training.fit.folded import FoldedRuns
from training.fit.settings import CharCNNSettings
from training.networks.charcnn import CharCNNConfig, CharCNNNet
from training.networks.curve import Curve, Epoch
from training.networks.loop import LoopSettings, class_weights, device, fit
from training.splits import cross_folds

__all__ = ["CharCNNFit", "CharCNNTask", "fit_charcnn"]

VALIDATION_FOLDS = 5
# The F1 of a label with fewer validation runs is not trustworthy.
MIN_COUNTED = 5
# Runs whose features are computed at once when nothing is learned, and streams of the plain shape: a bound on memory.
RUNS_AT_ONCE = 64
STREAMS_AT_ONCE = 8
# The plain shape pools its stream to a 32nd, so streams are padded to a multiple of this.
PLAIN_MULTIPLE = 32

Texts = list[list[NDArray[np.int64]]]
"""For each run, the piece numbers of each of its sources."""


class Batch(NamedTuple):
    """Runs of one step: their indexes, label numbers (B,) and texts."""

    runs: list[int]
    targets: Tensor
    texts: Texts


class CharCNNTask:
    """A char-CNN with the runs it learns from and the runs it is validated on; see `training.networks.loop.Task`."""

    def __init__(
        self,
        folded: FoldedRuns,
        targets: NDArray[np.intp],
        training: Sequence[int],
        validation: Sequence[int],
        settings: CharCNNSettings,
        *,
        labels: int,
        seed: int,
    ) -> None:
        """Creates an untrained network.

        Args:
            folded: The folded runs of the corpus.
            targets: Label number of every run of the corpus.
            training: Indexes of the runs to learn from.
            validation: Indexes of the runs to validate on.
            settings: Sizes of the network, batches and class weights.
            labels: Number of labels.
            seed: Seed of the first weights.
        """
        # Before the network is created: its first weights are drawn here.
        torch.manual_seed(seed)
        config = CharCNNConfig(
            symbols=len(folded.alphabet),
            labels=labels,
            shape=settings.shape,
            embedding=settings.embedding,
            channels=settings.channels,
            width=settings.width,
            run_blocks=settings.run_blocks,
            residual=settings.residual,
            dropout=settings.dropout,
        )
        self.network = CharCNNNet(config).to(device())
        self.folded, self._targets, self._settings = folded, targets, settings
        self._training, self._validation = list(training), list(validation)
        self._weights = class_weights(targets[self._training], labels, settings.class_weight_power).to(device())

    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._training) // self._settings.batch)

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """The training runs in a new order; some lines of each run are left out, others each time."""
        order = rng.permutation(self._training)
        for first in range(0, len(order), self._settings.batch):
            runs = order[first : first + self._settings.batch].tolist()
            # Line dropout: a label must not hang on one line that the training runs happen to share.
            texts = [[s[rng.random(len(s)) >= self._settings.line_dropout] for s in self.folded.run(run)] for run in runs]
            yield Batch(runs, torch.tensor(self._targets[runs], device=device()), texts)

    def loss(self, batch: Batch) -> Tensor:
        """Weighted cross-entropy of a batch."""
        scores = self.network.scores(self._features(batch.texts))
        return nn.functional.cross_entropy(scores, batch.targets, weight=self._weights)

    def scores(self, runs: Sequence[int]) -> NDArray[np.float64]:
        """Scores of whole runs, shape (runs, labels)."""
        with torch.no_grad():
            maxima = torch.tensor(self.maxima(runs), device=device())
            return np.asarray(self.network.scores(maxima).double().cpu().numpy())

    def maxima(self, runs: Sequence[int]) -> NDArray[np.float32]:
        """Features of whole runs, shape (runs, width): the maximum of each feature over the lines."""
        self.network.eval()
        texts = [
            [self.folded.run(run) for run in runs[first : first + RUNS_AT_ONCE]]
            for first in range(0, len(runs), RUNS_AT_ONCE)
        ]
        with torch.no_grad():
            return np.asarray(torch.cat([self._features(some) for some in texts]).cpu())

    def validate(self) -> dict[str, float]:
        """Loss, macro-F1 and accuracy on the validation runs."""
        # Whole runs, no dropout of any kind. The loss has the class weights of the training, since it decides which epoch
        # is the best.
        scores = self.scores(self._validation)
        targets = self._targets[self._validation]
        loss = nn.functional.cross_entropy(torch.tensor(scores), torch.tensor(targets), weight=self._weights.double().cpu())
        predicted = scores.argmax(axis=1)
        counted = [i for i in range(scores.shape[1]) if (targets == i).sum() >= MIN_COUNTED]
        macro = f1_score(targets, predicted, labels=counted, average="macro", zero_division=0) if counted else 0.0
        return {"loss": float(loss), "macro_f1": float(macro), "accuracy": float((predicted == targets).mean())}

    def _features(self, texts: Texts) -> Tensor:
        return self._line_maxima(texts) if self.network.config.shape == "lines" else self._plain_maxima(texts)

    def _line_maxima(self, texts: Texts) -> Tensor:
        """Features of runs in the shape `lines`, (B, width).

        All sources of all runs are laid out in one row, so that the second part reads a batch in one call whatever the
        lengths. Between two sources stand as many empty positions as a position sees to each side (`halo`): sources cannot
        see each other, and a source's first and last lines see what serving pads with.
        """
        # Each distinct piece of the batch is read once. A batch of 32 runs has about 800 distinct lines, a tenth of its
        # text.
        used, position = np.unique(np.concatenate([s for text in texts for s in text]), return_inverse=True)
        vectors = self._vectors(used)
        halo = self.network.run.halo
        gap = np.zeros(halo, dtype=np.int64)
        row, owner, begin = [gap], [gap[:0]], 0
        for run, text in enumerate(texts):
            for source in text:
                # Row 0 of the table is the empty position, so pieces count from 1.
                row += [position[begin : begin + len(source)] + 1, gap]
                owner += [np.full(len(source), run), np.full(halo, -1)]
                begin += len(source)
        table = torch.cat([torch.zeros_like(vectors[:1]), vectors])
        features = self.network.run(table[torch.tensor(np.concatenate(row), device=table.device)].T.unsqueeze(0))[0].T
        # Without padding the first and last `halo` positions have no features: `owner` starts behind the first gap, and its
        # last gap is cut off.
        of_run = torch.tensor(np.concatenate(owner)[: len(features)], device=table.device)
        kept = of_run >= 0
        # Features are never negative (ReLU), so that zero is a neutral start, also for a run without lines.
        maxima = torch.zeros(len(texts), features.shape[1], device=table.device)
        # One maximum for each run and feature, over all its sources.
        index = of_run[kept].unsqueeze(1).expand(-1, features.shape[1])
        return maxima.scatter_reduce(0, index, features[kept], "amax", include_self=True)

    def _vectors(self, used: NDArray[np.int64]) -> Tensor:
        """Vectors of the given pieces, in their order; pieces of equal length are read together, without more padding."""
        lengths = self.folded.piece_length[used]
        order, vectors = [], []
        for length in np.unique(lengths).tolist():
            members = np.flatnonzero(lengths == length)
            symbols = np.stack([self.folded.pieces[i] for i in used[members].tolist()]).astype(np.int64)
            vectors.append(self.network.lines(torch.tensor(symbols, device=device())))
            order.append(members)
        return torch.cat(vectors)[torch.tensor(np.argsort(np.concatenate(order)), device=device())]

    def _plain_maxima(self, texts: Texts) -> Tensor:
        """Features of runs in the shape `plain`, (B, width): each source is one stream of symbols."""
        streams, owners = [], []
        for run, text in enumerate(texts):
            for source in text:
                if len(source):
                    streams.append(np.concatenate([self._stream(self.folded.pieces[i]) for i in source.tolist()]))
                    owners.append(run)
        maxima = torch.zeros(len(texts), self.network.config.width, device=device())
        # Streams of similar length together, so that little of a batch is padding.
        order = sorted(range(len(streams)), key=lambda i: len(streams[i]))
        for first in range(0, len(order), STREAMS_AT_ONCE):
            some = order[first : first + STREAMS_AT_ONCE]
            length = -(-max(len(streams[i]) for i in some) // PLAIN_MULTIPLE) * PLAIN_MULTIPLE
            symbols = np.zeros((len(some), length), dtype=np.int64)
            for row, i in enumerate(some):
                symbols[row, : len(streams[i])] = streams[i]
            pooled = self.network.plain_features(torch.tensor(symbols, device=device())).amax(2)
            index = torch.tensor([owners[i] for i in some], device=device()).unsqueeze(1).expand_as(pooled)
            maxima = maxima.scatter_reduce(0, index, pooled, "amax", include_self=True)
        return maxima

    @staticmethod
    def _stream(piece: Symbols) -> Symbols:
        """A piece with its padding cut to a single symbol, which ends the line."""
        return np.append(piece[: np.flatnonzero(piece != PAD).max(initial=-1) + 1], np.uint8(PAD))


@dataclass(frozen=True)
class CharCNNFit:
    """A trained char-CNN, its training curve, and the runs that it learned from and was validated on."""

    task: CharCNNTask
    curve: Curve
    training: list[int]
    validation: list[int]


def fit_charcnn(
    folded: FoldedRuns,
    names: Sequence[str],
    runs: Sequence[int],
    groups: Sequence[str],
    settings: CharCNNSettings,
    *,
    seed: int,
    checkpoint: Path | None = None,
    about: Mapping[str, Any] | None = None,
    report: Callable[[int, Epoch], None] | None = None,
) -> CharCNNFit:
    """Trains on four fifths of the runs and stops by the loss on the last fifth.

    Args:
        folded: The folded runs of the corpus.
        names: All labels, in the order of the scores.
        runs: Indexes of the runs to train with.
        groups: The group of near-duplicates of each of them; a group is either learned from or validated on.
        settings: Network and training.
        seed: Seed of folds, weights and batches.
        checkpoint: File that is written after each epoch, and read to continue an interrupted training.
        about: Identifies the training, beside its settings: a checkpoint of another training is not continued.
        report: Called with the number and the figures of each epoch.
    """
    labels = folded.corpus.labels
    indexes = np.asarray(runs)
    # StratifiedGroupKFold needs as many runs of some label as folds: of a handful of runs, a larger part validates.
    commonest = Counter(labels[indexes].tolist()).most_common(1)[0][1]
    folds = min(VALIDATION_FOLDS, max(commonest, 2))
    first, second = next(cross_folds(labels[indexes].tolist(), groups, seed, folds))
    # Duplicates of a text would weigh as much as there are copies of it, and make the validation look better than it is.
    training = folded.distinct(indexes[first].tolist(), labels)
    validation = folded.distinct(indexes[second].tolist(), labels)
    targets = np.array([names.index(label) for label in labels])
    task = CharCNNTask(folded, targets, training, validation, settings, labels=len(names), seed=seed)
    loop = LoopSettings(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        weight_decay=settings.weight_decay,
        seed=seed,
    )
    curve = fit(task, loop, checkpoint=checkpoint, about={**asdict(settings), **(about or {})}, report=report)
    return CharCNNFit(task, curve, training, validation)
