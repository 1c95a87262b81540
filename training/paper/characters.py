"""Characters as numbers, and the stored embeddings of characters. Imports no torch."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Characters", "load_embedding", "save_embedding"]


class Characters:
    """Characters numbered from 1 in the order of their code points; 0 is any other character, and padding."""

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = sorted(set(characters))
        self._number = {character: i for i, character in enumerate(self.characters, 1)}

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Characters":
        """All characters of some texts; those of the TM500 logs in the paper are 97."""
        return cls(set().union(*texts))

    def __len__(self) -> int:
        return len(self.characters) + 1

    def encode(self, text: str) -> NDArray[np.uint8]:
        """Numbers of the characters of a text, shape (length,)."""
        number = self._number
        return np.fromiter((number.get(character, 0) for character in text), dtype=np.uint8, count=len(text))


def save_embedding(path: Path, characters: Characters, weights: NDArray[np.float32]) -> None:
    """Writes the embedding, shape (characters, D), as an .npz file, and the characters as a .json file beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, weights=weights)
    path.with_suffix(".json").write_text(json.dumps(characters.characters, ensure_ascii=False) + "\n")


def load_embedding(path: Path, characters: Characters) -> NDArray[np.float32]:
    """Rows for `characters`, in their order; characters that were not saved get the row of unknown characters."""
    saved = Characters(json.loads(path.with_suffix(".json").read_text()))
    with np.load(path, allow_pickle=False) as file:
        weights: NDArray[np.float32] = file["weights"]
    rows = [0, *(int(saved.encode(character)[0]) for character in characters.characters)]
    return weights[rows]
