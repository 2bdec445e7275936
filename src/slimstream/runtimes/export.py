"""Export of a network to the files of its runtimes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from slimstream.runtimes import REFERENCE, find_runtime


def export(
    model: nn.Module,
    clips: Sequence[npt.NDArray[np.uint8]],
    folder: Path,
    runtimes: Sequence[str],
    alike: Sequence[Path] = (),
) -> dict[str, str]:
    """Write `model` into `folder` for REFERENCE and all `runtimes`; return why each failed one failed.

    The graphs map `clip` (batch, frames, C, H, W) uint8 to `logits` (batch, classes) float32, normalisation
    included. Those of a network with one head also return its `features` (batch, F) float32. Batch and frames
    may vary; C, H and W are those of `clips`, (1, T, C, H, W) each. `clips` are typical inputs, from which
    the ranges of 8-bit numbers are found. `model` is not changed.

    `alike` are folders of earlier exports with the same `clips`. Where the network in one of them differs
    from `model` only in its head, a runtime may reuse its files.
    """
    write_reference(model, clips, folder)
    return add_forms(model, clips, folder, runtimes, alike)


def write_reference(model: nn.Module, clips: Sequence[npt.NDArray[np.uint8]], folder: Path) -> None:
    """Write `model` into `folder` for REFERENCE, from which the other forms are made; see `export`."""
    folder.mkdir(parents=True, exist_ok=True)
    find_runtime(REFERENCE).write(model, clips, folder)


def add_forms(
    model: nn.Module,
    clips: Sequence[npt.NDArray[np.uint8]],
    folder: Path,
    runtimes: Sequence[str],
    alike: Sequence[Path] = (),
) -> dict[str, str]:
    """Write the forms for `runtimes` beside that for REFERENCE; see `export`."""
    failed: dict[str, str] = {}
    written = set(find_runtime(REFERENCE).files)
    for name in runtimes:
        runtime = find_runtime(name)
        if written.issuperset(runtime.files):  # runtimes may share a file
            continue
        try:
            if not any(runtime.adapt(other, folder) for other in alike):
                runtime.write(model, clips, folder)
            written.update(runtime.files)
        except Exception as error:  # NNCF runs the graph and may raise any type of error
            failed[name] = root_cause(error)
    return failed


def root_cause(error: Exception) -> str:
    """The last line of an error message; the first lines of OpenVINO's name its own source files."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
