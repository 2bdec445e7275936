"""Videos and pictures as files: their suffixes, what a header says, and why one cannot be read."""

from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
"""One RGB picture (H, W, 3), 0..255."""

VIDEOS = {
    *(".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v"),
    *(".avi", ".divx", ".mkv", ".webm", ".flv", ".ogv", ".wmv", ".asf", ".mxf", ".dv"),
    *(".mpg", ".mpeg", ".mpe", ".vob", ".ts", ".mts", ".m2ts", ".m2t"),
    *(".y4m", ".ivf", ".mjpeg", ".mjpg", ".m1v", ".m2v", ".h264", ".264", ".h265", ".265", ".hevc"),  # bare
}
PICTURES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
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
    """Of the picture as it is stored, before it is turned as the file may say; pixels."""
    height: int
    codec: str
    duration: float = 0.0
    """Seconds that the video track claims to last; 0 where the header does not say."""
    interlaced: bool = False
    """Each frame holds two half pictures of different moments."""
    peak: int = 0
    """Largest value of a picture of 16 bits; 0 for what has fewer."""

    @property
    def seconds(self) -> float:
        """Claimed length; 0 for a picture."""
        if self.duration:
            return self.duration
        return self.frames / self.fps if self.fps else 0.0
