"""OpenVINO in 32-bit floats, and in bfloat16 where the processor supports it, from the same file."""

import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

from slimstream.runtimes.base import LOGITS, Network, Runtime, side_by_side, unreadable
from slimstream.runtimes.onnx import FILE as ONNX_FILE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

SHAPES = 3
"""Number of clip shapes that a network is compiled for; each takes a fraction of a second."""
_IMPORTING = threading.Lock()


class OpenVinoFloat32(Runtime):
    """OpenVINO on the CPU in 32-bit floats."""

    title = "OpenVINO"
    files: tuple[str, ...] = ("network.xml", "network.bin")
    packages = ("openvino",)
    whole_weights = False
    """Whether weights that are stored with fewer bits become 32-bit floats when the network is opened."""

    def write(self, model: "nn.Module", clips: "Sequence[npt.NDArray[np.uint8]]", folder: Path) -> None:
        openvino = import_openvino()
        graph = openvino.Core().read_model(folder / ONNX_FILE)
        openvino.save_model(self.convert(graph, model, clips), folder / self.files[0], compress_to_fp16=False)

    def convert(self, graph: Any, model: "nn.Module", clips: "Sequence[npt.NDArray[np.uint8]]") -> Any:
        """The graph to save, made from `graph`, which was read from ONNX; here it is unchanged."""
        return graph

    def open(self, folder: Path, *, threads: int, at_once: int, outputs: Sequence[str] = LOGITS) -> Network:
        return OpenVinoModel(
            folder / self.files[0],
            self.precision(),
            threads=threads,
            at_once=at_once,
            outputs=outputs,
            whole_weights=self.whole_weights,
        )

    def precision(self) -> str:
        """OpenVINO's name of the type in which floats are computed."""
        return "f32" if self.exact or not has_bf16() else "bf16"


class OpenVinoBf16(OpenVinoFloat32):
    """Uses the file of 32-bit floats; numbers are rounded to bfloat16 at run time."""

    title = "OpenVINO, bfloat16"
    exact = False

    def missing(self) -> str:
        return "" if has_bf16() else "this processor has no bfloat16 and computes in 32-bit floats instead"


class OpenVinoModel:
    """A network in OpenVINO.

    It is compiled for each of the first SHAPES clip shapes, which saves up to a tenth of the time, and then
    once for all other shapes, because clips may have any length.
    """

    def __init__(
        self,
        path: Path,
        precision: str,
        *,
        threads: int,
        at_once: int,
        outputs: Sequence[str] = LOGITS,
        whole_weights: bool = False,
    ) -> None:
        self._outputs = outputs
        self._core = import_openvino().Core()
        self._at_once = at_once
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads * at_once,
            "NUM_STREAMS": at_once,
            # With pinning, all processes of a pool would run on the first core.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self.graph = self._core.read_model(path)
        except RuntimeError as error:
            raise unreadable(path, OpenVinoFloat32.title) from error
        if whole_weights:
            fold_constants(self.graph)
        self._requests: dict[tuple[int, ...] | None, Queue[Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, clip: "npt.NDArray[np.uint8]") -> "npt.NDArray[np.float32]":
        free = self._requests_for(clip.shape)
        request = free.get()  # a request computes one clip at a time
        try:
            answers = request.infer([clip])
            # Copied, because the next call overwrites the results.
            return side_by_side([answers[name] for name in self._outputs])
        finally:
            free.put(request)

    def _requests_for(self, shape: tuple[int, ...]) -> Queue[Any]:
        with self._lock:
            known = shape if shape in self._requests or len(self._requests) < SHAPES else None
            if known not in self._requests:
                graph = self.graph.clone()
                if known:
                    graph.reshape(list(known))
                compiled = self._core.compile_model(graph, "CPU", self._settings)
                self._requests[known] = Queue()
                for _ in range(self._at_once):
                    self._requests[known].put(compiled.create_infer_request())
            return self._requests[known]


def fold_constants(graph: Any) -> None:
    """Compute in place all that depends on constants alone, such as floats from weights of 8 bits."""
    from openvino.passes import ConstantFolding, Manager

    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(graph)


def has_bf16() -> bool:
    """Whether this processor computes in bfloat16."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def import_openvino() -> Any:
    """The package `openvino`, set up so that several threads may use it."""
    with _IMPORTING:
        return _openvino()


@cache
def _openvino() -> Any:
    # On import it sends telemetry, unless the package `openvino_telemetry` is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import numpy as np
    import openvino

    # Its bindings initialise when an array is first passed in each direction. Two threads that do so at once
    # would deadlock: one holds Python's lock, the other one that of the bindings.
    _ = openvino.Tensor(np.zeros(1, np.uint8)).data
    return openvino
