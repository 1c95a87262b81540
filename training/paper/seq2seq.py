"""The sequence-to-sequence model of section III-A: text in, an embedding of its characters out.

Input and target are `length` characters of the cleaned training text, the target one character later (the paper's l_w = 1);
`length` is the median length of a message block. Embedding of 64, LSTM of 1,024 units, dense layer over the characters,
cross-entropy (equations 1 and 2). The embedding initialises that of the published CNN.

Departure: on a CPU an epoch has at most `blocks` sequences, drawn anew, instead of all of them.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks.loop import device
from training.paper.config import Seq2SeqConfig

__all__ = ["Seq2SeqNet", "Seq2SeqTask"]

# Sequences of the validation text, the same ones after each epoch.
VALIDATION_SEQUENCES = 256


class Seq2SeqNet(nn.Module):
    """Characters (N, T) to the scores of the character after each of them, (N, T, characters)."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.characters, config.embedding)
        self.lstm = nn.LSTM(config.embedding, config.units, batch_first=True)
        self.dense = nn.Linear(config.units, config.characters)

    def forward(self, symbols: Tensor) -> Tensor:
        """Shape (N, T) to (N, T, characters)."""
        states, _ = self.lstm(self.embedding(symbols))
        return self.dense(states)

    def weights(self) -> NDArray[np.float32]:
        """The embedding, shape (characters, D)."""
        return np.asarray(self.embedding.weight.detach().cpu().numpy())


class Seq2SeqTask:
    """The model with its training and validation text; see `training.networks.loop.Task`."""

    def __init__(
        self,
        text: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        config: Seq2SeqConfig,
        *,
        length: int,
        blocks: int = 20_000,
        batch: int = 64,
        seed: int = 0,
    ) -> None:
        """Creates an untrained model.

        Args:
            text: The encoded training text.
            validation: The encoded validation text.
            config: Sizes.
            length: Characters of a sequence.
            blocks: Sequences in an epoch.
            batch: Sequences in a batch.
            seed: Seed of the first weights and of the validation sequences.
        """
        torch.manual_seed(seed)
        self.network = Seq2SeqNet(config).to(device())
        self._text, self._length, self._blocks, self._batch = text, length, blocks, batch
        rng = np.random.default_rng(seed)
        # Drawn once, so that the losses of the epochs are comparable.
        starts = rng.integers(0, len(validation) - length, VALIDATION_SEQUENCES)
        self._validation = self._sequences(validation, starts)

    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-self._blocks // self._batch)

    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """Sequences from anywhere in the training text."""
        for _ in range(self.steps()):
            yield self._sequences(self._text, rng.integers(0, len(self._text) - self._length, self._batch))

    def _sequences(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> Tensor:
        """Shape (N, length + 1): input and target are the same but for the first and the last character."""
        positions = starts[:, None] + np.arange(self._length + 1)
        return torch.tensor(text[positions].astype(np.int64), device=device())

    def loss(self, batch: Tensor) -> Tensor:
        """Mean cross-entropy of the characters of a batch."""
        scores = self.network(batch[:, :-1])
        return nn.functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())

    def validate(self) -> Mapping[str, float]:
        """Loss, and the share of the characters that were the likeliest."""
        scores = self.network(self._validation[:, :-1])
        targets = self._validation[:, 1:]
        return {
            "loss": float(nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())),
            "accuracy": float((scores.argmax(2) == targets).double().mean()),
        }
