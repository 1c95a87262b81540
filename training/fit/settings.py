"""Settings for fitting a bundle and its networks: frozen dataclasses that import neither torch nor any other model code.

They are apart from the code that uses them, so that a bundle without networks can be fitted where torch is not installed,
and so that fit/bundle.py and fit/networks.py do not have to import each other.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stream_triage.dialects import DialectTable

__all__ = ["BundleSettings", "CharCNNSettings", "LogGPTSettings"]


@dataclass(frozen=True)
class CharCNNSettings:
    """Sizes of the char-CNN and how it is trained; the alphabet and the labels add the other sizes of its network.

    Attributes:
        shape: `lines` reads line by line and is the one that serves; `plain` reads a source as one stream of characters.
        residual: Whether blocks are added to their input.
        batch: Runs in a batch.
        epochs: Epochs at most; training stops earlier after `patience` epochs without a better validation loss.
        learning_rate: Highest learning rate, reached after the warm-up.
        patience: Epochs without improvement after which training stops.
        weight_decay: Of the weight matrices; biases, norms and embeddings do not decay.
        line_dropout: Share of the lines of each run that are left out in each epoch, so that no single line decides.
        dropout: Share of the pooled features that are zeroed in training.
        class_weight_power: 1 weights labels inversely to their number of runs, 0 weights all labels equally.
        embedding: Dimensions of a character.
        channels: Channels after the first convolution.
        width: Dimensions of a line's vector and of what is pooled over a run.
        run_blocks: Blocks that read the sequence of lines.
    """

    shape: Literal["lines", "plain"] = "lines"
    residual: bool = True
    batch: int = 32
    epochs: int = 8
    learning_rate: float = 2e-3
    patience: int = 3
    weight_decay: float = 0.01
    line_dropout: float = 0.1
    dropout: float = 0.1
    class_weight_power: float = 0.5
    embedding: int = 16
    channels: int = 64
    width: int = 64
    run_blocks: int = 2


@dataclass(frozen=True)
class LogGPTSettings:
    """Sizes of the next-key network and how it is trained.

    Attributes:
        layers: Transformer blocks.
        width: Dimensions of a key.
        heads: Attention heads; must divide `width`.
        stride: Keys that one window scores; a window reads twice as many.
        max_keys: Keys in the vocabulary at most. It bounds the cost of the output layer, which every key pays.
        dropout: Dropout of embeddings, attention and residual branches.
        unknown_share: Share of the keys that are hidden in training, so that the network has seen the unknown key.
        batch: Windows in a batch.
        epochs: Epochs at most; training stops earlier after `patience` epochs without a better validation loss.
        learning_rate: Highest learning rate, reached after the warm-up.
        patience: Epochs without improvement after which training stops.
        weight_decay: Of the weight matrices; biases, norms and embeddings do not decay.
        folds: Folds for the limits, each with a network of its own.
    """

    layers: int = 2
    width: int = 64
    heads: int = 2
    stride: int = 128
    max_keys: int = 1000
    dropout: float = 0.1
    unknown_share: float = 0.02
    batch: int = 8
    epochs: int = 40
    learning_rate: float = 3e-3
    patience: int = 8
    weight_decay: float = 0.01
    folds: int = 3


def _ignore(message: str) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class BundleSettings:
    """Name of a bundle and which models are fitted for it.

    Attributes:
        name: Name of the bundle.
        version: Version of the bundle.
        models: `all`, or `baseline` for a bundle without networks, which needs no torch.
        next_key: Whether the next-key network is trained; without it only the plain detector gives the anomaly score.
        charcnn: Settings of the char-CNN.
        loggpt: Settings of the next-key network.
        checkpoints: Folder where the networks are saved after each epoch and from which an interrupted training continues.
        rules: Rules file (TOML) that the bundle will carry.
        dialects: Dialects of the user's own, by which the logs are read. The bundle does not carry them.
        report: Called with a line of text after each epoch, and when a model cannot be trained.
    """

    name: str
    version: str = "1"
    models: Literal["all", "baseline"] = "all"
    next_key: bool = True
    charcnn: CharCNNSettings = field(default_factory=CharCNNSettings)
    loggpt: LogGPTSettings = field(default_factory=LogGPTSettings)
    checkpoints: Path | None = None
    rules: Path | None = None
    dialects: tuple[DialectTable, ...] = ()
    report: Callable[[str], None] = _ignore
