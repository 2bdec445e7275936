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
    """What the container's header says; all of it is only a claim until the clip is decoded."""

    frames: int
    """0 where the header gives no number."""
    fps: float
    """Mean frames per second; 0 for a picture, which has no length."""
    width: int
    """Of the picture as shown, turned as the file says; pixels."""
    height: int
    codec: str
    duration: float = 0.0
    """Seconds that the video track claims to last; 0 where the header does not say."""
    interlaced: bool = False
    """Each frame holds two half pictures of different moments."""

    @property
    def seconds(self) -> float:
        """Claimed length; 0 for a picture."""
        if self.duration:
            return self.duration
        return self.frames / self.fps if self.fps else 0.0
