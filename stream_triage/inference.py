"""Bytes of an ONNX file in, a network that can be run out. The only file that imports onnxruntime.

A network runs on one thread: the cost of a text must not depend on other work, and the sessions of a worker share its cores.
Networks come from bytes whose checksum the bundle has compared, never from a path, so a file cannot name others to load.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from stream_triage.errors import BundleError

__all__ = ["Network"]


class Network:
    """A network with named inputs and outputs.

    Args:
        data: Content of the ONNX file.
        inputs: Names of the inputs, which must be exactly those of the network.
        outputs: Names of the outputs, likewise. Calls return them in this order.
        name: File name, for error messages.

    Raises:
        BundleError: If the data is not such a network.
    """

    def __init__(self, data: bytes, inputs: Sequence[str], outputs: Sequence[str], name: str) -> None:
        import onnxruntime  # 20 MB and a thread, which bundles without networks do without

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised; onnxruntime would print them as well
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # each status has an exception class of its own, and none of them is public
            raise BundleError(
                f"{name} is not a network that can be run ({_first_line(error)}); rebuild the bundle"
            ) from None
        actual = {item.name for item in self._session.get_inputs()}, {item.name for item in self._session.get_outputs()}
        if actual != (set(inputs), set(outputs)):
            raise BundleError(
                f"{name} has other inputs or outputs than {', '.join((*inputs, *outputs))}; rebuild the bundle"
            )
        self._outputs = list(outputs)
        self._name = name

    def __call__(self, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """Runs the network and returns its outputs.

        Raises:
            BundleError: If the shapes do not fit the network.
        """
        try:
            return list(self._session.run(self._outputs, inputs))
        except Exception as error:
            raise BundleError(f"{self._name} cannot be run ({_first_line(error)}); rebuild the bundle") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
