"""Exports torch networks to ONNX and compares each file with the network it was made from before it is used."""

import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import Tensor, nn

from stream_triage.inference import Network
from stream_triage.stages.charcnn import PIECE_SYMBOLS
from training.networks.charcnn import CharCNNNet

__all__ = ["OPSET", "PARITY", "ExportError", "export_charcnn", "quantised", "to_onnx"]

OPSET = 17
# Largest difference between torch and onnxruntime that is accepted, in units of the features: their root mean square is 1.
PARITY = 1e-4


class ExportError(Exception):
    """An exported network computes something else than the network it was made from."""


def to_onnx(
    network: nn.Module, example: Mapping[str, Tensor], outputs: Sequence[str], free: Mapping[str, Mapping[int, str]]
) -> bytes:
    """Exports a network.

    Args:
        network: The network; it is left in evaluation mode.
        example: An input of each kind, by name, in the order of the network's arguments.
        outputs: Names of the outputs.
        free: For each input and output, the axes whose length may vary, with a name for each.

    Returns:
        The ONNX file.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # torch warns that export by tracing is the old way. It is enough here: no network branches on its data.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            tuple(example.values()),
            buffer,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in free.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


class _Windows(nn.Module):
    """The second part of the char-CNN with lines before channels, which is the order of the serving stage."""

    def __init__(self, network: CharCNNNet) -> None:
        super().__init__()
        self.run = network.run

    def forward(self, vectors: Tensor) -> Tensor:
        return self.run(vectors.transpose(1, 2))


def export_charcnn(network: CharCNNNet, window: int, seed: int = 0) -> tuple[bytes, bytes]:
    """Exports both parts of the char-CNN as `stages/charcnn.py` serves them.

    Args:
        network: The network; it is moved to the CPU.
        window: Lines W that one call of the second part gives features for.
        seed: Seed of the inputs for the comparison.

    Returns:
        The part that reads lines, symbols (N, T) to vectors (N, C); and the part that reads runs, vectors
        (N, W + 2 halo, C) to features (N, C, W).

    Raises:
        ExportError: onnxruntime computes something else than torch.
    """
    network = network.to("cpu").eval()
    rng = np.random.default_rng(seed)
    # Random inputs: any symbol beside any other reaches more of the network than lines of real logs.
    symbols = rng.integers(0, network.config.symbols, (5, PIECE_SYMBOLS))
    vectors = rng.normal(size=(3, window + 2 * network.run.halo, network.config.width)).astype(np.float32)
    lines = to_onnx(
        network.lines,
        {"symbols": torch.tensor(symbols[:, :32])},
        ["vectors"],
        {"symbols": {0: "pieces", 1: "length"}, "vectors": {0: "pieces"}},
    )
    run = to_onnx(
        _Windows(network),
        {"vectors": torch.tensor(vectors)},
        ["features"],
        {"vectors": {0: "windows"}, "features": {0: "windows"}},
    )
    with torch.no_grad():
        # Traced with 32 symbols and compared with 256: a length that was traced as a constant would show here.
        _compare("line part", Network(lines, ["symbols"], ["vectors"], "lines"), network.lines, symbols=symbols)
        _compare("run part", Network(run, ["vectors"], ["features"], "run"), _Windows(network), vectors=vectors)
    return lines, run


def _compare(name: str, exported: Network, network: nn.Module, **inputs: NDArray[np.generic]) -> None:
    expected = network(*(torch.tensor(value) for value in inputs.values())).numpy()
    difference = float(np.abs(exported(**inputs)[0] - expected).max())
    if difference > PARITY:
        raise ExportError(f"the exported {name} differs from the trained one by {difference:.2g}; it must not be served")


class _Batches(CalibrationDataReader):
    """Hands batches of symbols to onnxruntime, one by one."""

    def __init__(self, batches: Iterable[NDArray[np.int64]]) -> None:
        self._left: Iterator[NDArray[np.int64]] = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.int64]] | None:
        """The next batch, None at the end."""
        batch = next(self._left, None)
        return None if batch is None else {"symbols": batch}


def quantised(lines: bytes, batches: Iterable[NDArray[np.int64]]) -> bytes:
    """The line part of the char-CNN in int8 (static quantisation, QDQ, weights by channel).

    Weights use 7 bits. Processors without VNNI instructions add two products in 16 bits, which overflows with 8-bit weights,
    so that a verdict would depend on the machine (onnxruntime, "Quantize ONNX models", `reduce_range`).

    Args:
        lines: The ONNX file in fp32.
        batches: Symbols (N, T) whose activations set the ranges of int8.
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "lines.onnx", Path(folder) / "lines8.onnx"
        whole.write_bytes(lines)
        logging.disable(logging.WARNING)  # onnxruntime recommends a step that only helps larger networks
        try:
            quantize_static(
                whole,
                small,
                _Batches(batches),
                quant_format=QuantFormat.QDQ,
                # With one scale for all channels, those with small weights would be rounded away.
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)
        return small.read_bytes()
