"""Decoded frames to RGB pictures the right way up."""

import struct
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from slimstream.core.media import Frame, UnreadableVideo

MATRICES = {
    3: "reserved",
    8: "YCgCo",
    10: "BT.2020 constant luminance",
    11: "SMPTE 2085",
    12: "chromaticity-derived non-constant luminance",
    13: "chromaticity-derived constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
"""Colour matrices (ISO/IEC 23091-2) that libswscale does not convert."""


class RgbConverter:
    """Converts the frames of one video. It keeps libswscale's tables from one frame to the next."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def picture(self, frame: av.VideoFrame) -> Frame:
        """The frame as (H, W, 3) uint8 RGB. Raises UnreadableVideo when it cannot be converted."""
        try:
            rgb = self._reformatter.reformat(
                frame, format="rgb24", interpolation=Interpolation.BICUBIC, threads=1
            )
        except (av.error.FFmpegError, ValueError) as error:
            if frame.colorspace in MATRICES:
                what = f"colour matrix {MATRICES[frame.colorspace]}"
            else:
                what = f"pixel format {frame.format.name} with colour matrix {frame.colorspace}"
            raise UnreadableVideo(
                f"frames cannot be converted ({what}): save the clip in another one"
            ) from error
        picture = np.asarray(rgb.to_ndarray(), np.uint8)
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
        return picture if matrix is None else _oriented(picture, bytes(matrix))


def _oriented(picture: Frame, matrix: bytes) -> Frame:
    """`picture` rotated by multiples of 90° and mirrored by a display matrix.

    The matrix (ISO/IEC 14496-12, 9 numbers of 32 bits) maps (x, y) to (a x + c y, b x + d y).
    """
    a, b, _, c, d = struct.unpack_from("=5i", matrix)
    if abs(b) > abs(a):
        picture, right, down = picture.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])
