"""Load batches of clips from packs.

A batch is a pure function of its arguments: the order depends on (seed, epoch), the sampled frames and the
augmentation of a clip on (seed, id of the clip, view). A resumed training therefore sees the same batches,
and a teacher sees exactly the views of its student.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from slimstream.clips.packs import Pack
from slimstream.clips.params import Reduction
from slimstream.clips.reduce import kept_frames, reduce_pictures
from slimstream.core.errors import UserError
from slimstream.datasets.augment import augment_clip
from slimstream.datasets.params import AugmentParams


@dataclass(frozen=True)
class Shard:
    """The part of each training batch that one of several processes loads."""

    number: int = 0
    """Rank of the process, from 0."""
    count: int = 1
    piece: int = 1
    """Largest number of clips of a piece (`piece_sizes`). Pieces go to the processes round robin."""

    def select(self, chunk: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the elements of `chunk` that belong to this process."""
        sizes = piece_sizes(len(chunk), self.piece)
        return chunk[np.repeat(np.arange(len(sizes)), sizes) % self.count == self.number]


ALL = Shard()


def piece_sizes(clips: int, most: int) -> list[int]:
    """Sizes of the fewest pieces of a batch with at most `most` clips each. They differ by one at most.

    So none is a single clip, of which batch norm may have nothing to learn, unless it must be.
    """
    pieces = -(-clips // most)
    return [(clips + number) // pieces for number in reversed(range(pieces))]


@dataclass(frozen=True)
class Batch:
    """B clips of K frames each."""

    indices: Tensor
    """(B,) int64: indices of the clips in the data set."""
    clip: Tensor
    """(B, K, C, H, W) uint8 or float32, 0..255."""
    labels: Tensor
    """(B,) int64."""
    size: int
    """Number of clips of the whole batch, over all processes."""


class ClipDataset:
    """Clips by id, with memory-mapped packs: only the requested frames are read.

    A video that extract cut into several clips gives several consecutive clips.
    """

    def __init__(
        self, packs: Path, ids: Sequence[str], labels: Sequence[int], reduce: Reduction | None = None
    ) -> None:
        """`packs` is the folder written by extract; with `reduce` the clips are shown as it says.

        Raises UserError when the pack of a clip is missing.
        """
        if len(ids) != len(labels):
            raise ValueError(f"{len(ids)} ids, but {len(labels)} labels")
        file = packs / "index.parquet"
        if not file.exists():
            raise UserError(f"{file} is missing: run the extract stage first.")
        index = pd.read_parquet(file, columns=["id", "clip", "file", "first", "frames"])
        if absent := sorted(set(ids) - set(index["id"])):
            raise UserError(
                f"{file} lacks {len(absent)} clips, {absent[0]} first: run the extract stage again."
            )
        given = pd.DataFrame({"id": list(ids), "label": list(labels), "given": np.arange(len(ids))})
        clips = given.merge(index, on="id", sort=False)
        self.packs = packs
        self.ids: list[str] = clips["id"].tolist()
        self.labels = [int(label) for label in clips["label"]]
        self.numbers: list[int] = clips["clip"].tolist()
        """Number of each clip within its video."""
        self.given: list[int] = clips["given"].tolist()
        """Index of each clip's video in the argument `ids`."""
        self._places = list(zip(clips["file"], clips["first"], strict=True))
        self._packed: list[int] = clips["frames"].tolist()
        self._open = lru_cache(4)(self._map)  # few, because every mapped file stays open
        self._show(reduce)

    def _show(self, reduce: Reduction | None) -> None:
        frames = None if reduce is None else reduce.frames
        kept = {count: np.array(kept_frames(count, frames), np.int64) for count in set(self._packed)}
        self.reduce = reduce
        self._kept = [kept[count] for count in self._packed]
        self.lengths = [len(rows) for rows in self._kept]
        """Number of frames of each clip, of those that are shown."""

    def reduced(self, reduce: Reduction | None) -> "ClipDataset":
        """The same clips, shown as `reduce` says."""
        other = copy(self)
        other._show(reduce)
        return other

    def __len__(self) -> int:
        return len(self.ids)

    def all_frames(self, index: int) -> Pack:
        """All frames of a clip: (T, H, W, C) uint8; without `reduce` read only and memory-mapped."""
        file, first = self._places[index]
        if self.reduce is None:
            return self._open(file)[first : first + self.lengths[index]]
        return reduce_pictures(self._open(file)[first + self._kept[index]], self.reduce)

    def _map(self, file: str) -> Pack:
        pack: Pack = np.load(self.packs / file, mmap_mode="r", allow_pickle=False)
        return pack

    @property
    def longest(self) -> int:
        """Frames of the longest pack, whatever `reduce` shows of it."""
        return max(self._packed, default=1)

    def sample(self, index: int, frames: int, rng: np.random.Generator, draws: int | None = None) -> Pack:
        """Return (frames, H, W, C) uint8: one random frame from each of `frames` equal segments, in order.

        As in Wang et al., "Temporal segment networks" (ECCV 2016). A shorter clip repeats frames. `rng` gives
        `draws` ≥ `frames` numbers, so that what it gives next is the same for fewer frames.
        """
        chosen = (np.arange(frames) + rng.random(draws or frames)[:frames]) * self.lengths[index] / frames
        file, first = self._places[index]
        rows = first + self._kept[index][chosen.astype(np.int64)]
        return np.asarray(reduce_pictures(self._open(file)[rows], self.reduce))


@dataclass(frozen=True)
class Batches:
    """A known number of batches, loaded anew in each iteration."""

    chunks: list[npt.NDArray[np.int64]]
    load: Callable[[npt.NDArray[np.int64]], Batch]

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.load, self.chunks)


def training_batches(
    clips: ClipDataset,
    *,
    batch_size: int,
    frames: int,
    augment: AugmentParams,
    seed: int,
    epoch: int,
    view: int,
    shard: Shard = ALL,
) -> Batches:
    """Yield all clips once, shuffled, with `frames` sampled frames each, augmented, as float32 0..255.

    At most as many frames as the longest clip has are sampled. A last batch of one clip is avoided where
    possible, because batch norm needs more. Of each batch only `shard` is loaded. Networks that see different
    parts of the packs get the same augmentation of a clip.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(clips))
    draws = min(frames, clips.longest)
    frames = min(frames, max(clips.lengths, default=frames))

    def load(chunk: npt.NDArray[np.int64]) -> Batch:
        drawn, mine = [], shard.select(chunk)
        for index in mine:
            name = hashlib.sha256(clips.ids[index].encode()).digest()
            rng = np.random.default_rng([seed, int.from_bytes(name[:8]) + clips.numbers[index], view])
            pack = torch.from_numpy(clips.sample(index, frames, rng, draws))
            drawn.append(augment_clip(pack.permute(0, 3, 1, 2), augment, rng))
        clip = torch.stack(drawn) if drawn else torch.empty(0, frames)
        return replace(_batch(clips, mine, clip), size=len(chunk))

    return Batches(_chunks(order, batch_size), load)


def evaluation_batches(
    clips: ClipDataset, batch_size: int, drawn: npt.NDArray[np.int64] | None = None
) -> Batches:
    """Return batches of all clips, or of the indices `drawn`, uint8, with every frame.

    The clips of a batch have equal length.
    """
    lengths = np.array(clips.lengths)
    wanted = np.arange(len(lengths)) if drawn is None else np.sort(drawn)
    chunks = [
        chunk[start : start + batch_size]
        for chunk in (wanted[lengths[wanted] == length] for length in np.unique(lengths))
        for start in range(0, len(chunk), batch_size)
    ]

    def load(chunk: npt.NDArray[np.int64]) -> Batch:
        packs = torch.from_numpy(np.stack([clips.all_frames(index) for index in chunk]))
        return _batch(clips, chunk, packs.permute(0, 1, 4, 2, 3))  # a view, channels last in memory

    return Batches(chunks, load)


def _batch(clips: ClipDataset, chunk: npt.NDArray[np.int64], clip: Tensor) -> Batch:
    labels = torch.tensor([clips.labels[index] for index in chunk], dtype=torch.int64)
    return Batch(torch.from_numpy(chunk), clip, labels, len(chunk))


def _chunks(order: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    cuts = list(range(size, len(order), size))
    if cuts and len(order) - cuts[-1] == 1 and size > 1:
        # A last batch of one clip takes a clip of the batch before, or is merged when that has only two.
        cuts = [*cuts[:-1], cuts[-1] - 1] if size > 2 else cuts[:-1]
    return np.split(order, cuts) if len(order) else []
