"""The residual char-CNN, in two shapes of about equal size: symbols of folded masked lines in, label scores out.

The shape `lines` reads one line at a time, so that its vector can be computed once for all lines like it, and then the
sequence of these vectors in each source. The shape `plain` reads the text of a source as one stream of characters, as the
published network does (Ihalage et al., "Convolutional vs Large Language Models for Software Log Classification in
Edge-Deployable Cellular Network Testing", section III-B and Fig. 3).

Departures from the paper:

- The first convolution takes eight characters in steps of four, so that a character costs 9,000 multiplications instead of
  56,000.
- Only one linear layer follows the global maximum. The score of a label is then a sum over features, each of which comes
  from one line, and the line's share in a verdict is exact.
- A norm at each position. Without it the global maximum passes on ever larger values (training/LOG.md, 2026-11-22).
- No pre-trained embedding.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["CharCNNConfig", "CharCNNNet", "LineReader", "RMSNorm", "RunReader"]


@dataclass(frozen=True)
class CharCNNConfig:
    """Sizes of the network.

    Attributes:
        symbols: Symbols of the alphabet, padding and the unknown symbol included.
        labels: Labels.
        shape: `lines` or `plain`.
        embedding: Dimensions of a symbol.
        channels: Channels after the first convolution.
        width: Dimensions of a line's vector and of what is pooled over a run.
        run_blocks: Blocks that read the sequence of lines.
        residual: Whether blocks are added to their input.
        dropout: Share of the pooled features that are zeroed in training.
    """

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
    """Scales each position so that the root mean square over its channels is one (Zhang and Sennrich 2019).

    A global maximum only ever passes on the largest activation, and after ReLU no activation is negative. Its gradients
    probably add up in one direction: without a norm the loss ran away at a learning rate of 1e-3. A bound at each position
    prevents that and, unlike a batch norm, does not depend on the other runs of a batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The learned gain gives a channel its scale back, where that carries information.
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, C, 1, T) in and out."""
        # The mean is over channels alone, so a position does not depend on its neighbours, and windows give what whole runs
        # give.
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-5) * self.gain


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    """A Conv1D as a Conv2d of height one: onnxruntime's kernels for that are 1.6 times as fast."""
    return nn.Conv2d(inputs, outputs, (1, kernel), (1, stride), (0, padding))


class Block(nn.Module):
    """Convolution, ReLU, convolution, added to the input: the residual pair of Fig. 3.

    With `same` positions are padded with zeros. Without it nothing is padded, and two positions are lost at each end: the
    serving stage cuts a run into windows that overlap by these, so that windows give what the whole run would give.
    """

    def __init__(self, inputs: int, outputs: int, *, residual: bool, same: bool, norm: bool) -> None:
        super().__init__()
        padding = 1 if same else 0
        # The norm is on the branch, not on the sum: the residual path stays free of it, as in pre-norm transformers.
        self.norm = RMSNorm(inputs) if norm else nn.Identity()
        self.first = _conv(inputs, outputs, 3, padding=padding)
        self.second = _conv(outputs, outputs, 3, padding=padding)
        # The input must have as many channels as the output to be added to it.
        self.beside = _conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.residual, self.same = residual, same
        if residual:
            # A block starts as the identity, so that depth costs nothing at first (Zhang et al., "Fixup", 2019).
            nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (N, inputs, 1, T) to (N, outputs, 1, T), or T - 4 without `same`."""
        # Two convolutions of three positions see two neighbours on each side, hence the halo of two for each block.
        y = self.second(torch.relu(self.first(self.norm(x))))
        if not self.residual:
            return torch.relu(y)
        # Without padding the input is two positions longer at each end than the branch; it is cut to match.
        return self.beside(x if self.same else x[..., 2:-2]) + y


class LineReader(nn.Module):
    """The first part: symbols of padded pieces of lines to a vector for each piece."""

    def __init__(self, config: CharCNNConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.symbols, config.embedding)
        # Eight characters in steps of four, then a maximum over pairs: an eighth of the positions is left for the block.
        self.stem = _conv(config.embedding, config.channels, 8, 4, 2)
        self.pool = nn.MaxPool2d((1, 2))
        self.block = Block(config.channels, config.width, residual=config.residual, same=True, norm=False)
        # All vectors get the same length, so that a long line has no more weight than a short one.
        self.norm = RMSNorm(config.width)

    def positions(self, symbols: Tensor) -> Tensor:
        """Features along the text: shape (N, T), T a multiple of 8, to (N, width, 1, T / 8)."""
        # Channels first, and a height of one for the two-dimensional convolutions.
        x: Tensor = self.embedding(symbols).transpose(1, 2).unsqueeze(2)
        return torch.relu(self.block(self.pool(torch.relu(self.stem(x)))))

    def forward(self, symbols: Tensor) -> Tensor:
        """Shape (N, T), T a multiple of 8, to (N, width)."""
        # A maximum over the line, so that a telling word counts the same wherever it is (global max pooling, section
        # III-B).
        return self.norm(self.positions(symbols).amax(3, keepdim=True)).flatten(1)


class RunReader(nn.Module):
    """The second part: vectors of a source's lines to features of each line, made from it and its neighbours.

    Attributes:
        halo: Neighbours on each side that a line's features depend on.
    """

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
        """Shape (N, width, T) to (N, width, T - 2 halo); the ReLU keeps features from 0 up."""
        return torch.relu(self.norm(self.blocks(vectors.unsqueeze(2)))).squeeze(2)


class CharCNNNet(nn.Module):
    """Either shape, and the linear layer that turns the maxima of a run's features into label scores."""

    def __init__(self, config: CharCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.lines = LineReader(config)
        self.run = RunReader(config)
        # Dropout on the pooled features: no label may rest on a single feature, and with it on a single line.
        self.dropout = nn.Dropout(config.dropout)
        self.linear = nn.Linear(config.width, config.labels)
        self.pool = nn.MaxPool2d((1, 2))

    def plain_features(self, symbols: Tensor) -> Tensor:
        """Features of whole texts in the shape `plain`: (N, T), T a multiple of 32, to (N, width, T / 32).

        The blocks are those of the second part, but they read characters: the maximum over pairs before each of them halves
        the positions, and padding keeps their number.
        """
        # The stem of the other shape, without the maximum over a line: the stream knows no lines.
        x = self.lines.norm(self.lines.positions(symbols))
        for block in self.run.blocks:
            x = block(nn.functional.pad(self.pool(x), (2, 2)))
        return torch.relu(self.run.norm(x)).squeeze(2)

    def scores(self, maxima: Tensor) -> Tensor:
        """Maxima over a run, shape (B, width), to label scores, (B, labels)."""
        return self.linear(self.dropout(maxima))
