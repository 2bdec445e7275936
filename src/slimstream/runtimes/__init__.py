"""Runtimes by name: the programs that deployed networks are exported for and run by.

To add a runtime, add a module with its class here and a line to RUNTIMES: `export` then tries it, and it can
be used in params.yaml, `predict`, the report and the registry.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slimstream.core.errors import UserError
from slimstream.runtimes.base import LOGITS, Network, Runtime
from slimstream.runtimes.onnx import OnnxRuntime
from slimstream.runtimes.openvino import OpenVinoBf16, OpenVinoFloat32
from slimstream.runtimes.openvino_int8 import OpenVinoInt8
from slimstream.runtimes.openvino_w8 import OpenVinoW8, OpenVinoW8Bf16

if TYPE_CHECKING:
    from slimstream.runtimes.calibration import Calibration

REFERENCE = "onnx"
"""The runtime that every network is exported for; the outputs of the others are compared with it."""
RUNTIMES: dict[str, Runtime] = {
    REFERENCE: OnnxRuntime(),
    "openvino": OpenVinoFloat32(),
    "openvino-w8": OpenVinoW8(),
    "openvino-bf16": OpenVinoBf16(),
    "openvino-w8-bf16": OpenVinoW8Bf16(),
    "openvino-int8": OpenVinoInt8(),
}
"""From the most precise to the least precise: of two with similar speed and size, the first is deployed."""


def find_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises UserError when there is none."""
    if name not in RUNTIMES:
        raise UserError(f"there is no runtime {name!r}; choose one of {', '.join(RUNTIMES)}.")
    return RUNTIMES[name]


def open_network(
    folder: Path, runtime: str, *, threads: int = 1, at_once: int = 1, outputs: Sequence[str] = LOGITS
) -> Network:
    """The network in `folder` (see `runtimes.export`), ready for calls.

    Args:
        folder: contains the files of `runtime`.
        runtime: name of the runtime.
        threads: CPU threads per call, in a runtime with its own threads; latency is measured with one.
        at_once: calls that such a runtime computes in parallel; further calls wait.
        outputs: 'logits', and 'features' of a network that has them; several are put side by side, (B, sum of
            their widths).

    ONNX Runtime is used without threads of its own: each call runs on the calling thread. Raises UserError
    when there is no such runtime, when its package is not installed, and when a file is missing or is not a
    network.
    """
    try:
        return find_runtime(runtime).open(folder, threads=threads, at_once=at_once, outputs=outputs)
    except ModuleNotFoundError as error:
        raise UserError(f"the runtime {runtime} needs {error.name}, which is not installed.") from error


def open_calibrated(
    folder: Path, runtime: str, *, threads: int = 1, at_once: int = 1
) -> "tuple[Network, Calibration]":
    """The network in `folder` as `open_network`, with the outputs that its calibration needs, and this one.

    Raises UserError as well when its calibration cannot be read.
    """
    from slimstream.runtimes.calibration import read_calibration  # it loads NumPy

    calibration = read_calibration(folder)
    outputs = calibration.outputs
    return open_network(folder, runtime, threads=threads, at_once=at_once, outputs=outputs), calibration
