"""Runtimes by name: what a deployed network is written for, run by, checked and timed in.

A new one is a class in a file of its own here, and a line in RUNTIMES: `export` then tries it, and
params.yaml, `predict`, the report and the registry know it.
"""

from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.runtimes.base import Network, Runtime
from slimstream.runtimes.onnx import OnnxRuntime
from slimstream.runtimes.openvino import OpenVinoBf16, OpenVinoFloat32
from slimstream.runtimes.openvino_int8 import OpenVinoInt8

REFERENCE = "onnx"
"""The runtime that every network is written for; the answers of the others are held against it."""
RUNTIMES: dict[str, Runtime] = {
    REFERENCE: OnnxRuntime(),
    "openvino": OpenVinoFloat32(),
    "openvino-bf16": OpenVinoBf16(),
    "openvino-int8": OpenVinoInt8(),
}
"""From the plainest to the coarsest: of two that are about as fast, the former is deployed."""


def find_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises UserError when there is none."""
    if name not in RUNTIMES:
        raise UserError(f"there is no runtime {name!r}; choose one of {', '.join(RUNTIMES)}.")
    return RUNTIMES[name]


def open_network(folder: Path, runtime: str, *, threads: int = 1, at_once: int = 1) -> Network:
    """The network in `folder` (see `runtimes.export`), ready to be asked.

    Args:
        folder: holds the files of `runtime`.
        runtime: the name of what runs it.
        threads: CPU threads of a call in a runtime that has its own; latency is that of one.
        at_once: calls that such a runtime answers at the same time; others wait.

    ONNX Runtime has no threads of its own: each call runs on the thread that makes it. Raises UserError when
    there is no such runtime, when its package is not installed, and when a file is missing or no network.
    """
    try:
        return find_runtime(runtime).open(folder, threads=threads, at_once=at_once)
    except ModuleNotFoundError as error:
        raise UserError(f"the runtime {runtime} needs {error.name}, which is not installed.") from error
