"""What the frozen layers of a network make of the clips, computed once.

Nothing that is learnt changes it, and on a CPU it is nearly all of the work: every stage, fold and epoch that
meets a frame again reads it from disk. The files are named after the layers' weights, the code of all
networks and the frame's own bytes, so they are right wherever they are found, and may be deleted at any time.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from slimstream.clips.packs import save_array
from slimstream.core.files import whole
from slimstream.core.fingerprint import PACKAGE, code_key
from slimstream.datasets.dataset import Batch
from slimstream.models.checkpoint import weight_hash


@runtime_checkable
class HasTrunk(Protocol):
    """A network whose first layers are frozen. It takes a clip, or what they have made of one."""

    def trunk_layers(self) -> nn.Module | None:
        """The frozen layers; None where all are trained."""

    def trunk(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to what the frozen layers make of it, (B, T, ...)."""


def through_trunk(model: nn.Module, batches: Iterable[Batch], cache: Path) -> Iterable[Batch]:
    """The same batches, their clips (B, T, C, H, W) as `model`'s frozen layers leave them.

    Unchanged for a network without such layers. Values are rounded to half precision, whether they are
    computed or read, so that a training does not depend on what was cached.
    """
    layers = model.trunk_layers() if isinstance(model, HasTrunk) else None
    return batches if layers is None else _shortened(model, batches, cache / "trunk" / _key(layers))


def _key(layers: nn.Module) -> str:
    return hashlib.sha256(f"{weight_hash(layers)} {_code()}".encode()).hexdigest()


@cache
def _code() -> str:
    return code_key([PACKAGE / "models", Path(__file__).resolve()])


def _shortened(model: nn.Module, batches: Iterable[Batch], folder: Path) -> Iterator[Batch]:
    assert isinstance(model, HasTrunk)
    for batch in batches:
        if not len(batch.indices):  # other processes have it
            yield batch
            continue
        files = [folder / _digest(frame) for frame in batch.clip.flatten(0, 1)]
        if not all(file.exists() for file in files):
            device = next(model.parameters()).device
            with torch.inference_mode():  # and no more within it: a training could not learn from the batch
                # Clip by clip: a CPU's caches hold the maps of one, and it takes half the time.
                made = torch.cat([model.trunk(clip.to(device)).half().cpu() for clip in batch.clip.split(1)])
            for file, frame in zip(files, made.flatten(0, 1).numpy(), strict=True):
                _write(file, frame)
        read = torch.from_numpy(np.stack([np.load(file, allow_pickle=False) for file in files]))
        yield replace(batch, clip=read.float().unflatten(0, batch.clip.shape[:2]))


def _digest(frame: Tensor) -> str:
    name = hashlib.blake2b(frame.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
    return f"{name[:2]}/{name}.npy"


def _write(file: Path, array: np.ndarray) -> None:
    """Folds and stages may run side by side, and any of them may be killed."""
    with whole(file) as half, half.open("wb") as out:
        save_array(out, array)
