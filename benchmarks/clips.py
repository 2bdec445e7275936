"""Videos for the benchmarks: the simulated rig in a camera's resolution, and packs of them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.clips.packs import pack_clip, save_array
from slimstream.clips.params import ExtractParams
from slimstream.stages.ingest import rig

SIZE = (640, 480)
FPS = 25.0
P1 = ExtractParams(fraction=0.2, size=(224, 224))
"""Every fifth frame with the flow to the next frame, in the size of the networks' input."""


def videos(folder: Path, count: int, seconds: float, size: tuple[int, int] = SIZE) -> list[Path]:
    """Write `count` clips of the rig with 25 frames per second into `folder`; `size` is (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for clip in rig.rig_clips(count, 1, seconds, FPS, 0)[:count]:
        files.append(folder / f"{clip.name}-{clip.state}.mp4")
        writer = cv2.VideoWriter(str(files[-1]), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, size)
        for frame in rig.render(clip):
            writer.write(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC))
        writer.release()
    return files


def read(file: Path, flags: int = cv2.IMREAD_GRAYSCALE) -> npt.NDArray[np.uint8]:
    """Read a picture, (H, W) grey or (H, W, 3) BGR, uint8."""
    picture = cv2.imread(str(file), flags)
    assert picture is not None, file
    return np.asarray(picture, np.uint8)


def packs(folder: Path, files: Sequence[Path], p: ExtractParams) -> list[str]:
    """Pack `files` into `folder` as extract does; returns the clips' ids."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for file in files:
        packed = pack_clip(file, p)
        with (folder / f"{file.stem}.npy").open("wb") as out:
            save_array(out, packed.array)
        rows.append({"id": file.stem, "clip": 0, "file": f"{file.stem}.npy", "first": 0})
        rows[-1] |= {"frames": len(packed.array), "dropped": packed.dropped, "seconds": packed.seconds}
    pd.DataFrame(rows).to_parquet(folder / "index.parquet")
    return [file.stem for file in files]
