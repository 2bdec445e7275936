"""A network compiled by OpenVINO straight from PyTorch: two to three times as fast as PyTorch on a CPU."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from slimstream.runtimes.openvino import import_openvino

Compiled = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


def convert(model: nn.Module, shape: tuple[int, ...]) -> Any:
    """The graph of `model` (in evaluation mode) for uint8 inputs like `shape`; every size may be changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer is deprecated, and the converter uses it
        return import_openvino().convert_model(model, example_input=torch.zeros(shape, dtype=torch.uint8))


def compiled(graph: Any, shape: tuple[int, ...], threads: int, precision: str = "f32") -> Compiled:
    """`graph` for inputs of `shape`, computed in `precision`, 'f32' or 'bf16'; returns the first output."""
    openvino = import_openvino()
    own = graph.clone()
    own.reshape(list(shape))
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(own, "CPU", settings).create_infer_request()

    def call(clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        answer: npt.NDArray[np.float32] = request.infer([np.ascontiguousarray(clip)])[0].copy()
        return answer

    return call


def compile_network(model: nn.Module, shape: tuple[int, ...], threads: int) -> Compiled:
    """`model` for uint8 inputs of `shape`."""
    return compiled(convert(model, shape), shape, threads)


def megabytes(graph: Any, folder: Path) -> float:
    """Size of the files of `graph` as they are deployed, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    import_openvino().save_model(graph, folder / "network.xml", compress_to_fp16=False)
    return sum(file.stat().st_size for file in folder.glob("network.*")) / 1e6
