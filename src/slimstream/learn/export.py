"""The deployed form of a network: one ONNX file, run by ONNX Runtime."""

import copy
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slimstream.errors import UserError

if TYPE_CHECKING:  # what serves a model needs no torch
    from torch import Tensor, nn

OPSET = 20


def export_onnx(model: "nn.Module", example_clip: "Tensor", path: Path) -> None:
    """Write `model` to `path`, its weights inside.

    The graph takes `clip` (batch, frames, 5, H, W) uint8 to `logits` (batch, classes) float32, normalisation
    included. Batch and frames are free, H and W are those of `example_clip` (B, T, 5, H, W).
    `model` itself stays as it is, on its device and in its mode.
    """
    import torch

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


class OnnxModel:
    """An exported network: clip (B, T, 5, H, W) uint8 to logits (B, classes) float32.

    Args:
        path: a file of `export_onnx`.
        threads: CPU threads of ONNX Runtime; one is what latency is reported for.

    Raises UserError when the file is missing or is not ONNX.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            # The path's bytes, because on some systems a path that is not ASCII cannot be opened.
            self._session: Any = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has one exception class per status, and no base class
            raise UserError(f"{path} is not a network that ONNX Runtime can run: export it again.") from error

    def __call__(self, clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._session.run(["logits"], {"clip": clip})[0]
        return logits
