"""The frames of a window at the camera's size: as JPEG in memory, as a clip on the disk."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import simplejpeg

from slimstream.core.files import atomic_write
from slimstream.core.media import Frame

WIDTH = 1280
"""Pixels that wider pictures are reduced to."""
QUALITY = 92
"""Of the JPEG pictures in memory."""
CRF = "12"
"""Of H.264: hardly a visible difference, about 8 times the bytes of the usual 23."""
TICK = Fraction(1, 90_000)


def compress(picture: Frame) -> bytes:
    """A frame (H, W, 3) uint8 RGB as JPEG, at most WIDTH pixels wide."""
    height, width = picture.shape[:2]
    if width > WIDTH:
        small = (WIDTH, round(height * WIDTH / width))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(picture), QUALITY, colorsubsampling="420")


def write_clip(pictures: Sequence[bytes], seconds: Sequence[float], path: Path) -> None:
    """Write frames of `compress` with their times: one as PNG, several as H.264 in MP4, as `path` is called.

    Browsers play it, and training reads it like any clip: all frames with their times, of even width and
    height. Raises OSError or an error of FFmpeg.
    """
    frames = [simplejpeg.decode_jpeg(picture) for picture in pictures]
    height, width = frames[-1].shape[:2]
    if path.suffix == ".png":
        done, data = cv2.imencode(".png", cv2.cvtColor(frames[-1], cv2.COLOR_RGB2BGR))
        assert done, "a picture can be encoded"
        with atomic_write(path) as half:
            half.write_bytes(data.tobytes())
        return
    size = max(width // 2, 1) * 2, max(height // 2, 1) * 2
    with atomic_write(path) as half, av.open(str(half), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": CRF})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        stream.codec_context.thread_count = 1  # the cameras need the others
        for time, frame in zip(seconds, frames, strict=True):
            if frame.shape[:2] == (height, width) and min(height, width) > 1:
                fits = frame[: size[1], : size[0]]  # a line or column less, where it is odd
            else:
                fits = cv2.resize(frame, size)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(fits), format="rgb24")
            picture.pts, picture.time_base = round((time - seconds[0]) / TICK), TICK
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
