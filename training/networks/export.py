"""Torch networks in, ONNX files out, each compared with the network it was made from before it is used."""

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
# Largest difference between torch and onnxruntime that passes, in units of the features (their root mean square is 1).
PARITY = 1e-4


class ExportError(Exception):
    """An exported network does not answer as the one it was made from."""


def to_onnx(
    network: nn.Module, example: Mapping[str, Tensor], outputs: Sequence[str], free: Mapping[str, Mapping[int, str]]
) -> bytes:
    """ONNX file of `network`; `example` has its inputs by name, `free` the axes whose length may vary."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter by tracing: it needs no further package, and the networks have no branches.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            tuple(example.values()),
            buffer,  # any open binary file will do
            input_names=list(example),
            output_names=list(outputs),
            dynamic_axes={name: dict(axes) for name, axes in free.items()},
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


class _Windows(nn.Module):
    """The second part as serving feeds it: windows of vectors, lines before channels."""

    def __init__(self, network: CharCNNNet) -> None:
        super().__init__()
        self.run = network.run

    def forward(self, vectors: Tensor) -> Tensor:
        return self.run(vectors.transpose(1, 2))


def export_charcnn(network: CharCNNNet, window: int, seed: int = 0) -> tuple[bytes, bytes]:
    """Both parts, as `stages/charcnn.py` serves them: symbols (N, T) to vectors (N, C), vectors (N, W + 2 halo, C) to
    features (N, C, W).
    """
    network = network.to("cpu").eval()
    rng = np.random.default_rng(seed)
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
        _compare("line part", Network(lines, ["symbols"], ["vectors"], "lines"), network.lines, symbols=symbols)
        _compare("run part", Network(run, ["vectors"], ["features"], "run"), _Windows(network), vectors=vectors)
    return lines, run


def _compare(name: str, exported: Network, network: nn.Module, **inputs: NDArray[np.generic]) -> None:
    expected = network(*(torch.tensor(value) for value in inputs.values())).numpy()
    difference = float(np.abs(exported(**inputs)[0] - expected).max())
    if difference > PARITY:
        raise ExportError(f"the exported {name} differs from the trained one by {difference:.2g}; it must not be served")


class _Batches(CalibrationDataReader):  # onnxruntime has no annotations
    def __init__(self, batches: Iterable[NDArray[np.int64]]) -> None:
        self._left: Iterator[NDArray[np.int64]] = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.int64]] | None:
        batch = next(self._left, None)
        return None if batch is None else {"symbols": batch}


def quantised(lines: bytes, batches: Iterable[NDArray[np.int64]]) -> bytes:
    """The first part in whole numbers of 8 bits (static, QDQ, weights by channel); `batches` of symbols give the ranges.

    Weights keep to 7 bits: processors without VNNI add two products in 16 bits, which 8 would overflow, so that a verdict
    would depend on the machine (onnxruntime's documentation of quantisation, "reduce_range").
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "lines.onnx", Path(folder) / "lines8.onnx"
        whole.write_bytes(lines)
        logging.disable(logging.WARNING)  # it recommends a step that only matters for larger networks
        try:
            quantize_static(
                whole,
                small,
                _Batches(batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logging.disable(logging.NOTSET)
        return small.read_bytes()
