"""A cache on disk of the features that the frozen layers of a network compute for the frames of clips.

Training does not change these features, and on a CPU they take nearly all of the time. They are computed once
and read by every stage, fold and epoch that uses the same frame. The files are named after the layers'
weights, the code of all networks and the bytes of the frame, so they cannot be wrong, and may be deleted at
any time.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from slimstream.clips.packs import save_array
from slimstream.core.files import atomic_write
from slimstream.core.fingerprint import PACKAGE, code_key
from slimstream.datasets.dataset import Batch
from slimstream.models.checkpoint import weight_hash


@runtime_checkable
class HasFrozenLayers(Protocol):
    """A network whose first layers are frozen. It takes a clip, or what they have made of one."""

    def frozen_layers(self) -> nn.Module | None:
        """The frozen layers; None where all are trained."""

    def frozen_features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W), or what `front` makes of it, to what the frozen layers make, (B, T, ...)."""

    def shared_frozen_layers(self) -> nn.Module | None:
        """The first of them, which other networks share that learn more; None where there are none."""

    def shared_frozen_features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to what those make of it, (B, T, ...)."""


def cache_frozen_features(model: nn.Module, batches: Iterable[Batch], cache: Path) -> Iterable[Batch]:
    """The same batches, their clips (B, T, C, H, W) as `model`'s frozen layers leave them.

    Unchanged for a network without such layers. Values are rounded to half precision, whether they are
    computed or read, so that a training does not depend on what was cached. Where `model` has a front, what
    follows starts from its rounded values: the baseline and the network that is trained share them.
    """
    layers = model.frozen_layers() if isinstance(model, HasFrozenLayers) else None
    if layers is None:
        return batches
    assert isinstance(model, HasFrozenLayers)
    folder, front = cache / "trunk" / _key(layers), model.shared_frozen_layers()
    if front is None:
        return _cached(batches, lambda batch: _made(model, model.frozen_features, batch.clip), folder)
    shared = cache / "trunk" / _key(front)

    def from_front(batch: Batch) -> Tensor:
        (half,) = _cached(
            [batch], lambda batch: _made(model, model.shared_frozen_features, batch.clip), shared
        )
        return _made(model, model.frozen_features, half.clip)

    # A name of its own: from pixels the last digits would be others.
    return _cached(batches, from_front, folder / "from-front")


def _cached(batches: Iterable[Batch], make: Callable[[Batch], Tensor], folder: Path) -> Iterator[Batch]:
    """The batches with what `make` makes of their clips, read from `folder` where it was made before."""
    for batch in batches:
        if not len(batch.indices):  # other processes have it
            yield batch
            continue
        files = [folder / _digest(frame) for frame in batch.clip.flatten(0, 1)]
        if not all(file.exists() for file in files):
            for file, frame in zip(files, make(batch).flatten(0, 1).numpy(), strict=True):
                _write(file, frame)
        read = torch.from_numpy(np.stack([np.load(file, allow_pickle=False) for file in files]))
        yield replace(batch, clip=read.float().unflatten(0, batch.clip.shape[:2]))


@torch.inference_mode()  # and no more within it: a training could not learn from the batch
def _made(model: nn.Module, layers: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    """Output of `layers` of `model` for `clips`, in half precision."""
    device = next(model.parameters()).device
    # Clip by clip: a CPU's caches hold the maps of one, and it takes half the time.
    return torch.cat([layers(clip.to(device)).half().cpu() for clip in clips.split(1)])


def _digest(frame: Tensor) -> str:
    name = hashlib.blake2b(frame.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
    return f"{name[:2]}/{name}.npy"


def _write(file: Path, array: np.ndarray) -> None:
    """Folds and stages may run side by side, and any of them may be killed."""
    with atomic_write(file) as half, half.open("wb") as out:
        save_array(out, array)


def _key(layers: nn.Module) -> str:
    return hashlib.sha256(f"{weight_hash(layers)} {_code()}".encode()).hexdigest()


@cache
def _code() -> str:
    return code_key([PACKAGE / "models", Path(__file__).resolve()])
