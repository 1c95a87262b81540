"""Sizes of the published networks. Imports no torch, so that commands can check their options without it."""

from dataclasses import dataclass

__all__ = ["MAX_POOL", "PaperCNNConfig", "Seq2SeqConfig"]

# The position of a maximum inside its window is stored in a byte.
MAX_POOL = 256


@dataclass(frozen=True)
class PaperCNNConfig:
    """Sizes of the residual CNN (section III-B). With the defaults and 97 characters it has 0.79 M parameters, as published.

    Attributes:
        characters: Characters, with 0 for none.
        labels: Labels.
        layers: Conv1D layers; the paper has four.
        channels: Channels of each of them.
        dense: Units of the dense layer.
        embedding: Dimensions of a character.
        residual: Whether the layers are in residual pairs.
        bilstm: Whether a bidirectional LSTM reads the embedding first.
        lstm_units: Its units in each direction.
        pool: Characters whose maximum is taken after the first layer, 1 to 256; 1 is the network as the paper describes it.
        dropout: Share of the pooled and of the dense features that are zeroed in training.

    Raises:
        ValueError: `pool` is out of range.
    """

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
        if not 1 <= self.pool <= MAX_POOL:
            raise ValueError(f"the pool is {self.pool}; it must be from 1 to {MAX_POOL}")


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Sizes of the sequence-to-sequence model (section III-A): characters, dimensions of a character, LSTM units."""

    characters: int
    embedding: int = 64
    units: int = 1024
