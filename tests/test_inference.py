"""What may be a network of a bundle, and what is rejected with which message."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from stream_triage import BundleError
from stream_triage.inference import Network


def doubled(name: str = "x", external: str | None = None) -> bytes:
    """A network that computes x + x, or x + a weight in another file."""
    addend = name
    graph_input = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])]
    weights = []
    if external:
        weight = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", external), ("length", "8")):
            weight.external_data.append(onnx.StringStringEntryProto(key=key, value=value))
        weights, addend = [weight], "w"
    graph = helper.make_graph(
        [helper.make_node("Add", [name, addend], ["y"])],
        "doubled",
        graph_input,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def test_outputs_come_in_the_order_asked_for() -> None:
    (output,) = Network(doubled(), ["x"], ["y"], "n.onnx")(x=np.ones((3, 2), dtype=np.float32))
    assert output.tolist() == [[2, 2]] * 3


@pytest.mark.parametrize("data", [b"", b"text", doubled()[:40], b"\x80\x04\x95"])
def test_what_is_no_network_is_rejected(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"n\.onnx is not a network that can be run .*; rebuild the bundle"):
        Network(data, ["x"], ["y"], "n.onnx")


def test_weights_in_another_file_are_rejected() -> None:
    """A network cannot make us read files beside the checked ones."""
    with pytest.raises(BundleError, match=r"n\.onnx is not a network that can be run"):
        Network(doubled(external="/etc/hostname"), ["x"], ["y"], "n.onnx")


@pytest.mark.parametrize(("inputs", "outputs"), [(["z"], ["y"]), (["x"], ["z"]), (["x", "z"], ["y"]), (["x"], ["y", "z"])])
def test_other_inputs_or_outputs_are_rejected(inputs: list[str], outputs: list[str]) -> None:
    with pytest.raises(BundleError, match=r"n\.onnx has other inputs or outputs than"):
        Network(doubled(), inputs, outputs, "n.onnx")


def test_shapes_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(BundleError, match=r"n\.onnx cannot be run .*; rebuild the bundle"):
        Network(doubled(), ["x"], ["y"], "n.onnx")(x=np.ones((3, 5), dtype=np.float32))
