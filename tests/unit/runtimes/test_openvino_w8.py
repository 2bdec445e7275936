"""Weights of 8 bits: what is rounded, what is kept, and what the answers become."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from slimstream.models import create_model
from slimstream.runtimes import open_network
from slimstream.runtimes.export import export
from slimstream.runtimes.openvino_w8 import rounded, smallest

torch.set_num_threads(1)


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
    clip = np.random.default_rng(0).integers(0, 256, (2, 2, 1, 50, 50), np.uint8)
    assert export(model, [clip[:1]], tmp_path, ["openvino", "openvino-w8"]) == {}
    kinds = [node.op_type for node in onnx.load(tmp_path / "w8.onnx").graph.node]
    stored = [numpy_helper.to_array(one) for one in onnx.load(tmp_path / "w8.onnx").graph.initializer]
    halves, whole = (sum(a.size for a in stored if a.dtype == kind) for kind in (np.float16, np.int8))
    assert 0 < halves <= 0.25 * whole and "DequantizeLinear" in kinds
    features = [open_network(tmp_path, name, output="features")(clip) for name in ("openvino", "openvino-w8")]
    assert features[0].shape == (2, model.head.in_features)
    difference = np.abs(features[1] - features[0]).max()
    assert 1e-6 < difference < 0.05 * np.abs(features[0]).max()
