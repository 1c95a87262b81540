"""Message blocks in, an embedding of characters out: the sequence-to-sequence model of Ihalage et al., section III-A.

Input and target are `length` characters of the cleaned training text, the target one character later; embedding 64, LSTM of
1,024 units, dense layer over the vocabulary, cross-entropy. Its embedding initialises that of the published CNN. On a CPU at
most `blocks` sequences, drawn anew, make an epoch.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.networks.loop import device

__all__ = ["Characters", "Seq2SeqConfig", "Seq2SeqNet", "Seq2SeqTask", "load_embedding", "save_embedding"]


class Characters:
    """Characters as numbers from 1, in the order of their code; 0 is what the training text does not have, and padding."""

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = sorted(set(characters))
        self._number = {character: i for i, character in enumerate(self.characters, 1)}

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Characters":
        return cls(set().union(*texts))

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> NDArray[np.uint8]:
        number = self._number
        return np.fromiter((number.get(character, 0) for character in text), dtype=np.uint8, count=len(text))


@dataclass(frozen=True)
class Seq2SeqConfig:
    characters: int
    embedding: int = 64
    units: int = 1024


class Seq2SeqNet(nn.Module):
    """Characters (N, T) to scores of the next ones, (N, T, characters)."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.characters, config.embedding)
        self.lstm = nn.LSTM(config.embedding, config.units, batch_first=True)
        self.dense = nn.Linear(config.units, config.characters)

    def forward(self, symbols: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(symbols))
        return self.dense(states)


class Seq2SeqTask:
    """Sequences from anywhere in the training text; the same ones of the validation text after each epoch."""

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
        torch.manual_seed(seed)
        self.network = Seq2SeqNet(config).to(device())
        self._text, self._length, self._blocks, self._batch = text, length, blocks, batch
        rng = np.random.default_rng(seed)
        self._validation = self._sequences(validation, rng.integers(0, len(validation) - length, 256))

    def steps(self) -> int:
        return -(-self._blocks // self._batch)

    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        for _ in range(self.steps()):
            yield self._sequences(self._text, rng.integers(0, len(self._text) - self._length, self._batch))

    def _sequences(self, text: NDArray[np.uint8], starts: NDArray[np.int64]) -> Tensor:
        """Shape (N, length + 1): input and target overlap in all but one character."""
        places = starts[:, None] + np.arange(self._length + 1)
        return torch.tensor(text[places].astype(np.int64), device=device())

    def loss(self, batch: Tensor) -> Tensor:
        scores = self.network(batch[:, :-1])
        return nn.functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())

    def validate(self) -> Mapping[str, float]:
        scores = self.network(self._validation[:, :-1])
        targets = self._validation[:, 1:]
        return {
            "loss": float(nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())),
            "accuracy": float((scores.argmax(2) == targets).double().mean()),
        }


def save_embedding(path: Path, characters: Characters, network: Seq2SeqNet) -> None:
    """Plain arrays, and the characters as JSON beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, weights=network.embedding.weight.detach().cpu().numpy())
    path.with_suffix(".json").write_text(json.dumps(characters.characters, ensure_ascii=False) + "\n")


def load_embedding(path: Path, characters: Characters) -> NDArray[np.float32]:
    """Rows for `characters`, in their order; characters that the saved vocabulary lacks get its row of unknown ones."""
    known = Characters(json.loads(path.with_suffix(".json").read_text()))
    with np.load(path, allow_pickle=False) as file:
        weights: NDArray[np.float32] = file["weights"]
    rows = [0, *(int(known.encode(character)[0]) for character in characters.characters)]
    return weights[rows]
