"""Cache of the output of a network's frozen layers.

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
    """A network whose first layers are frozen. Its input is a clip, or the output of these layers."""

    def frozen_layers(self) -> nn.Module | None:
        """Return the frozen layers, or None when all layers are trained."""

    def frozen_features(self, clip: Tensor) -> Tensor:
        """Run the frozen layers on a clip (B, T, C, H, W), or the rest of them on the output of
        `shared_frozen_features`. Returns (B, T, ...)."""

    def shared_frozen_layers(self) -> nn.Module | None:
        """Return the first frozen layers, which networks with fewer frozen layers share, or None."""

    def shared_frozen_features(self, clip: Tensor) -> Tensor:
        """Run `shared_frozen_layers` on a clip (B, T, C, H, W). Returns (B, T, ...)."""


def cache_frozen_features(model: nn.Module, batches: Iterable[Batch], cache: Path) -> Iterable[Batch]:
    """Yield the batches with their clips (B, T, C, H, W) replaced by the output of the frozen layers.

    Batches of a network without frozen layers are unchanged. Values are rounded to half precision, computed
    or read, so that a training does not depend on the cache. When `model` has `shared_frozen_layers`, the
    remaining layers start from their rounded output: the baseline and the trained network share it.
    """
    layers = model.frozen_layers() if isinstance(model, HasFrozenLayers) else None
    if layers is None:
        return batches
    assert isinstance(model, HasFrozenLayers)
    folder, first = cache / "trunk" / _key(layers), model.shared_frozen_layers()
    if first is None:
        return _cached(batches, lambda batch: _made(model, model.frozen_features, batch.clip), folder)
    shared = cache / "trunk" / _key(first)

    def from_shared(batch: Batch) -> Tensor:
        (half,) = _cached(
            [batch], lambda batch: _made(model, model.shared_frozen_features, batch.clip), shared
        )
        return _made(model, model.frozen_features, half.clip)

    # A folder of its own: the last digits differ from those computed from pixels.
    return _cached(batches, from_shared, folder / "from-front")


def _cached(batches: Iterable[Batch], make: Callable[[Batch], Tensor], folder: Path) -> Iterator[Batch]:
    """Yield the batches with `make(batch)` as clips, read from `folder` when it was computed before."""
    for batch in batches:
        if not len(batch.indices):  # other processes have it
            yield batch
            continue
        files = [folder / digest(frame.contiguous().numpy()) for frame in batch.clip.flatten(0, 1)]
        if not all(file.exists() for file in files):
            for file, frame in zip(files, make(batch).flatten(0, 1).numpy(), strict=True):
                write_array(file, frame)
        read = torch.from_numpy(np.stack([np.load(file, allow_pickle=False) for file in files]))
        yield replace(batch, clip=read.float().unflatten(0, batch.clip.shape[:2]))


@torch.inference_mode()  # and no more within it: a training could not learn from the batch
def _made(model: nn.Module, layers: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    """Run `layers` of `model` on `clips`. Returns half precision on the CPU."""
    device = next(model.parameters()).device
    # Clip by clip: a CPU's caches hold the maps of one, and it takes half the time.
    return torch.cat([layers(clip.to(device)).half().cpu() for clip in clips.split(1)])


def digest(pixels: np.ndarray) -> str:
    """Name of the file that belongs to these pixels, with a folder."""
    # With the shape: pictures of other sizes or channels may have the same bytes, as black ones have.
    content = f"{pixels.shape} {pixels.dtype} ".encode() + pixels.tobytes()
    name = hashlib.blake2b(content, digest_size=16).hexdigest()
    return f"{name[:2]}/{name}.npy"


def write_array(file: Path, array: np.ndarray) -> None:
    """Write `array` whole or not at all: folds and stages run side by side, and any of them may be killed."""
    with atomic_write(file) as half, half.open("wb") as out:
        save_array(out, array)


def _key(layers: nn.Module) -> str:
    # With their settings, which `repr` shows: dilation changes what weights of the same shapes make.
    return hashlib.sha256(f"{weight_hash(layers)} {layers!r} {_code()}".encode()).hexdigest()


@cache
def _code() -> str:
    return code_key([PACKAGE / "models", Path(__file__).resolve()])
