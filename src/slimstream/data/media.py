"""Videos and pictures as files: their suffixes, what a header says, and why one cannot be read."""

from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
"""One RGB picture (H, W, 3), 0..255."""

VIDEOS = {".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".ts"}
PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
"""Suffixes, in small letters; what a file is goes by its name, how it is decoded by its content."""


class UnreadableVideo(ValueError):
    """The file holds no video or picture that can be decoded; the message says why."""


def is_picture(name: str | PurePath) -> bool:
    """Whether a file of this name is a picture, a clip of one frame."""
    return PurePath(name).suffix.lower() in PICTURES


@dataclass(frozen=True)
class VideoInfo:
    """What the container's header says; `frames` is only a claim until the clip is decoded."""

    frames: int
    fps: float
    """0 for a picture, which has no length."""
    width: int
    height: int
    codec: str

    @property
    def seconds(self) -> float:
        return self.frames / self.fps if self.fps else 0.0
