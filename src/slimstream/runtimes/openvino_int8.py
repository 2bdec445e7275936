"""OpenVINO in 8-bit integers; layers in floats use bfloat16 where the processor supports it."""

import contextlib
import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.runtimes.onnx import FILE as ONNX_FILE
from slimstream.runtimes.openvino import OpenVinoFloat32, import_openvino
from slimstream.runtimes.openvino_w8 import smallest
from slimstream.runtimes.same_body import with_head_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

FLOAT_CONVOLUTIONS = 2
"""Number of first convolutions of every path that stay in floats.

Typical flow is small compared with its largest values, so 256 steps over the whole range would be too coarse,
and the errors would grow in the layers that follow. These convolutions take little time."""
FLOAT_SHARE = 0.1
"""Share of the weights of all convolutions that stays in floats as well: those of the smallest ones.

The first convolutions and the depthwise ones have few weights, and their rounding moves features most."""


class OpenVinoInt8(OpenVinoFloat32):
    """A separate file, quantised with the ranges of numbers on training clips."""

    title = "OpenVINO, 8-bit integers"
    files = ("int8.xml", "int8.bin")
    exact = False

    def convert(self, graph: Any, model: "nn.Module", clips: "Sequence[npt.NDArray[np.uint8]]") -> Any:
        return quantise(graph, clips, has_attention(model))

    def adapt(self, other: Path, folder: Path) -> bool:
        openvino = import_openvino()
        graph = openvino.Core().read_model(folder / ONNX_FILE)
        adapted = with_head_of(graph, other / ONNX_FILE, other / self.files[0])
        if adapted is not None:
            openvino.save_model(adapted, folder / self.files[0], compress_to_fp16=False)
        return adapted is not None


def quantise(graph: Any, clips: "Sequence[npt.NDArray[np.uint8]]", attention: bool) -> Any:
    """`graph` in 8-bit integers; activations are quantised asymmetrically, because of swish and GELU.

    `clips` (1, T, C, H, W) uint8 each are typical inputs; `attention` says whether the network has attention.
    """
    import nncf
    from nncf.quantization import advanced_parameters as advanced

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # hides its progress bars
        return nncf.quantize(
            graph,
            nncf.Dataset(clips),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(clips),
            model_type=nncf.ModelType.TRANSFORMER if attention else None,
            ignored_scope=nncf.IgnoredScope(names=_float_layers(graph)),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Processors without 8-bit dot products add in 16 bits, which weights of 8 bits overflow.
                overflow_fix=advanced.OverflowFix.ENABLE,
                # By default no bias of a layer is corrected if one of them is near 0 and more than triples.
                bias_correction_params=advanced.AdvancedBiasCorrectionParameters(threshold=math.inf),
            ),
        )


def _float_layers(graph: Any) -> list[str]:
    """Names of the layers that stay in floats: the first and the smallest convolutions, and the head.

    The head has standardised features as its input.
    """
    depth: dict[str, int] = {}
    sizes: dict[str, int] = {}
    first, products = [], []
    for op in graph.get_ordered_ops():
        name, kind = op.get_friendly_name(), op.get_type_name()
        before = (each.get_source_output().get_node().get_friendly_name() for each in op.inputs())
        depth[name] = max((depth[each] for each in before), default=0)
        if kind in ("Convolution", "GroupConvolution"):
            depth[name] += 1
            sizes[name] = math.prod(op.input_value(1).get_shape())
            if depth[name] <= FLOAT_CONVOLUTIONS:
                first.append(name)
        elif kind == "MatMul":
            products.append(name)
    return sorted({*first, *products[-1:], *smallest(sizes, FLOAT_SHARE)})


def has_attention(model: "nn.Module") -> bool:
    """Whether `model` has attention, whose matrix products would lose too much precision in 8 bits."""
    return any(hasattr(module, "qkv") or hasattr(module, "num_heads") for module in model.modules())
