"""Loading: clips of 25 RGB and 25 flow frames into a batch."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.clips import packs, read, videos
from benchmarks.compare import Result, compare_times
from slimstream.clips.params import ExtractParams
from slimstream.datasets.dataset import ClipDataset, evaluation_batches

BATCH = 8
P = ExtractParams(frames=25, size=(224, 224), flow="dis")


def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        ids = packs(root / "packs", videos(root / "videos", BATCH, 3.0), P)
        for id_ in ids:
            to_jpeg(np.load(root / f"packs/{id_}.npy"), root / "jpeg" / id_)
        clips = ClipDataset(root / "packs", ids, [0] * BATCH)

        def ours() -> torch.Tensor:
            (batch,) = evaluation_batches(clips, BATCH)
            return batch.clip

        def bare() -> torch.Tensor:
            arrays = [np.load(root / f"packs/{id_}.npy", mmap_mode="r") for id_ in ids]
            return torch.from_numpy(np.stack(arrays))

        def jpeg() -> np.ndarray:
            return from_jpeg(root / "jpeg", ids)

        assert torch.equal(ours().permute(0, 1, 3, 4, 2), bare())
        assert np.abs(jpeg().astype(int) - bare().numpy()).mean() < 6
        return [
            compare_times("load", ("packs", ours), ("JPEG folder", jpeg), most=1 / 10),
            compare_times("load", ("packs", ours), ("np.load(mmap), bare", bare), most=1 / 0.85, rounds=31),
        ]


def to_jpeg(array: np.ndarray, folder: Path) -> None:
    """Write a pack (T, H, W, 5) as JPEG files: RGB and both components of flow per frame."""
    folder.mkdir(parents=True)
    for i, frame in enumerate(array):
        cv2.imwrite(str(folder / f"{i:03d}.jpg"), frame[..., 2::-1])
        for axis, name in enumerate("xy", 3):
            cv2.imwrite(str(folder / f"{i:03d}-{name}.jpg"), frame[..., axis])


def from_jpeg(root: Path, ids: list[str]) -> np.ndarray:
    """Read clips from JPEG files, (B, T, H, W, 5) uint8."""
    clips = []
    for id_ in ids:
        frames = []
        for i in range(P.frames or 0):
            rgb = read(root / id_ / f"{i:03d}.jpg", cv2.IMREAD_COLOR)[..., ::-1]
            xy = [read(root / id_ / f"{i:03d}-{name}.jpg") for name in "xy"]
            frames.append(np.dstack([rgb, *xy]))
        clips.append(np.stack(frames))
    return np.stack(clips)
