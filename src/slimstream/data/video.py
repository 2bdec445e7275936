"""Decoding with OpenCV: every frame is grabbed, only the wanted ones are converted, nothing seeks.

Seeking lands on key frames in many containers; a sequential pass is exact and, for dense sampling, faster.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
"""One RGB picture (H, W, 3), 0..255."""

SUFFIXES = {".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".ts"}


class UnreadableVideo(ValueError):
    """The file holds no video that can be decoded; the message says why."""


@dataclass(frozen=True)
class VideoInfo:
    """What the container's header says; `frames` is only a claim until the clip is decoded."""

    frames: int
    fps: float
    width: int
    height: int
    codec: str

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def probe(path: Path) -> VideoInfo:
    """Read a header. Raises UnreadableVideo when there is no video stream."""
    capture = _open(path)
    try:
        fps = capture.get(cv2.CAP_PROP_FPS)
        codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1").strip("\0 ")
        return VideoInfo(
            frames=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
            fps=fps if 0 < fps < 10_000 else 25.0,
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            codec=codec,
        )
    finally:
        capture.release()


def frames(path: Path, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Frame]]:
    """Yield (index, RGB frame (H, W, 3) uint8) in order, all of them or those `wanted`.

    Stops after the last wanted frame. Raises UnreadableVideo when nothing at all can be decoded.
    """
    chosen = None if wanted is None else frozenset(wanted)
    last = None if chosen is None else max(chosen, default=-1)
    capture = _open(path)
    try:
        index = 0
        while (last is None or index <= last) and capture.grab():
            if chosen is None or index in chosen:
                ok, picture = capture.retrieve()
                if not ok:
                    break
                if picture.ndim == 2:
                    picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
                yield index, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            index += 1
        if index == 0 and last != -1:
            raise UnreadableVideo("no frame can be decoded")
    finally:
        capture.release()


def count_frames(path: Path) -> int:
    """Decode the whole clip and count; what the header claims may be wrong."""
    capture = _open(path)
    try:
        count = 0
        while capture.grab():
            count += 1
        return count
    finally:
        capture.release()


def _open(path: Path) -> cv2.VideoCapture:
    cv2.setNumThreads(1)  # parallelism is one process per core, never threads within a clip
    if not path.is_file() or path.stat().st_size == 0:
        raise UnreadableVideo("the file is empty" if path.is_file() else "the file is missing")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        capture.release()
        raise UnreadableVideo("no video stream can be opened")
    return capture
