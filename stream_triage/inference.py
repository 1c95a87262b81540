"""Bytes of an ONNX file in, a network that can be run out. The only file that knows onnxruntime.

One thread: the same text must cost the same beside other work, and a worker's cores are shared by its sessions. Networks
come from bytes whose checksum the bundle has compared, never from a path, so a file cannot name others to be loaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from stream_triage.errors import BundleError

__all__ = ["Network"]

Arrays = Mapping[str, NDArray[Any]]


class Network:
    """A network with named inputs and outputs. Raises `BundleError` for what is no such network."""

    def __init__(self, data: bytes, inputs: Sequence[str], outputs: Sequence[str], name: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, not printed
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a class of its own for every status, none of them public
            raise BundleError(
                f"{name} is not a network that can be run ({_first_line(error)}); rebuild the bundle"
            ) from None
        found = {item.name for item in self._session.get_inputs()}, {item.name for item in self._session.get_outputs()}
        if found != (set(inputs), set(outputs)):
            raise BundleError(
                f"{name} has other inputs or outputs than {', '.join((*inputs, *outputs))}; rebuild the bundle"
            )
        self._outputs = list(outputs)
        self._name = name

    def __call__(self, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs, in the order they were named in. Raises `BundleError` where the shapes do not fit the network."""
        try:
            return list(self._session.run(self._outputs, inputs))
        except Exception as error:
            raise BundleError(f"{self._name} cannot be run ({_first_line(error)}); rebuild the bundle") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
