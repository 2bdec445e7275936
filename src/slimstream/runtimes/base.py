"""What runs a deployed network, without torch: ONNX Runtime, or OpenVINO in one of three arithmetics."""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import numpy.typing as npt

from slimstream.core.errors import UserError
from slimstream.runtimes.names import Runtime

_FILES: dict[Runtime, tuple[str, ...]] = {
    "onnx": ("network.onnx",),
    "openvino": ("network.xml", "network.bin"),
    "openvino-bf16": ("network.xml", "network.bin"),  # rounded as it runs, not as it lies there
    "openvino-int8": ("int8.xml", "int8.bin"),
}
PROCESSORS_OWN: tuple[Runtime, ...] = ("openvino-bf16", "openvino-int8")
"""Those that compute in 32-bit floats where a processor has no bfloat16."""
SHAPES = 3
"""Shapes of clips that OpenVINO compiles a network for, each in a fraction of a second."""
_MEASURED = "runtimes.json"
_IMPORTING = threading.Lock()


@dataclass(frozen=True)
class Form:
    """What was measured of a network in the form that `runtime` runs."""

    runtime: Runtime
    changed: float
    """Share of validation clips, which its head has not learnt from, labelled otherwise than by ONNX."""
    off: float
    """Largest difference of a probability on them."""
    megabytes: float
    latency_p50_ms: float
    """One clip on one thread."""
    latency_p95_ms: float


Network = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""A deployed network: clip (B, T, C, H, W) uint8 to logits (B, classes) float32. Threads may share it."""


def network_files(folder: Path, runtime: Runtime) -> list[Path]:
    """The files in `folder` that `runtime` runs; the last holds the weights."""
    return [folder / name for name in _FILES[runtime]]


def write_forms(folder: Path, chosen: Form, forms: Sequence[Form]) -> None:
    """Write down what was measured of the network in `folder`, and in which form it is deployed."""
    content = {"chosen": chosen.runtime, "forms": [asdict(form) for form in forms]}
    (folder / _MEASURED).write_text(json.dumps(content, indent=2) + "\n")


def read_forms(folder: Path) -> tuple[Form, list[Form]]:
    """The chosen form, and all. Raises UserError when `folder` holds no deployed network."""
    try:
        content = json.loads((folder / _MEASURED).read_text())
        forms = {form["runtime"]: Form(**form) for form in content["forms"]}
        return forms[content["chosen"]], list(forms.values())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no deployed network: {_MEASURED} is missing or not ours.") from error


def runs_here(runtime: Runtime) -> bool:
    """Whether this processor has the arithmetic, rather than another in its place."""
    return runtime != "openvino-bf16" or _has_bf16()


def open_network(folder: Path, runtime: Runtime, *, threads: int = 1, at_once: int = 1) -> Network:
    """The network in `folder` (see `runtimes.export`), ready to be asked.

    Args:
        folder: holds `network_files(folder, runtime)`.
        runtime: what runs it.
        threads: CPU threads of a call in OpenVINO; latency is that of one. ONNX Runtime takes the caller's.
        at_once: calls that OpenVINO answers at the same time; others wait. ONNX Runtime answers all.

    Raises UserError when a file is missing or is not a network.
    """
    path = network_files(folder, runtime)[0]
    if runtime == "onnx":
        return OnnxModel(path)
    return OpenVinoModel(path, runtime, threads=threads, at_once=at_once)


def softmax(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Probabilities (B, classes) of what a network answers; serving has no SciPy."""
    scaled = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probabilities: npt.NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
    return probabilities


class OnnxModel:
    """A network for ONNX Runtime; every call runs on the thread that makes it."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

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
            raise _unfit(path, "ONNX Runtime") from error

    def __call__(self, clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._session.run(["logits"], {"clip": clip})[0]
        return logits


class OpenVinoModel:
    """A network for OpenVINO; the 8-bit one computes what is left of floats in bfloat16 where it can.

    It is compiled for the shapes it meets, which saves up to a tenth of the time; after SHAPES of them for
    any, for clips may be of all lengths.
    """

    def __init__(self, path: Path, runtime: Runtime, *, threads: int, at_once: int) -> None:
        self._core = import_openvino().Core()
        self._at_once = at_once
        coarse = runtime in PROCESSORS_OWN and _has_bf16()
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if coarse else "f32",
            "INFERENCE_NUM_THREADS": threads * at_once,
            "NUM_STREAMS": at_once,
            # Pinned, all processes of a pool would share the first core.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._graph = self._core.read_model(path)
        except RuntimeError as error:
            raise _unfit(path, "OpenVINO") from error
        self._requests: dict[tuple[int, ...] | None, Queue[Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        free = self._requests_for(clip.shape)
        request = free.get()  # it answers one at a time
        try:
            logits: npt.NDArray[np.float32] = request.infer([clip])[0].copy()  # the next call overwrites it
        finally:
            free.put(request)
        return logits

    def _requests_for(self, shape: tuple[int, ...]) -> "Queue[Any]":
        with self._lock:
            known = shape if shape in self._requests or len(self._requests) < SHAPES else None
            if known not in self._requests:
                graph = self._graph.clone()
                if known:
                    graph.reshape(list(known))
                compiled = self._core.compile_model(graph, "CPU", self._settings)
                self._requests[known] = Queue()
                for _ in range(self._at_once):
                    self._requests[known].put(compiled.create_infer_request())
            return self._requests[known]


def import_openvino() -> Any:
    """The package `openvino`, ready for threads."""
    with _IMPORTING:
        return _openvino()


@cache
def _openvino() -> Any:
    # It reports home when it is imported unless what would send it is missing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    # Its bindings set themselves up when an array first passes, each way; two threads that are both the first
    # would wait for each other for ever, one holding Python's lock and one theirs.
    _ = openvino.Tensor(np.zeros(1, np.uint8)).data
    return openvino


def _unfit(path: Path, runtime: str) -> UserError:
    return UserError(f"{path} is not a network that {runtime} can run: export it again.")


def _has_bf16() -> bool:
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
