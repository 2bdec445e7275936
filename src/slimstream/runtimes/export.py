"""The deployed forms of a network, as files that `runtimes.base` runs."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimstream.runtimes.base import import_openvino, network_files
from slimstream.runtimes.names import Runtime

OPSET = 20
FLOATS = 2
"""Convolutions at the beginning of every path that stay in floats: motion is faint beside what flow can be,
256 steps over all of it would drown it, and such errors grow through all that follows. They are cheap."""


def export(
    model: nn.Module, clips: Sequence[npt.NDArray[np.uint8]], folder: Path, runtimes: Sequence[Runtime]
) -> dict[Runtime, str]:
    """Write `model` into `folder` for ONNX Runtime and all `runtimes`; say why one could not be.

    The graphs take `clip` (batch, frames, C, H, W) uint8 to `logits` (batch, classes) float32, normalisation
    included. Batch and frames are free; C, H and W are those of `clips`, (1, T, C, H, W) each: what the
    network will meet, by which NNCF finds the ranges that 8 bits have to cover. `model` stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (onnx,) = network_files(folder, "onnx")
    export_onnx(model, torch.from_numpy(clips[0]), onnx)
    openvino = import_openvino()
    failed: dict[Runtime, str] = {}
    written = {onnx}
    for runtime in runtimes:
        file = network_files(folder, runtime)[0]
        if file in written:  # one file, two arithmetics
            continue
        try:
            graph = openvino.Core().read_model(onnx)
            if runtime == "openvino-int8":
                graph = _quantised(graph, clips, _attends(model))
            openvino.save_model(graph, file, compress_to_fp16=False)
            written.add(file)
        except Exception as error:  # NNCF runs the graph, and each of its layers has errors of its own
            failed[runtime] = why(error)
    return failed


def why(error: Exception) -> str:
    """What is behind an error of OpenVINO's, whose first lines name its own files."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def export_onnx(model: nn.Module, example_clip: Tensor, path: Path) -> None:
    """Write `model` to the ONNX file `path`, its weights inside; H and W are those of `example_clip`."""
    model = copy.deepcopy(model).cpu().eval()
    # Two of each, or a size of one could pass for a constant.
    clip = torch.zeros((2, 2, *example_clip.shape[2:]), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, on H and W, which are meant to be constants
        # The TorchScript exporter: 2 s of CPU where torch.export takes 70 on MobileViT, for the same numbers.
        torch.onnx.export(
            model,
            (clip,),
            path,
            input_names=["clip"],
            output_names=["logits"],
            dynamic_axes={"clip": {0: "batch", 1: "frames"}, "logits": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _quantised(graph: Any, clips: Sequence[npt.NDArray[np.uint8]], attends: bool) -> Any:
    """`graph` in 8-bit integers, asymmetric for activations, as swish and GELU want it."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # a bar for each of its passes
        return nncf.quantize(
            graph,
            nncf.Dataset(clips),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(clips),
            model_type=nncf.ModelType.TRANSFORMER if attends else None,
            ignored_scope=nncf.IgnoredScope(names=_left_in_floats(graph)),
        )


def _left_in_floats(graph: Any) -> list[str]:
    """Names of the first convolutions of each path, and of the head, which weighs standardised features."""
    depth: dict[str, int] = {}
    first, products = [], []
    for op in graph.get_ordered_ops():
        name, kind = op.get_friendly_name(), op.get_type_name()
        before = (each.get_source_output().get_node().get_friendly_name() for each in op.inputs())
        depth[name] = max((depth[each] for each in before), default=0)
        if kind in ("Convolution", "GroupConvolution"):
            depth[name] += 1
            if depth[name] <= FLOATS:
                first.append(name)
        elif kind == "MatMul":
            products.append(name)
    return first + products[-1:]


def _attends(model: nn.Module) -> bool:
    """Whether there is attention in it, whose products lose too much in 8 bits."""
    return any(hasattr(module, "qkv") or hasattr(module, "num_heads") for module in model.modules())
