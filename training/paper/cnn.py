"""The residual CNN of section III-B, with its published variants: cleaned logs in, label scores out.

An embedding of 64 (from seq2seq.py, or random), a Conv1D that widens it, up to four Conv1D layers in residual pairs, global
maximum, dense layers, softmax (Fig. 3); 0.79 M parameters with four layers. `bilstm` puts a bidirectional LSTM after the
embedding (2.1 M, section IV-A). Logs longer than the context keep their end, where failures show. Shorter logs are padded,
and the padding is kept out of the maximum.

Departures from the paper, which names neither widths, kernels nor strides:

- `pool` takes the maximum of neighbours after the first layer (1: as described). At stride 1 a log of 50,000 characters
  costs 36 billion multiplications.
- A norm at each position. Without it the global maximum passes on ever larger values (training/LOG.md, 2026-11-22).
- A batch norm after the global maximum, which is nearly the same for all logs at first. Without it nothing is learned in
  eight epochs (training/LOG.md, 2026-11-25).
- The first convolution is looked up in a table. The result is the same for a sixtieth of the work.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks.charcnn import RMSNorm
from training.paper.config import PaperCNNConfig

__all__ = ["PaperCNNNet"]

KERNEL = 5
# Lower limit of a maximum. A log without a single character has no maximum, and the lowest float overflows in the norm.
LOWEST_MAXIMUM = -1e4


class PaperCNNNet(nn.Module):
    """Characters (N, T), 0 for none, to label scores (N, labels); T must be a multiple of the pool."""

    def __init__(self, config: PaperCNNConfig, embedding: NDArray[np.float32] | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.characters, config.embedding, padding_idx=0)
        if embedding is not None:
            self.embedding.weight.data.copy_(torch.tensor(embedding))
        inputs = config.embedding
        if config.bilstm:
            self.lstm = nn.LSTM(inputs, config.lstm_units, batch_first=True, bidirectional=True)
            # Both directions of the LSTM side by side.
            inputs = 2 * config.lstm_units
        widths = [inputs, *[config.channels] * config.layers]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, (1, KERNEL), padding=(0, KERNEL // 2)) for a, b in pairwise(widths))
        # One norm for each layer, on its output, before it is added to the residual path.
        self.norms = nn.ModuleList(RMSNorm(config.channels) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.dense = nn.Sequential(
            # See the departures: the maxima of all logs are nearly the same at first, and what distinguishes them is small.
            nn.BatchNorm1d(config.channels),
            nn.Linear(config.channels, config.dense),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense, config.labels),
        )

    def forward(self, symbols: Tensor) -> Tensor:
        """Shape (N, T) to (N, labels)."""
        return self.scores(self.pooled(symbols))

    def scores(self, pooled: Tensor) -> Tensor:
        """Maxima (N, channels) of all logs of a batch to label scores; in training the batch norm needs them together."""
        return self.dense(self.dropout(pooled))

    def pooled(self, symbols: Tensor) -> Tensor:
        """Maximum of each channel over the log: (N, T) to (N, channels)."""
        present = symbols != 0
        windows = (len(symbols), -1, self.config.pool)
        x = self._with_lstm(symbols) if self.config.bilstm else self._looked_up(symbols)
        x = torch.relu(x)
        # A window with a single character is present; only windows of padding alone are left out.
        present = present.view(windows).any(2)[:, None, None]
        x = self.norms[0](x.transpose(1, 2).unsqueeze(2))
        for conv, norm in zip(self.convs[1:], self.norms[1:], strict=True):
            # A convolution carries values into the padding; zeros there keep a log's scores the same in any batch.
            y = norm(torch.relu(conv(x * present)))
            x = x + y if self.config.residual else y
        lowest = torch.finfo(x.dtype).min
        return torch.clamp(x.masked_fill(~present, lowest).amax(3).flatten(1), min=LOWEST_MAXIMUM)

    def _with_lstm(self, symbols: Tensor) -> Tensor:
        """First convolution after the LSTM, and its maximum in each window: shape (N, T / pool, channels)."""
        present = (symbols != 0)[..., None]
        x, _ = self.lstm(self.embedding(symbols))
        x = self.convs[0]((x * present).transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        x = x.masked_fill(~present, -torch.inf).reshape(len(x), -1, self.config.pool, x.shape[2])
        return x.amax(2)

    def _looked_up(self, symbols: Tensor) -> Tensor:
        """First convolution without an LSTM, and its maximum in each window: shape (N, T / pool, channels).

        A convolution over an embedding adds, for each position of its kernel, a vector that depends on the character there
        alone. With some hundred characters these vectors are few: they are computed once, as the rows of a table, and the
        convolution becomes a sum of five rows.
        """
        conv = self.convs[0]
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        # Padding adds nothing, whatever row 0 of a loaded embedding holds.
        embedding = torch.cat([torch.zeros_like(self.embedding.weight[:1]), self.embedding.weight[1:]])
        # One row for each position of the kernel and each character.
        table = torch.einsum("ve,cek->kvc", embedding, conv.weight.squeeze(2)).flatten(0, 1)
        offsets = torch.arange(KERNEL, device=symbols.device) * len(embedding)
        rows = nn.functional.pad(symbols, (KERNEL // 2, KERNEL // 2)).unfold(1, KERNEL, 1) + offsets
        return _WindowMaximum.apply(table, rows, symbols != 0, self.config.pool) + conv.bias


class _WindowMaximum(torch.autograd.Function):
    """Sums of table rows at each position and their maximum in each window; -inf in a window without a character.

    torch would compute a gradient for every position. All but the positions of the maxima get zero, so only those are
    visited here: the backward pass costs one position in `pool`.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, present: Tensor, pool: int) -> Tensor:
        """`table` (K, C), row numbers `rows` (N, T, kernel) and `present` (N, T) to maxima (N, T / pool, C)."""
        nothing = table.new_full((1, table.shape[1]), -torch.inf)
        with_nothing = torch.cat([table, nothing])
        rows = rows.masked_fill(~present[..., None], len(table)).view(len(rows), -1, pool, rows.shape[2])
        values = nothing.expand(*rows.shape[:2], -1).contiguous()
        at = torch.zeros(values.shape, dtype=torch.uint8, device=table.device)
        for position in range(pool):  # one position of all windows at a time, so that the sums stay in the cache
            sums = nn.functional.embedding_bag(rows[:, :, position].flatten(0, 1), with_nothing, mode="sum")
            sums = sums.view(values.shape)
            # Positions rise, so the largest position with a new maximum is the position of the maximum.
            torch.maximum(at, (sums > values).view(torch.uint8).mul_(position), out=at)
            torch.maximum(values, sums, out=values)
        ctx.save_for_backward(rows.flatten(1, 2), at)
        ctx.table_rows, ctx.pool = len(table), pool
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Gradient of the maxima (N, T / pool, C) to that of the table (K, C)."""
        rows, at = ctx.saved_tensors
        count, windows, channels = gradient.shape
        # From positions in their windows to positions in the log.
        at = (at.long() + torch.arange(windows, device=at.device)[:, None] * ctx.pool).view(count, -1)
        channel = torch.arange(channels, device=at.device).repeat(windows)
        of_table = gradient.new_zeros((ctx.table_rows + 1) * channels)
        for position in range(rows.shape[2]):
            # The gradient of a sum of rows is the gradient itself, for each of its rows.
            of_table.index_add_(0, (rows[:, :, position].gather(1, at) * channels + channel).view(-1), gradient.reshape(-1))
        return of_table.view(-1, channels)[:-1], None, None, None
