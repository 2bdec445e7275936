"""The deployed forms of a network, as files that the runtimes run."""

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
    """Write `model` into `folder` for REFERENCE and all `runtimes`; say why one could not be.

    The graphs take `clip` (batch, frames, C, H, W) uint8 to `logits` (batch, classes) float32, normalisation
    included. Batch and frames are free; C, H and W are those of `clips`, (1, T, C, H, W) each: what the
    network will meet, by which the ranges that 8 bits have to cover are found. `model` stays as it is.

    `alike` are folders that were exported to with the same `clips`. Where the network in one of them differs
    from `model` in its head alone, a runtime may take from there what it would compute again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    find_runtime(REFERENCE).write(model, clips, folder)
    written = set(find_runtime(REFERENCE).files)
    for name in runtimes:
        runtime = find_runtime(name)
        if written.issuperset(runtime.files):  # one file, two arithmetics
            continue
        try:
            if not any(runtime.adapt(other, folder) for other in alike):
                runtime.write(model, clips, folder)
            written.update(runtime.files)
        except Exception as error:  # NNCF runs the graph, and each of its layers has errors of its own
            failed[name] = root_cause(error)
    return failed


def root_cause(error: Exception) -> str:
    """The last line of an error: of OpenVINO's, the first name its own files."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
