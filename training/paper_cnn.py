"""Cleaned logs in, label scores out: the residual CNN of Ihalage et al., section III-B, with its published variants.

Embedding of 64 (from seq2seq.py or random), a Conv1D that widens it, up to four Conv1D layers in residual pairs, global
maximum, dense layers, softmax; 0.79 M parameters with four layers. `bilstm` puts a bidirectional LSTM behind the embedding
(2.1 M). Logs longer than the context keep their end, where failures show; shorter ones are padded and the padding is kept
out of the maximum.

Departures: the paper names neither widths, kernels nor strides. At stride 1 a log of 50,000 characters costs 2.8 billion
multiplications; `pool` takes the maximum of so many neighbours behind the first layer (1: as described). A norm at each
position, without which the maximum passes ever larger values (LOG.md, 2026-11-22).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor, nn

from training.charcnn import RMSNorm
from training.loop import device

__all__ = ["PaperCNNConfig", "PaperCNNNet", "PaperCNNTask"]

KERNEL = 5


@dataclass(frozen=True)
class PaperCNNConfig:
    """Sizes; with the defaults and 97 characters the network has 0.79 M parameters."""

    characters: int
    labels: int
    layers: int = 4
    channels: int = 210
    dense: int = 256
    embedding: int = 64
    residual: bool = True
    bilstm: bool = False
    lstm_units: int = 280
    pool: int = 4
    dropout: float = 0.2


class PaperCNNNet(nn.Module):
    """Characters (N, T), 0 where there is none, to scores (N, labels)."""

    def __init__(self, config: PaperCNNConfig, embedding: NDArray[np.float32] | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.characters, config.embedding, padding_idx=0)
        if embedding is not None:
            self.embedding.weight.data.copy_(torch.tensor(embedding))
        inputs = config.embedding
        if config.bilstm:
            self.lstm = nn.LSTM(inputs, config.lstm_units, batch_first=True, bidirectional=True)
            inputs = 2 * config.lstm_units
        widths = [inputs, *[config.channels] * config.layers]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, (1, KERNEL), padding=(0, KERNEL // 2)) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(RMSNorm(config.channels) for _ in range(config.layers))
        self.pool = nn.MaxPool2d((1, config.pool))
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Sequential(
            nn.Linear(config.channels, config.dense),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense, config.labels),
        )

    def forward(self, symbols: Tensor) -> Tensor:
        x = self.embedding(symbols)
        if self.config.bilstm:
            x, _ = self.lstm(x)
        x = x.transpose(1, 2).unsqueeze(2)
        there = (symbols != 0).to(x.dtype)[:, None, None]
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(torch.relu(conv(x * there)))
            x = x + y if self.config.residual and i else y
            if i == 0 and self.config.pool > 1:
                x, there = self.pool(x * there), self.pool(there)
        lowest = torch.finfo(x.dtype).min
        pooled = x.masked_fill(there == 0, lowest).amax(3).flatten(1)
        return self.dense(self.dropout(torch.clamp(pooled, min=-1e4)))  # type: ignore[no-any-return]


class PaperCNNTask:
    """Trains on encoded logs, cut to the context; batches hold logs of like length, at most `budget` characters together."""

    def __init__(
        self,
        logs: Sequence[NDArray[np.uint8]],
        targets: NDArray[np.intp],
        training: Sequence[int],
        validation: Sequence[int],
        config: PaperCNNConfig,
        *,
        context: int = 50_000,
        batch: int = 16,
        budget: int = 400_000,
        seed: int = 0,
        embedding: NDArray[np.float32] | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.network = PaperCNNNet(config, embedding).to(device())
        self._logs, self._targets, self._context = logs, targets, context
        self._training, self._validation = list(training), list(validation)
        self._batch, self._budget = batch, budget
        counts = np.bincount(targets[self._training], minlength=config.labels)
        weights = len(self._training) / np.maximum(counts, 1) / config.labels
        self._weights = torch.tensor(weights * (counts > 0), dtype=torch.float32, device=device())

    def steps(self) -> int:
        return len(self._packed(self._training))

    def batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Logs of like length together, in another mixture each epoch."""
        jitter = {i: len(self._logs[i]) * rng.uniform(0.8, 1.25) for i in self._training}
        packed = self._packed(sorted(self._training, key=jitter.__getitem__))
        for place in rng.permutation(len(packed)).tolist():
            yield packed[place]

    def _packed(self, order: Sequence[int]) -> list[list[int]]:
        """As many logs as the batch has; the number of batches does not hang on the order."""
        return [list(order[first : first + self._batch]) for first in range(0, len(order), self._batch)]

    def loss(self, batch: list[int]) -> Tensor:
        """Summed over parts that fit the memory, so a batch may be as large as the paper's."""
        targets = torch.tensor(self._targets[batch], device=device())
        scores = torch.cat([self.network(part) for part in self._parts(batch)])
        return nn.functional.cross_entropy(scores, targets, weight=self._weights)

    def _parts(self, batch: Sequence[int]) -> Iterator[Tensor]:
        part: list[int] = []
        longest = 0
        for i in batch:
            length = min(len(self._logs[i]), self._context)
            if part and max(longest, length) * (len(part) + 1) > self._budget:
                yield self._tensor(part)
                part, longest = [], 0
            part.append(i)
            longest = max(longest, length)
        yield self._tensor(part)

    def _tensor(self, part: Sequence[int]) -> Tensor:
        pool = self.network.config.pool
        length = -(-max(1, *(min(len(self._logs[i]), self._context) for i in part)) // pool) * pool  # whole windows
        symbols = np.zeros((len(part), length), dtype=np.int64)
        for row, i in enumerate(part):
            end = self._logs[i][-self._context :]
            symbols[row, : len(end)] = end
        return torch.tensor(symbols, device=device())

    def scores(self, runs: Sequence[int]) -> NDArray[np.float64]:
        """Shape (runs, labels), in their order."""
        self.network.eval()
        order = sorted(range(len(runs)), key=lambda place: len(self._logs[runs[place]]))
        found = np.zeros((len(runs), self.network.config.labels))
        with torch.no_grad():
            for first in range(0, len(order), self._batch):
                some = order[first : first + self._batch]
                parts = self._parts([runs[place] for place in some])
                found[some] = torch.cat([self.network(part) for part in parts]).double().cpu().numpy()
        return found

    def validate(self) -> Mapping[str, float]:
        scores, targets = self.scores(self._validation), self._targets[self._validation]
        loss = nn.functional.cross_entropy(torch.tensor(scores), torch.tensor(targets), weight=self._weights.double().cpu())
        said = scores.argmax(axis=1)
        return {
            "loss": float(loss),
            "macro_f1": float(f1_score(targets, said, average="macro", zero_division=0)),
            "accuracy": float((said == targets).mean()),
        }
