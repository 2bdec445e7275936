"""One pass over a clip that collects all that validation needs to know about its pictures."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.clips.timeline import Timeline
from slimstream.clips.video import open_clip
from slimstream.core.media import Frame, is_picture

THUMBS, SIDE, UNIFORM = 8, 16, 0.03
"""Thumbnails per clip, their side in pixels, and the largest range of grey that counts as one colour."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Survey:
    """Properties of a decoded clip. Pictures are grey, 0..1."""

    timeline: Timeline
    """When each frame that could be decoded is shown."""
    size: tuple[int, int]
    """Height and width of the first frame as shown, in pixels."""
    constant: bool
    """All frames have that size."""
    interlaced: int
    """Frames that were deinterlaced."""
    defect: str
    """Why the file cannot be used, for example because it is truncated; "" when it can."""
    thumbs: Array
    """(8, 16, 16), spread over the clip; (1, 16, 16) of a picture file."""
    mean: Array
    """(16, 16) mean of the sampled frames but the first; the picture itself of a picture file."""
    border: Array
    """(4,) share of the first frame, 0..1, that is margin of one colour: from left, right, top and bottom."""
    still: bool = False
    """Whether it is a picture file, which has one frame."""
    peak: int = 0
    """See `VideoInfo.peak`."""


def survey(path: Path, bits: int | None = None) -> Survey:
    """Decode `path` to its end, once; for `bits` see `Still`.

    Raises UnreadableVideo when nothing can be decoded.
    """
    grey: list[Array] = []
    sizes: list[tuple[int, ...]] = []
    with open_clip(path, bits) as clip:
        # About 48 frames of a clip are used; if the header has no frame count, every fifth frame.
        claimed = clip.claimed_timeline()
        step = max(1, len(claimed.times) // 48) if claimed else 5
        for index in clip:
            if index % step == 0:
                picture = clip.picture()
                sizes.append(picture.shape[:2])
                grey.append(_shrink(picture, 2 * SIDE))
        seen, defect, interlaced = clip.timeline(), clip.damage() or clip.truncation(), clip.interlaced
        peak = clip.info.peak
    still = is_picture(path)
    rest = grey[1:] or grey
    thumbs = 1 if still else THUMBS
    chosen = [rest[int((k + 0.5) * len(rest) / thumbs)] for k in range(thumbs)]
    mean: Array = np.stack(rest).mean(axis=0)
    return Survey(
        timeline=seen,
        size=(sizes[0][0], sizes[0][1]),
        constant=len(set(sizes)) == 1,
        interlaced=interlaced,
        defect=defect,
        still=still,
        peak=peak,
        thumbs=np.stack([_halve(picture) for picture in chosen]),
        mean=_halve(mean),
        border=_margins(grey[0]),
    )


def _grey(picture: Frame) -> Array:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _shrink(picture: Frame, side: int) -> Array:
    return _grey(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA))


def _halve(picture: Array) -> Array:
    h, w = picture.shape
    return picture.reshape(h // 2, 2, w // 2, 2).mean(axis=(1, 3))


def _margins(picture: Array) -> Array:
    """(4,): the share of columns from left and right and of rows from top and bottom that are uniform."""

    def leading(uniform: npt.NDArray[np.bool_]) -> float:
        return 1.0 if uniform.all() else float(np.argmin(uniform)) / len(uniform)

    columns, rows = (np.ptp(picture, axis=axis) < UNIFORM for axis in (0, 1))
    return np.array([leading(u) for u in (columns, columns[::-1], rows, rows[::-1])], np.float32)
