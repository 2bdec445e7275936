"""The last seconds of a camera as JPEG pictures, for its tile and for the clips of events."""

from collections import deque
from fractions import Fraction
from pathlib import Path

import av
import cv2
import simplejpeg

from slimstream.core.files import atomic_write
from slimstream.core.media import Frame

RATE = 4
"""Pictures a second."""
WIDTH = 640
"""Pixels that wider pictures are reduced to."""
QUALITY = 80
MILLISECOND = Fraction(1, 1000)


Reel = list[tuple[float, bytes]]
"""Pictures as JPEG, each with its time in seconds since 1970, in order."""


class Film:
    """A few pictures a second of the last `seconds`, the newest last."""

    def __init__(self, seconds: float) -> None:
        self._shots: deque[tuple[float, bytes]] = deque(maxlen=max(1, round(seconds * RATE)))

    def due(self, now: float) -> bool:
        """Whether a picture is wanted at `now`, in seconds since 1970."""
        return not self._shots or not 0 <= now - self._shots[-1][0] < 1 / RATE

    def add(self, picture: Frame, now: float) -> None:
        """Keep a picture (H, W, 3) uint8 RGB of the time `now`."""
        height, width = picture.shape[:2]
        if width > WIDTH:
            small = (WIDTH, round(height * WIDTH / width))
            picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        self._shots.append((now, simplejpeg.encode_jpeg(picture, QUALITY, colorsubsampling="420")))

    @property
    def last(self) -> bytes | None:
        """The newest picture as JPEG."""
        return self._shots[-1][1] if self._shots else None

    def reel(self) -> Reel:
        """All pictures with their times."""
        return list(self._shots)


def write_film(reel: Reel, path: Path) -> None:
    """Write the pictures of a `Film` as H.264 in MP4, which browsers play. Raises OSError."""
    first, pictures = reel[0][0], [(time, simplejpeg.decode_jpeg(jpeg)) for time, jpeg in reel]
    height, width = pictures[0][1].shape[:2]
    size = width // 2 * 2, height // 2 * 2  # even, as 4:2:0 wants
    with atomic_write(path) as half, av.open(str(half), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "26"})
        stream.width, stream.height = size
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", MILLISECOND
        pts = -1
        for time, picture in pictures:
            frame = av.VideoFrame.from_ndarray(cv2.resize(picture, size), format="rgb24")
            pts = max(round((time - first) / MILLISECOND), pts + 1)  # the clock may have been set back
            frame.pts, frame.time_base = pts, MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
