"""Decoding with OpenCV: every frame is grabbed, only the wanted ones are converted, nothing seeks.

Seeking lands on key frames in many containers; a sequential pass is exact and, for dense sampling, faster.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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


class Reader:
    """One sequential pass: iterating grabs frame after frame, `picture()` converts the one last grabbed.

        with Reader(path) as clip:
            pictures = {index: clip.picture() for index in clip if index % 5 == 0}

    Raises UnreadableVideo when there is no video stream.
    """

    def __init__(self, path: Path) -> None:
        cv2.setNumThreads(1)  # parallelism is one process per core, never threads within a clip
        if not path.is_file() or path.stat().st_size == 0:
            raise UnreadableVideo("the file is empty" if path.is_file() else "the file is missing")
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise UnreadableVideo("no video stream can be opened")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.release()

    @property
    def info(self) -> VideoInfo:
        capture = self._capture
        fps = capture.get(cv2.CAP_PROP_FPS)
        codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1").strip("\0 ")
        return VideoInfo(
            frames=max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))),
            fps=fps if 0 < fps < 10_000 else 25.0,
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            codec=codec,
        )

    def __iter__(self) -> Iterator[int]:
        index = 0
        while self._capture.grab():
            yield index
            index += 1

    def picture(self) -> Frame:
        """The frame last grabbed, (H, W, 3) uint8 RGB. Raises UnreadableVideo when it cannot be converted."""
        ok, picture = self._capture.retrieve()
        if not ok:
            raise UnreadableVideo("a frame cannot be converted")
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)


def probe(path: Path) -> VideoInfo:
    """Read a header. Raises UnreadableVideo when there is no video stream."""
    with Reader(path) as clip:
        return clip.info


def frames(path: Path, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Frame]]:
    """Yield (index, RGB frame (H, W, 3) uint8) in order, all of them or those `wanted`.

    Stops after the last wanted frame. Raises UnreadableVideo when nothing at all can be decoded.
    """
    chosen = None if wanted is None else frozenset(wanted)
    if chosen is not None and not chosen:
        return
    index = -1
    with Reader(path) as clip:
        for index in clip:
            if chosen is None or index in chosen:
                yield index, clip.picture()
            if chosen is not None and index == max(chosen):
                return
    if index < 0:
        raise UnreadableVideo("no frame can be decoded")


def sampled(path: Path, step: int) -> Iterator[tuple[int, Frame | None]]:
    """Decode to the very end; yield (index, picture), a picture at multiples of `step` and None between.

    Raises UnreadableVideo when nothing at all can be decoded.
    """
    index = -1
    with Reader(path) as clip:
        for index in clip:
            yield index, clip.picture() if index % step == 0 else None
    if index < 0:
        raise UnreadableVideo("no frame can be decoded")


def count_frames(path: Path) -> int:
    """Decode the whole clip and count; what the header claims may be wrong."""
    with Reader(path) as clip:
        return sum(1 for _ in clip)
