"""A sample of the clips that a network was made from, as numbers that the pictures of a camera also have.

The stage export writes it beside the network; `watch` compares with it. Importing this loads no torch.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimstream.core.errors import UserError
from slimstream.runtimes.appearance import APPEARANCE

FEATURES = 4
"""Numbers that stand for the features: the first ones of `Reference.projected`."""
NETWORK = ("unlikeness", "confidence", *(f"feature {i + 1}" for i in range(FEATURES)))
MEASURES = (*APPEARANCE, *NETWORK)
FILE = "seen.safetensors"
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Seen:
    """N clips, as the network sees them before it has learnt from their groups."""

    values: Floats
    """(N, len(MEASURES)); NaN where there is none."""
    truth: npt.NDArray[np.int64]
    """(N,) class indices."""
    group: npt.NDArray[np.int64]
    """(N,) numbers of their groups."""


def write_seen(seen: Seen, folder: Path) -> None:
    """Write the file FILE in `folder`."""
    from safetensors.numpy import save

    arrays = {"values": seen.values.astype(np.float32), "truth": seen.truth, "group": seen.group}
    (folder / FILE).write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def read_seen(folder: Path) -> Seen | None:
    """The sample in `folder`; None for a network that was exported before there was any.

    Raises UserError when the file is not ours.
    """
    if not (folder / FILE).exists():
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        seen = Seen(**load_file(folder / FILE))
        if seen.values.shape != (len(seen.truth), len(MEASURES)) or len(seen.group) != len(seen.truth):
            raise ValueError
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder}: {FILE} is damaged: export it again.") from error
    return seen
