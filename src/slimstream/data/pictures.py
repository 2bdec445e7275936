"""A picture as a clip of one frame, decoded with OpenCV."""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from slimstream.data.media import Frame, UnreadableVideo, VideoInfo
from slimstream.data.timeline import Timeline

_FORMATS = {b"\xff\xd8": "jpeg", b"\x89P": "png", b"BM": "bmp", b"II": "tiff", b"MM": "tiff"}
"""The first two bytes of a picture."""


class Still:
    """A picture as a clip of one frame, with what a `Reader` has.

    Colours of more than 8 bits become 8, transparency is left out, and the camera's note of how it was held
    is heeded, as OpenCV does it. Raises UnreadableVideo when there is no whole picture.
    """

    interlaced = 0
    """Frames that were deinterlaced."""

    def __init__(self, path: Path) -> None:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong is said by us
        if not path.is_file():
            raise UnreadableVideo("the file is missing")
        data = path.read_bytes()
        if not data:
            raise UnreadableVideo("the file is empty")
        self._format = _FORMATS.get(data[:2], "")
        if self._format == "jpeg" and b"\xff\xd9" not in data[data.rfind(b"\xff\xda") :]:
            # Alone among the decoders, that of JPEG paints what is missing grey: look for the end mark.
            raise UnreadableVideo("the picture is truncated")
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            picture = None
        if picture is None:
            raise UnreadableVideo("no picture can be decoded")
        self._picture: Frame = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def info(self) -> VideoInfo:
        height, width = self._picture.shape[:2]
        return VideoInfo(frames=1, fps=0.0, width=width, height=height, codec=self._format)

    def claimed(self) -> Timeline:
        """One frame, which has no length."""
        return self.timeline()

    def timeline(self) -> Timeline:
        """One frame, which has no length."""
        return Timeline(np.zeros(1))

    def damage(self) -> str:
        """Nothing: what is no whole picture was not opened."""
        return ""

    truncation = damage

    def __iter__(self) -> Iterator[int]:
        yield 0

    def picture(self) -> Frame:
        return self._picture
