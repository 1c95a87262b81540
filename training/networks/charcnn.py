"""Folded masked lines in, label scores out: the residual char-CNN, in two shapes of about equal size.

`lines` reads one line at a time (its vector can be remembered for every line like it) and then the vectors of the lines of
a source; `plain` reads the text of a source as one stream of characters, as the published network does (Ihalage et al.,
"Convolutional vs Large Language Models for Software Log Classification in Edge-Deployable Cellular Network Testing").

Departures from the paper: a stem that takes eight characters every four, so that a character costs 9,000 multiplications
instead of 56,000; one linear layer after the global maximum, so that a label's score is a sum over places; a norm at each
position, without which the maximum passes ever larger values (training/LOG.md, 2026-11-22); no pre-trained embedding.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["CharCNNConfig", "CharCNNNet", "LineReader", "RunReader"]


@dataclass(frozen=True)
class CharCNNConfig:
    """Sizes. `channels` of the stem, `width` of a line's vector and of what is pooled over a run."""

    symbols: int
    labels: int
    shape: Literal["lines", "plain"] = "lines"
    embedding: int = 16
    channels: int = 64
    width: int = 64
    run_blocks: int = 2
    residual: bool = True
    dropout: float = 0.1


class RMSNorm(nn.Module):
    """Bounds each position: root mean square over the channels becomes one (Zhang and Sennrich 2019). Shape (N, C, 1, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-5) * self.gain


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A Conv1D written as a Conv2d of height one, for which onnxruntime has its fast kernels (1.6 times here)."""
    return nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), (0, padding))


class Block(nn.Module):
    """conv, ReLU, conv, added to its input. Without `same` nothing is padded and two positions go at each end."""

    def __init__(self, inputs: int, outputs: int, *, residual: bool, same: bool, norm: bool) -> None:
        super().__init__()
        padding = 1 if same else 0
        self.norm = RMSNorm(inputs) if norm else nn.Identity()
        self.first = _conv(inputs, outputs, 3, padding=padding)
        self.second = _conv(outputs, outputs, 3, padding=padding)
        self.beside = _conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.residual, self.same = residual, same
        if residual:
            nn.init.zeros_(self.second.weight)  # a block begins as its input (Zhang et al., "Fixup", 2019)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(torch.relu(self.first(self.norm(x))))
        if not self.residual:
            return torch.relu(y)
        return self.beside(x if self.same else x[..., 2:-2]) + y


class LineReader(nn.Module):
    """Symbols of padded pieces, shape (N, T) with T a multiple of 8, to their vectors, shape (N, width)."""

    def __init__(self, config: CharCNNConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.symbols, config.embedding)
        self.stem = _conv(config.embedding, config.channels, 8, 4, 2)
        self.pool = nn.MaxPool2d((1, 2))
        self.block = Block(config.channels, config.width, residual=config.residual, same=True, norm=False)
        self.norm = RMSNorm(config.width)

    def positions(self, symbols: Tensor) -> Tensor:
        """Shape (N, width, 1, T / 8)."""
        x: Tensor = self.embedding(symbols).transpose(1, 2).unsqueeze(2)
        return torch.relu(self.block(self.pool(torch.relu(self.stem(x)))))

    def forward(self, symbols: Tensor) -> Tensor:
        return self.norm(self.positions(symbols).amax(3, keepdim=True)).flatten(1)


class RunReader(nn.Module):
    """Vectors (N, width, T) to features of the places that have `halo` neighbours on each side, (N, width, T - 2 halo)."""

    def __init__(self, config: CharCNNConfig) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                Block(config.width, config.width, residual=config.residual, same=False, norm=True)
                for _ in range(config.run_blocks)
            )
        )
        self.norm = RMSNorm(config.width)
        self.halo = 2 * config.run_blocks

    def forward(self, vectors: Tensor) -> Tensor:
        return torch.relu(self.norm(self.blocks(vectors.unsqueeze(2)))).squeeze(2)


class CharCNNNet(nn.Module):
    """Either shape, with the linear layer on the maxima of a run's features."""

    def __init__(self, config: CharCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.lines = LineReader(config)
        self.run = RunReader(config)
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.width, config.labels)
        # Plain: the second part works on characters, pooled twice more, and pads.
        self.pool = nn.MaxPool2d((1, 2))

    def plain_features(self, symbols: Tensor) -> Tensor:
        """Symbols of whole texts, (N, T) with T a multiple of 32, to features (N, width, T / 32)."""
        x = self.lines.norm(self.lines.positions(symbols))
        for block in self.run.blocks:
            x = block(nn.functional.pad(self.pool(x), (2, 2)))
        return torch.relu(self.run.norm(x)).squeeze(2)

    def scores(self, maxima: Tensor) -> Tensor:
        """Maxima over a run, shape (B, width), to scores of the labels, (B, labels)."""
        return self.linear(self.dropout(maxima))
