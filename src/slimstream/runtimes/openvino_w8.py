"""OpenVINO with weights of 8 bits: a third of the file. It computes in 32-bit floats, or in bfloat16."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.runtimes.onnx import FILE as ONNX_FILE
from slimstream.runtimes.openvino import OpenVinoBf16, OpenVinoFloat32, has_bf16

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

HALF_SHARE = 0.2
"""Share of the weights that is kept in 16 bits: those of the smallest layers.

The first layers, the depthwise ones and the head have few weights, and rounding these to 8 bits changes the
features most."""
OUTPUT_AXIS = {"Conv": 0, "Gemm": 0, "MatMul": -1}
"""Axis of the output channels in the weights of a layer, by its type in ONNX."""
LEAST = 256
"""Numbers below which an array stays as it is: biases, shapes, means."""


class OpenVinoW8(OpenVinoFloat32):
    """A separate file; every output channel of a large layer has a scale of its own."""

    title = "OpenVINO, 8-bit weights"
    files = ("w8.onnx",)
    exact = False
    # OpenVINO 2026.4, which unpacks weights once for each call that it computes at a time, sometimes gets
    # them wrong where it does so for two at once.
    whole_weights = True

    def write(self, model: "nn.Module", clips: "Sequence[npt.NDArray[np.uint8]]", folder: Path) -> None:
        import onnx

        network = onnx.load(folder / ONNX_FILE)
        quantise_weights(network.graph)
        onnx.save(network, folder / self.files[0])

    def precision(self) -> str:
        return "f32"


class OpenVinoW8Bf16(OpenVinoW8):
    """Uses the file of 8-bit weights; numbers are rounded to bfloat16 at run time, as in OpenVinoBf16."""

    title = "OpenVINO, 8-bit weights, bfloat16"

    def precision(self) -> str:
        return "bf16" if has_bf16() else "f32"

    def missing(self) -> str:
        return OpenVinoBf16().missing()


def quantise_weights(graph: Any) -> None:
    """Store the weights of an ONNX `graph` in 8 bits, of the smallest layers in 16-bit floats, in place.

    8-bit weights are symmetric, w ≈ scale · q with q in -127..127 and one scale per output channel, as in
    Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference" (2018), section 3.
    """
    from onnx import helper, numpy_helper

    arrays = {each.name: each for each in graph.initializer}
    axes = {
        node.input[1]: OUTPUT_AXIS[node.op_type]
        for node in graph.node
        if node.op_type in OUTPUT_AXIS and node.input[1] in arrays
    }
    weights = {name: numpy_helper.to_array(arrays[name]) for name in axes}
    halves = smallest({name: value.size for name, value in weights.items()}, HALF_SHARE)
    nodes = []
    for name, value in weights.items():
        if value.size < LEAST:
            continue
        graph.initializer.remove(arrays[name])
        if name in halves:
            half = value.astype("float16")
            graph.initializer.append(numpy_helper.from_array(half, f"{name}.half"))
            nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=1))
            continue
        whole, scale = rounded(value, axes[name])
        graph.initializer.append(numpy_helper.from_array(whole, f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}.scale"))
        inputs = [f"{name}.int8", f"{name}.scale"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axes[name] % value.ndim))
    for node in reversed(nodes):
        graph.node.insert(0, node)


def smallest(sizes: dict[str, int], share: float) -> set[str]:
    """Names of the smallest of `sizes`, which together are at most `share` of all."""
    found, left = set(), share * sum(sizes.values())
    for name in sorted(sizes, key=lambda each: sizes[each]):
        left -= sizes[name]
        if left < 0:
            break
        found.add(name)
    return found


def rounded(
    weight: "npt.NDArray[np.float32]", axis: int
) -> "tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]":
    """`weight` as whole numbers in -127..127, int8, and their scales, one for each index of `axis`."""
    import numpy as np

    others = tuple(i for i in range(weight.ndim) if i != axis % weight.ndim)
    scale = np.abs(weight).max(axis=others, keepdims=True) / 127
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.round(weight / scale).astype(np.int8), scale.ravel()
