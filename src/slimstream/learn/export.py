"""The deployed forms of a network, as files that `learn.runtimes` runs."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimstream.learn.runtimes import import_openvino, network_files

OPSET = 20


def export(model: nn.Module, clips: Sequence[npt.NDArray[np.uint8]], folder: Path) -> None:
    """Write `model` into `folder` for every runtime.

    The graphs take `clip` (batch, frames, C, H, W) uint8 to `logits` (batch, classes) float32, normalisation
    included. Batch and frames are free; C, H and W are those of `clips`, (1, T, C, H, W) each: what the
    network will meet, by which NNCF finds the ranges that 8 bits have to cover. `model` stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (onnx,), (network, _), (int8, _) = (
        network_files(folder, runtime) for runtime in ("onnx", "openvino", "openvino-int8")
    )
    export_onnx(model, torch.from_numpy(clips[0]), onnx)
    openvino = import_openvino()
    graph = openvino.Core().read_model(onnx)
    openvino.save_model(graph, network, compress_to_fp16=False)
    openvino.save_model(_quantised(graph, clips, _attends(model)), int8, compress_to_fp16=False)


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


def _quantised(graph: object, clips: Sequence[npt.NDArray[np.uint8]], attends: bool) -> object:
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
        )


def _attends(model: nn.Module) -> bool:
    """Whether there is attention in it, whose products lose too much in 8 bits."""
    return any(hasattr(module, "qkv") or hasattr(module, "num_heads") for module in model.modules())
