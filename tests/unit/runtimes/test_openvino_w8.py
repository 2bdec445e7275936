"""Weights of 8 bits: what is rounded, what is kept, and what the answers become."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from slimstream.models import create_model
from slimstream.runtimes import open_network
from slimstream.runtimes.export import export
from slimstream.runtimes.openvino import OpenVinoModel, import_openvino
from slimstream.runtimes.openvino_w8 import rounded, smallest

torch.set_num_threads(1)
CLIP = np.random.default_rng(0).integers(0, 256, (2, 2, 1, 50, 50), np.uint8)


def test_every_output_channel_has_a_scale_of_its_own() -> None:
    weight = np.array([[1.27, -0.5], [0.0, 0.0], [254.0, 1.0]], np.float32)
    whole, scale = rounded(weight, 0)
    assert whole.dtype == np.int8 and whole.tolist() == [[127, -50], [0, 0], [127, 0]]  # 0.5 to even
    np.testing.assert_allclose(scale, [0.01, 1, 2], rtol=1e-6)
    whole, scale = rounded(weight.T, -1)
    assert whole.tolist() == [[127, 0, 127], [-50, 0, 0]]


def test_the_smallest_layers_are_kept_up_to_a_share_of_all_weights() -> None:
    sizes = {"large": 85, "first": 4, "second": 5, "third": 6}
    assert smallest(sizes, 0.1) == {"first", "second"}
    assert smallest(sizes, 0.03) == set()


def test_weights_take_a_third_and_features_stay_close(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model("light_residual_net_small", 3).eval()
    assert export(model, [CLIP[:1]], tmp_path, ["openvino", "openvino-w8"]) == {}
    kinds = [node.op_type for node in onnx.load(tmp_path / "w8.onnx").graph.node]
    stored = [numpy_helper.to_array(one) for one in onnx.load(tmp_path / "w8.onnx").graph.initializer]
    halves, whole = (sum(a.size for a in stored if a.dtype == kind) for kind in (np.float16, np.int8))
    assert 0 < halves <= 0.25 * whole and "DequantizeLinear" in kinds
    features = [
        open_network(tmp_path, name, outputs=["features"])(CLIP) for name in ("openvino", "openvino-w8")
    ]
    assert features[0].shape == (2, model.head.in_features)
    difference = np.abs(features[1] - features[0]).max()
    assert 1e-6 < difference < 0.05 * np.abs(features[0]).max()


def test_weights_are_floats_in_memory(tmp_path: Path) -> None:
    """OpenVINO unpacks them for each of the calls at once, side by side, and half of the times wrongly."""
    torch.manual_seed(0)
    export(create_model("light_residual_net_small", 3).eval(), [CLIP[:1]], tmp_path, ["openvino-w8"])
    kinds = {"i8", "f16"}
    stored = import_openvino().Core().read_model(tmp_path / "w8.onnx")
    assert kinds <= constant_types(stored)
    network = open_network(tmp_path, "openvino-w8", at_once=2)
    assert isinstance(network, OpenVinoModel) and not kinds & constant_types(network.graph)


def constant_types(graph: Any) -> set[str]:
    """OpenVINO's names of the types of all constants of `graph`."""
    constants = (op for op in graph.get_ops() if op.get_type_name() == "Constant")
    return {op.get_output_element_type(0).get_type_name() for op in constants}
