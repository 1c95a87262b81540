"""Folded lines of labelled runs in, a trained char-CNN out: four fifths of them teach it, the rest stops it."""

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

from stream_triage.stages.charcnn import PAD, Alphabet, Symbols, pieces
from stream_triage.stages.fold import FoldState, fold, fold_hash
from training.data import MaskedRuns
from training.networks.charcnn import CharCNNConfig, CharCNNNet
from training.networks.loop import Curve, Epoch, LoopSettings, class_weights, device, fit
from training.splits import cross_folds

__all__ = [
    "CharCNNFit",
    "CharCNNSettings",
    "FoldedRuns",
    "fit_alphabet",
    "fit_charcnn",
]

# A symbol must come this often in the distinct lines of the training runs; rarer ones are unknown, so that the network
# learns what to make of unknown ones.
MIN_SYMBOL_COUNT = 10
MAX_SYMBOLS = 254
VALIDATION_FOLDS = 5
# A label with fewer validation runs gives no trustworthy F1.
MIN_COUNTED = 5


@dataclass(frozen=True)
class CharCNNSettings:
    """Network and training in one; the alphabet and the labels add the rest of `CharCNNConfig`."""

    shape: str = "lines"
    residual: bool = True
    batch: int = 32
    epochs: int = 8
    learning_rate: float = 2e-3
    patience: int = 3
    weight_decay: float = 0.01
    line_dropout: float = 0.1
    dropout: float = 0.1
    class_weight_power: float = 0.5
    """1 weighs labels inversely to their runs, 0 not at all."""
    embedding: int = 16
    channels: int = 64
    width: int = 64
    run_blocks: int = 2


def fit_alphabet(corpus: MaskedRuns, runs: Sequence[int]) -> Alphabet:
    """Symbols of the distinct lines of the given runs, the commonest first."""
    used = np.unique(np.concatenate([corpus.distinct(run) for run in runs]))
    counts: Counter[str] = Counter()
    for line in used.tolist():
        counts.update(Alphabet.cut(corpus.lines[line]))
    frequent = sorted((s for s, n in counts.items() if n >= MIN_SYMBOL_COUNT), key=lambda s: (-counts[s], s))
    return Alphabet(frequent[:MAX_SYMBOLS])


class FoldedRuns:
    """Runs as the char-CNN reads them: by source, the numbers of the pieces of its folded lines."""

    def __init__(self, corpus: MaskedRuns, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        self.pieces: list[Symbols] = []
        self._pieces_of_line: list[NDArray[np.int64]] = []
        for symbols in alphabet.encode(corpus.lines):
            cut = pieces(symbols)
            self._pieces_of_line.append(np.arange(len(self.pieces), len(self.pieces) + len(cut)))
            self.pieces += cut
        self.piece_length = np.array([len(piece) for piece in self.pieces])
        self._hashes = np.array([fold_hash(line, words) for line, words in zip(corpus.lines, corpus.words, strict=True)])
        self.corpus = corpus
        self._known: dict[int, list[NDArray[np.int64]]] = {}

    def run(self, index: int) -> list[NDArray[np.int64]]:
        """Piece numbers of each source, in the order of their names."""
        if index not in self._known:
            runs = self.corpus.runs[index]
            self._known[index] = [self._pieces(runs[name][kept]) for name, kept in sorted(self.kept(index).items())]
        return self._known[index]

    def kept(self, index: int) -> dict[str, list[int]]:
        """Places of the folded lines in each source of a run, from 0."""
        sources = self.corpus.runs[index].items()
        return {name: fold(self._hashes[lines].tolist(), FoldState()) for name, lines in sources}

    def _pieces(self, lines: NDArray[np.int32]) -> NDArray[np.int64]:
        return np.concatenate([np.empty(0, dtype=np.int64), *(self._pieces_of_line[line] for line in lines.tolist())])

    def distinct(self, runs: Sequence[int], labels: NDArray[np.str_]) -> list[int]:
        """One run of each folded text and label: near copies would only repeat each other."""
        first: dict[tuple[object, ...], int] = {}
        for run in runs:
            first.setdefault((labels[run], *(source.tobytes() for source in self.run(run))), run)
        return list(first.values())


class Batch(NamedTuple):
    runs: list[int]
    targets: Tensor
    texts: list[list[NDArray[np.int64]]]


class CharCNNTask:
    """Trains on the distinct texts of some runs, looks at others after each epoch."""

    def __init__(
        self,
        folded: FoldedRuns,
        targets: NDArray[np.intp],
        training: Sequence[int],
        validation: Sequence[int],
        labels: int,
        settings: CharCNNSettings,
        seed: int,
    ) -> None:
        """`targets` has a label's number for every run of the corpus."""
        torch.manual_seed(seed)
        config = CharCNNConfig(
            symbols=len(folded.alphabet),
            labels=labels,
            shape=settings.shape,  # type: ignore[arg-type]
            embedding=settings.embedding,
            channels=settings.channels,
            width=settings.width,
            run_blocks=settings.run_blocks,
            residual=settings.residual,
            dropout=settings.dropout,
        )
        self.network = CharCNNNet(config).to(device())
        self._folded, self._targets, self._settings = folded, targets, settings
        self._training, self._validation = list(training), list(validation)
        self._weights = class_weights(targets[self._training], labels, settings.class_weight_power).to(device())
        self.seed = seed

    def steps(self) -> int:
        return -(-len(self._training) // self._settings.batch)

    def batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Shuffled; each time some lines of each run are left out."""
        order = rng.permutation(self._training)
        for first in range(0, len(order), self._settings.batch):
            runs = order[first : first + self._settings.batch].tolist()
            texts = [[s[rng.random(len(s)) >= self._settings.line_dropout] for s in self._folded.run(run)] for run in runs]
            yield Batch(runs, torch.tensor(self._targets[runs], device=device()), texts)

    def loss(self, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(self._forward(batch.texts), batch.targets, weight=self._weights)

    def scores(self, runs: Sequence[int]) -> NDArray[np.float64]:
        """Scores of whole runs, shape (runs, labels)."""
        with torch.no_grad():
            maxima = torch.tensor(self.maxima(runs), device=device())
            return np.asarray(self.network.scores(maxima).double().cpu().numpy())

    def maxima(self, runs: Sequence[int]) -> NDArray[np.float32]:
        """Features of whole runs, shape (runs, width)."""
        self.network.eval()
        texts = [[self._folded.run(run) for run in runs[first : first + 64]] for first in range(0, len(runs), 64)]
        with torch.no_grad():
            return np.asarray(torch.cat([self._read(some) for some in texts]).cpu())

    def validate(self) -> dict[str, float]:
        scores = self.scores(self._validation)
        targets = self._targets[self._validation]
        loss = nn.functional.cross_entropy(torch.tensor(scores), torch.tensor(targets), weight=self._weights.double().cpu())
        said = scores.argmax(axis=1)
        counted = [i for i in range(scores.shape[1]) if (targets == i).sum() >= MIN_COUNTED]
        macro = f1_score(targets, said, labels=counted, average="macro", zero_division=0) if counted else 0.0
        return {"loss": float(loss), "macro_f1": float(macro), "accuracy": float((said == targets).mean())}

    def _forward(self, texts: list[list[NDArray[np.int64]]]) -> Tensor:
        return self.network.scores(self._read(texts))

    def _read(self, texts: list[list[NDArray[np.int64]]]) -> Tensor:
        return self._maxima(texts) if self.network.config.shape == "lines" else self._plain_maxima(texts)

    def _maxima(self, texts: list[list[NDArray[np.int64]]]) -> Tensor:
        """All sources of all runs in one row, with as many empty places between as a place sees to each side."""
        used, place = np.unique(np.concatenate([s for text in texts for s in text]), return_inverse=True)
        vectors = self._vectors(used)
        halo = self.network.run.halo
        gap = np.zeros(halo, dtype=np.int64)
        row, owner, begin = [gap], [gap[:0]], 0
        for run, text in enumerate(texts):
            for source in text:
                row += [place[begin : begin + len(source)] + 1, gap]
                owner += [np.full(len(source), run), np.full(halo, -1)]
                begin += len(source)
        # Row 0 of the table is the empty place. The last gap has no features: nothing stands behind it.
        table = torch.cat([torch.zeros_like(vectors[:1]), vectors])
        features = self.network.run(table[torch.tensor(np.concatenate(row), device=table.device)].T.unsqueeze(0))[0].T
        of_run = torch.tensor(np.concatenate(owner)[: len(features)], device=table.device)
        kept = of_run >= 0
        maxima = torch.zeros(len(texts), features.shape[1], device=table.device)
        index = of_run[kept].unsqueeze(1).expand(-1, features.shape[1])
        return maxima.scatter_reduce(0, index, features[kept], "amax", include_self=True)

    def _vectors(self, used: NDArray[np.int64]) -> Tensor:
        """Vectors of the given pieces, in their order; pieces of a length are read together."""
        lengths = self._folded.piece_length[used]
        order, found = [], []
        for length in np.unique(lengths).tolist():
            places = np.flatnonzero(lengths == length)
            symbols = np.stack([self._folded.pieces[i] for i in used[places].tolist()]).astype(np.int64)
            found.append(self.network.lines(torch.tensor(symbols, device=device())))
            order.append(places)
        return torch.cat(found)[torch.tensor(np.argsort(np.concatenate(order)), device=device())]

    def _plain_maxima(self, texts: list[list[NDArray[np.int64]]]) -> Tensor:
        """Runs of like length together, each source as a stream of symbols with lines ended by padding."""
        streams, owners = [], []
        for run, text in enumerate(texts):
            for source in text:
                if len(source):
                    streams.append(np.concatenate([self._stream(self._folded.pieces[i]) for i in source.tolist()]))
                    owners.append(run)
        maxima = torch.zeros(len(texts), self.network.config.width, device=device())
        order = sorted(range(len(streams)), key=lambda i: len(streams[i]))
        for first in range(0, len(order), 8):
            some = order[first : first + 8]
            length = -(-max(len(streams[i]) for i in some) // 32) * 32
            symbols = np.zeros((len(some), length), dtype=np.int64)
            for row, i in enumerate(some):
                symbols[row, : len(streams[i])] = streams[i]
            found = self.network.plain_features(torch.tensor(symbols, device=device())).amax(2)
            index = torch.tensor([owners[i] for i in some], device=device()).unsqueeze(1).expand_as(found)
            maxima = maxima.scatter_reduce(0, index, found, "amax", include_self=True)
        return maxima

    @staticmethod
    def _stream(piece: Symbols) -> Symbols:
        """A piece without its padding but for one place, which ends the line."""
        return np.append(piece[: np.flatnonzero(piece != PAD).max(initial=-1) + 1], np.uint8(PAD))


@dataclass(frozen=True)
class CharCNNFit:
    """A trained network with all that was decided on the way."""

    task: CharCNNTask
    curve: Curve
    training: list[int]
    validation: list[int]


def fit_charcnn(
    folded: FoldedRuns,
    labels: NDArray[np.str_],
    names: Sequence[str],
    runs: Sequence[int],
    groups: Sequence[str],
    seed: int,
    settings: CharCNNSettings,
    *,
    checkpoint: Path | None = None,
    about: Mapping[str, Any] | None = None,
    report: Callable[[int, Epoch], None] | None = None,
) -> CharCNNFit:
    """Trains on four fifths of `runs`, by `groups` of near copies, and stops by the loss on the last fifth.

    `labels` has the label of every run of the corpus, `names` the labels in the order of the scores.
    """
    indexes = np.asarray(runs)
    commonest = Counter(labels[indexes].tolist()).most_common(1)[0][1]
    folds = min(VALIDATION_FOLDS, max(commonest, 2))  # of a handful of runs, a larger part
    first, second = next(cross_folds(labels[indexes].tolist(), groups, seed, folds))
    training = folded.distinct(indexes[first].tolist(), labels)
    validation = folded.distinct(indexes[second].tolist(), labels)
    targets = np.array([names.index(label) for label in labels])
    task = CharCNNTask(folded, targets, training, validation, len(names), settings, seed)
    loop = LoopSettings(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        weight_decay=settings.weight_decay,
        seed=seed,
    )
    curve = fit(task, loop, checkpoint=checkpoint, about={**asdict(settings), **(about or {})}, report=report)
    return CharCNNFit(task, curve, training, validation)
