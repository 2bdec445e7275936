"""The frames of a window at the camera's size as a clip on the disk."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np

from slimstream.core.files import atomic_write
from slimstream.core.media import Frame

WIDTH = 1280
"""Pixels that wider pictures are reduced to."""
CRF = "12"
"""Of H.264: hardly a visible difference, about 8 times the bytes of the usual 23."""
TICK = Fraction(1, 90_000)


def write_clip(frames: Iterable[tuple[float, Frame]], path: Path) -> None:
    """Write frames, (seconds, (H, W, 3) uint8 RGB) each: one as PNG, several as H.264 in MP4, as `path` says.

    They are asked for one by one. Browsers play the clip, and training reads it like any other: all frames
    with their times, of even width and height. Raises OSError, an error of FFmpeg, and what `frames` raises.
    """
    shown = ((seconds, _reduced(frame)) for seconds, frame in frames)
    begin, first = next(shown)
    if path.suffix == ".png":
        done, data = cv2.imencode(".png", cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
        assert done, "a picture can be encoded"
        with atomic_write(path) as half:
            half.write_bytes(data.tobytes())
        return
    height, width = first.shape[:2]
    size = max(width // 2, 1) * 2, max(height // 2, 1) * 2
    with atomic_write(path) as half, av.open(str(half), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": CRF})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        stream.codec_context.thread_count = 1  # the cameras need the others
        for seconds, frame in chain([(begin, first)], shown):
            if frame.shape[:2] == (height, width) and min(height, width) > 1:
                fits = frame[: size[1], : size[0]]  # a line or column less, where it is odd
            else:
                fits = cv2.resize(frame, size)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(fits), format="rgb24")
            picture.pts, picture.time_base = round((seconds - begin) / TICK), TICK
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _reduced(picture: Frame) -> Frame:
    height, width = picture.shape[:2]
    if width <= WIDTH:
        return picture
    small: Frame = cv2.resize(picture, (WIDTH, round(height * WIDTH / width)), interpolation=cv2.INTER_AREA)
    return small
