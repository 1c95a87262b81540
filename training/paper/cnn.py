"""Cleaned logs in, label scores out: the residual CNN of Ihalage et al., section III-B, with its published variants.

Embedding of 64 (from seq2seq.py or random), a Conv1D that widens it, up to four Conv1D layers in residual pairs, global
maximum, dense layers, softmax; 0.79 M parameters with four layers. `bilstm` puts a bidirectional LSTM behind the embedding
(2.1 M). Logs longer than the context keep their end, where failures show; shorter ones are padded and the padding is kept
out of the maximum.

Departures: the paper names neither widths, kernels nor strides. At stride 1 a log of 50,000 characters costs 36 billion
multiplications; `pool` takes the maximum of so many neighbours behind the first layer (1: as described). A norm at each
position, without which the maximum passes ever larger values (LOG.md, 2026-11-22). A batch norm behind the global maximum,
which is nearly the same for all logs at first: without it nothing is learned in eight epochs (LOG.md, 2026-11-25). The first
convolution over the embedding is looked up, the same numbers for a sixtieth of the work: what a character adds at each place
of the kernel is one row of a table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import Tensor, nn

from training.networks.charcnn import RMSNorm
from training.networks.loop import class_weights, device

__all__ = ["PaperCNNConfig", "PaperCNNNet", "PaperCNNTask"]

KERNEL = 5
MOST_POOLED = 256
"""Places of a window are counted in a byte."""


@dataclass(frozen=True)
class PaperCNNConfig:
    """Sizes; with the defaults and 97 characters the network has 0.79 M parameters. Raises `ValueError` for no such pool."""

    characters: int
    labels: int
    layers: int = 4
    channels: int = 210
    dense: int = 256
    embedding: int = 64
    residual: bool = True
    bilstm: bool = False
    lstm_units: int = 280
    pool: int = 32
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.pool <= MOST_POOLED:
            raise ValueError(f"the pool is {self.pool}; it must be from 1 to {MOST_POOLED}")


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
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Sequential(
            nn.BatchNorm1d(config.channels),
            nn.Linear(config.channels, config.dense),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense, config.labels),
        )

    def forward(self, symbols: Tensor) -> Tensor:
        return self.scores(self.pooled(symbols))

    def scores(self, pooled: Tensor) -> Tensor:
        """From the maxima (N, channels) of logs that make a batch together."""
        return self.dense(self.dropout(pooled))

    def pooled(self, symbols: Tensor) -> Tensor:
        """Maximum of each channel over the log, shape (N, channels)."""
        there = symbols != 0
        windows = (len(symbols), -1, self.config.pool)
        x = self._with_lstm(symbols) if self.config.bilstm else self._looked_up(symbols)
        x = torch.relu(x)
        there = there.view(windows).any(2)[:, None, None]
        x = self.norms[0](x.transpose(1, 2).unsqueeze(2))
        for conv, norm in zip(self.convs[1:], self.norms[1:], strict=True):
            y = norm(torch.relu(conv(x * there)))
            x = x + y if self.config.residual else y
        lowest = torch.finfo(x.dtype).min
        return torch.clamp(x.masked_fill(~there, lowest).amax(3).flatten(1), min=-1e4)

    def _with_lstm(self, symbols: Tensor) -> Tensor:
        """First convolution behind the LSTM and its maximum in each window, shape (N, T / pool, channels)."""
        there = (symbols != 0)[..., None]
        x, _ = self.lstm(self.embedding(symbols))
        x = self.convs[0]((x * there).transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        x = x.masked_fill(~there, -torch.inf).reshape(len(x), -1, self.config.pool, x.shape[2])
        return x.amax(2)

    def _looked_up(self, symbols: Tensor) -> Tensor:
        """The same without LSTM."""
        conv = self.convs[0]
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        embedding = torch.cat([torch.zeros_like(self.embedding.weight[:1]), self.embedding.weight[1:]])
        table = torch.einsum("ve,cek->kvc", embedding, conv.weight.squeeze(2)).flatten(0, 1)
        places = torch.arange(KERNEL, device=symbols.device) * len(embedding)
        rows = nn.functional.pad(symbols, (KERNEL // 2, KERNEL // 2)).unfold(1, KERNEL, 1) + places
        return _WindowMaximum.apply(table, rows, symbols != 0, self.config.pool) + conv.bias


class _WindowMaximum(torch.autograd.Function):
    """Sums of table rows at each place, and their maximum in each window; -inf in a window where nothing is.

    Torch would send a gradient to every place. All but the places of the maximum get zero, so only those are visited.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, there: Tensor, pool: int) -> Tensor:
        """`table` (K, C), `rows` (N, T, kernel) numbers of its rows, `there` (N, T), to (N, T / pool, C)."""
        nothing = table.new_full((1, table.shape[1]), -torch.inf)
        with_nothing = torch.cat([table, nothing])
        rows = rows.masked_fill(~there[..., None], len(table)).view(len(rows), -1, pool, rows.shape[2])
        values = nothing.expand(*rows.shape[:2], -1).contiguous()
        at = torch.zeros(values.shape, dtype=torch.uint8, device=table.device)
        for place in range(pool):  # one place of all windows, not all at once: it stays in the cache
            sums = nn.functional.embedding_bag(rows[:, :, place].flatten(0, 1), with_nothing, mode="sum").view(values.shape)
            torch.maximum(at, (sums > values).view(torch.uint8).mul_(place), out=at)
            torch.maximum(values, sums, out=values)
        ctx.save_for_backward(rows.flatten(1, 2), at)
        ctx.table_rows, ctx.pool = len(table), pool
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        rows, at = ctx.saved_tensors
        count, windows, channels = gradient.shape
        at = (at.long() + torch.arange(windows, device=at.device)[:, None] * ctx.pool).view(count, -1)
        channel = torch.arange(channels, device=at.device).repeat(windows)
        of_table = gradient.new_zeros((ctx.table_rows + 1) * channels)
        for place in range(rows.shape[2]):
            of_table.index_add_(0, (rows[:, :, place].gather(1, at) * channels + channel).view(-1), gradient.reshape(-1))
        return of_table.view(-1, channels)[:-1], None, None, None


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
        self._weights = class_weights(targets[self._training], config.labels).to(device())

    def steps(self) -> int:
        return len(self._packed(self._training))

    def batches(self, rng: np.random.Generator) -> Iterator[list[int]]:
        """Logs of like length together, in another mixture each epoch."""
        jitter = {i: len(self._logs[i]) * rng.uniform(0.8, 1.25) for i in self._training}
        packed = self._packed(sorted(self._training, key=jitter.__getitem__))
        for place in rng.permutation(len(packed)).tolist():
            yield packed[place]

    def _packed(self, order: Sequence[int]) -> list[list[int]]:
        """As many logs as the batch has, and no batch of a single one; their number does not hang on the order."""
        packed = [list(order[first : first + self._batch]) for first in range(0, len(order), self._batch)]
        if len(packed) > 1 and len(packed[-1]) == 1:
            packed[-2:] = [packed[-2] + packed[-1]]
        return packed

    def loss(self, batch: list[int]) -> Tensor:
        """Summed over parts that fit the memory, so a batch may be as large as the paper's."""
        targets = torch.tensor(self._targets[batch], device=device())
        scores = self.network.scores(torch.cat([self.network.pooled(part) for part in self._parts(batch)]))
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
