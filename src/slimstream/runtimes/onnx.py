"""ONNX Runtime, and the ONNX file from which other runtimes are written."""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimstream.runtimes.base import LOGITS, Network, Runtime, side_by_side, unreadable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

FILE = "network.onnx"
OPSET = 20


class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU."""

    title = "ONNX Runtime"
    files = (FILE,)
    packages = ("onnxruntime",)

    def write(self, model: "nn.Module", clips: "Sequence[npt.NDArray[np.uint8]]", folder: Path) -> None:
        import torch

        export_onnx(model, torch.from_numpy(clips[0]), folder / FILE)

    def open(self, folder: Path, *, threads: int, at_once: int, outputs: Sequence[str] = LOGITS) -> Network:
        return OnnxModel(folder / FILE, outputs)


class OnnxModel:
    """A network in ONNX Runtime; every call runs on the calling thread."""

    def __init__(self, path: Path, outputs: Sequence[str] = LOGITS) -> None:
        import onnxruntime

        self._outputs = list(outputs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            # The path's bytes, because on some systems a path that is not ASCII cannot be opened.
            self._session: Any = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has one exception class per status, and no base class
            raise unreadable(path, OnnxRuntime.title) from error

    def __call__(self, clip: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.float32]":
        return side_by_side(self._session.run(self._outputs, {"clip": clip}))


def export_onnx(model: "nn.Module", example_clip: "Tensor", path: Path) -> None:
    """Write `model` with its weights to the ONNX file `path`.

    C, H and W are those of `example_clip` (1, T, C, H, W); batch and frames may vary. The outputs are
    `logits` and, of a network with one head, the `features` that the head sees.
    """
    import torch

    from slimstream.models.base import Classifier, WithFeatures

    model, names = copy.deepcopy(model).cpu().eval(), ["logits"]
    if isinstance(model, Classifier) and model.has_one_head:
        model, names = WithFeatures(model), ["logits", "features"]
    # Batch and frames of 2: a size of 1 could be traced as a constant.
    clip = torch.zeros((2, 2, *example_clip.shape[2:]), dtype=torch.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer, about H and W, which are meant to be constants
        # The TorchScript exporter: 2 s of CPU where torch.export takes 70 on MobileViT, for the same numbers.
        torch.onnx.export(
            model,
            (clip,),
            path,
            input_names=["clip"],
            output_names=names,
            dynamic_axes={"clip": {0: "batch", 1: "frames"}, **{name: {0: "batch"} for name in names}},
            opset_version=OPSET,
            dynamo=False,
        )
