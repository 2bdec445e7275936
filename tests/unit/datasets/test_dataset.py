"""Batches are pure functions of seed, epoch, clip and view."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from slimstream.clips.params import Reduction
from slimstream.clips.reduce import reduce_pack
from slimstream.core.errors import UserError
from slimstream.datasets.dataset import (
    Batch,
    Batches,
    ClipDataset,
    evaluation_batches,
    piece_sizes,
    training_batches,
)
from slimstream.datasets.params import AugmentParams

PLAIN = AugmentParams(crop=1, hflip=0)
LENGTHS = [6, 6, 4, 6, 4, 6, 6, 4, 6]


def save(folder: Path, lengths: list[int]) -> ClipDataset:
    """Clip i holds the value 20 i + t in all of its frame t."""
    folder.mkdir(exist_ok=True)
    ids = [f"clip-{index}" for index in range(len(lengths))]
    for index, length in enumerate(lengths):
        values = (20 * index + np.arange(length)).astype(np.uint8)
        np.save(
            folder / f"{ids[index]}.npy", np.broadcast_to(values[:, None, None, None], (length, 16, 20, 5))
        )
    index = pd.DataFrame({"id": ids, "clip": 0, "file": [f"{id_}.npy" for id_ in ids], "first": 0})
    index.assign(frames=lengths).to_parquet(folder / "index.parquet")
    return ClipDataset(folder, ids, [index % 3 for index in range(len(lengths))])


@pytest.fixture
def clips(tmp_path: Path) -> ClipDataset:
    return save(tmp_path / "packs", LENGTHS)


def train(clips: ClipDataset, **changes: object) -> Batches:
    settings = dict(batch_size=4, frames=3, augment=PLAIN, seed=0, epoch=0, view=0) | changes
    return training_batches(clips, **settings)  # type: ignore[arg-type]


def by_clip(batches: Batches) -> dict[int, torch.Tensor]:
    return {int(i): clip for batch in batches for i, clip in zip(batch.indices, batch.clip, strict=True)}


def check(batch: Batch, clips: ClipDataset) -> None:
    assert batch.indices.dtype == batch.labels.dtype == torch.int64
    assert batch.labels.tolist() == [clips.labels[i] for i in batch.indices]
    for index, clip in zip(batch.indices.tolist(), batch.clip, strict=True):
        assert set((clip[:, 0, 0, 0].int() // 20).tolist()) == {index}


def test_packs_are_memory_mapped(clips: ClipDataset) -> None:
    pack = clips.all_frames(2)
    assert isinstance(pack, np.memmap) and pack.shape == (4, 16, 20, 5) and not pack.flags.writeable
    assert not isinstance(clips.sample(2, 3, np.random.default_rng(0)), np.memmap)


def test_one_frame_of_each_part(clips: ClipDataset) -> None:
    drawn = [
        (clips.sample(0, 3, np.random.default_rng(seed))[:, 0, 0, 0] // 2).tolist() for seed in range(20)
    ]
    assert all(parts == [0, 1, 2] for parts in drawn)
    frames = {tuple(clips.sample(0, 3, np.random.default_rng(seed))[:, 0, 0, 0]) for seed in range(20)}
    assert len(frames) > 3, "which frame of a part varies"


def test_a_clip_with_fewer_frames_repeats_some(clips: ClipDataset) -> None:
    drawn = clips.sample(2, 8, np.random.default_rng(0))[:, 0, 0, 0] - 40
    assert drawn.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_training_batches(clips: ClipDataset) -> None:
    batches = train(clips)
    seen = list(batches)
    assert len(seen) == len(batches) == 3
    assert seen[0].clip.shape == (4, 3, 5, 16, 20) and seen[0].clip.dtype == torch.float32
    assert sorted(torch.cat([batch.indices for batch in seen]).tolist()) == list(range(9))
    for batch in seen:
        check(batch, clips)


@pytest.mark.parametrize(
    "count, size, sizes",
    [
        (9, 4, [4, 3, 2]), (8, 4, [4, 4]), (7, 4, [4, 3]), (5, 2, [2, 3]), (3, 2, [3]), (2, 4, [2]),
        (1, 4, [1]), (3, 1, [1, 1, 1]), (4, 3, [2, 2]), (0, 4, []),
    ],
)  # fmt: skip
def test_no_batch_of_one_where_it_can_be_helped(
    tmp_path: Path, count: int, size: int, sizes: list[int]
) -> None:
    clips = save(tmp_path / "packs", [2] * count)
    assert [len(batch.indices) for batch in train(clips, batch_size=size, frames=1)] == sizes


def test_order_follows_seed_and_epoch(clips: ClipDataset) -> None:
    def order(**changes: int) -> list[int]:
        return torch.cat([batch.indices for batch in train(clips, **changes)]).tolist()

    assert order() == order() == order(view=5)
    assert len({tuple(order(epoch=epoch, seed=seed)) for epoch in (0, 1) for seed in (0, 1)}) == 4


def test_a_view_is_the_same_in_every_epoch_order_and_set(clips: ClipDataset) -> None:
    full = AugmentParams(crop=0.6, hflip=0.5, vflip=0.5, brightness=0.2)
    first, later = (
        by_clip(train(clips, augment=full)),
        by_clip(train(clips, augment=full, epoch=7, batch_size=2)),
    )
    assert all(torch.equal(first[index], later[index]) for index in first)
    other = by_clip(train(clips, augment=full, view=1))
    assert not any(torch.equal(first[index], other[index]) for index in first)
    few = ClipDataset(clips.packs, clips.ids[3:5], clips.labels[3:5])
    assert torch.equal(by_clip(train(few, augment=full))[0], first[3])


def test_evaluation_shows_all_frames_of_all_clips(clips: ClipDataset) -> None:
    batches = evaluation_batches(clips, batch_size=4)
    seen = list(batches)
    assert len(seen) == len(batches) == 3
    assert sorted(torch.cat([batch.indices for batch in seen]).tolist()) == list(range(9))
    for batch in seen:
        check(batch, clips)
        assert batch.clip.dtype == torch.uint8
        assert batch.clip.shape[1] == LENGTHS[batch.indices[0]]
        expected = np.stack([clips.all_frames(i) for i in batch.indices]).transpose(0, 1, 4, 2, 3)
        assert np.array_equal(batch.clip.numpy(), expected)
        assert batch.clip.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


def test_missing_packs_are_named(clips: ClipDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lacks 1 clips, gone first"):
        ClipDataset(clips.packs, ["clip-0", "gone"], [0, 1])
    with pytest.raises(UserError, match=r"index.parquet is missing: run the extract stage"):
        ClipDataset(tmp_path, [], [])
    with pytest.raises(ValueError):
        ClipDataset(clips.packs, ["clip-0"], [])


def test_clips_are_shown_as_a_network_sees_them(clips: ClipDataset) -> None:
    """Clips of 6 and of 4 frames; three frames are kept of each, their flow alone, half as large."""
    reduce = Reduction(frames=3, size=(8, 10), streams="flow")
    few = ClipDataset(clips.packs, clips.ids, clips.labels, reduce)
    assert few.lengths == [3] * len(clips) and clips.lengths == LENGTHS
    for index in range(len(clips)):
        assert np.array_equal(few.all_frames(index), reduce_pack(clips.all_frames(index), reduce))
    assert few.all_frames(0)[:, 0, 0, 0].tolist() == [0, 2, 5]
    assert set(few.sample(0, 8, np.random.default_rng(0))[:, 0, 0, 0].tolist()) <= {0, 2, 5}
    again = few.reduced(None)
    assert again.lengths == LENGTHS and np.array_equal(again.all_frames(2), clips.all_frames(2))
    batch = next(iter(train(few, augment=AugmentParams(brightness=0.5, vflip=0.5))))
    assert batch.clip.shape == (4, 3, 2, 8, 10)
    assert evaluation_batches(few, 4).chunks[0].tolist() == [0, 1, 2, 3]
    assert [c.tolist() for c in evaluation_batches(few, 2, np.array([3, 0, 2])).chunks] == [[0, 2], [3]]


def test_pieces_are_few_and_none_is_one_clip_unless_it_must_be() -> None:
    assert piece_sizes(16, 8) == [8, 8] and piece_sizes(20, 8) == [7, 7, 6]
    assert piece_sizes(9, 8) == [5, 4], "not 8 and 1: batch norm learns nothing from one value"
    assert piece_sizes(1, 8) == [1] and piece_sizes(2, 1) == [1, 1] and piece_sizes(0, 8) == []
