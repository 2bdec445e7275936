"""Video and picture files: known suffixes, header information, and the error for unreadable files."""

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
"""Lower-case suffixes. The suffix says whether a file is a clip; its content says how it is decoded."""


class UnreadableVideo(ValueError):
    """The file cannot be decoded as a video or picture; the message gives the reason."""


def is_picture(name: str | PurePath) -> bool:
    """Return True when the suffix of `name` is that of a picture (a clip of one frame)."""
    return PurePath(name).suffix.lower() in PICTURES


@dataclass(frozen=True)
class VideoInfo:
    """Header of a video or picture file. Its values may be wrong until the clip is decoded."""

    frames: int
    """Number of frames; 0 when the header does not have it."""
    fps: float
    """Mean frames per second; 0 for a picture."""
    width: int
    """Pixels, as stored, before any rotation that the file asks for."""
    height: int
    codec: str
    duration: float = 0.0
    """Duration of the video track in seconds; 0 when the header does not have it."""
    interlaced: bool = False
    """True when each frame holds two fields of different moments."""
    peak: int = 0
    """Largest value of a 16-bit picture; 0 for other pictures and videos."""

    @property
    def seconds(self) -> float:
        """Duration in seconds according to the header; 0 for a picture."""
        if self.duration:
            return self.duration
        return self.frames / self.fps if self.fps else 0.0
