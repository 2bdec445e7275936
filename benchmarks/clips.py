"""Videos for the benchmarks: the simulated rig in a camera's resolution, and packs of them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.clips.packs import pack_clip, save_array
from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.core.media import VIDEOS
from slimstream.stages.ingest.plants import rig

SIZE = (640, 480)
FPS = 25.0
P1 = ExtractParams(fraction=0.2, size=(224, 224))
"""Every fifth frame with the flow to the next frame, in the size of the networks' input."""

TWO_STREAMS = ExtractParams(frames=8, size=(224, 224), stride=5, bound=11.2)
"""Eight frames with their flow, as the recipe `tank` packs them."""
FOUR = NetworkInput.of(TWO_STREAMS, Reduction(frames=4, streams="rgb"))
"""What a slim network sees of it: four frames without flow."""
CAMERA = (320, 240)
"""Width and height of a surveillance clip."""
CLIPS = 8
"""Number of clips that are taken of a folder of the user's."""


def surveillance_clips(folder: Path, source: Path | None) -> list[Path]:
    """Clips of 10 s in h264: some of the folder `source`, spread over it; or a rendered one in `folder`."""
    if source is None:
        return [encode(folder / "clip.mp4", "libx264", {"crf": "23"}, CAMERA)]
    found = sorted(file for file in source.rglob("*") if file.suffix.lower() in VIDEOS)
    assert found, f"no video in {source}"
    return found[:: max(1, len(found) // CLIPS)][:CLIPS]


def encode(path: Path, codec: str, options: dict[str, str], size: tuple[int, int] = SIZE) -> Path:
    """Write a clip of the rig, 10 s, encoded with `options`; `size` is (width, height)."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(FPS), options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for frame in rig.render(rig.rig_clips(1, 1, 10.0, FPS, 0)[0]):
            picture = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return path


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
