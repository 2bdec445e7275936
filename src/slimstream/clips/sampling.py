"""Choice of the frames of a clip that are packed; leading frames with another border are left out."""

from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.clips.params import ExtractParams
from slimstream.clips.timeline import Timeline
from slimstream.core.media import Frame

LEADING = 5
"""Maximum number of leading frames that are left out, but never more than a quarter of the clip."""
BLACK = 16
"""Mean brightness, 0..255, below which a row or column of a border is black."""
TOLERANCE = 0.04
"""Largest change of a black margin, as a share of the side, for which the border counts as the same."""
ROUNDING = 2
"""More than averaging and the conversion to grey can take from a mean brightness by rounding."""
Border = npt.NDArray[np.float64]
"""(4,) widths of the black margins left, right, top, bottom as shares of the side; 1: all black."""
Pair = tuple[int, int]
"""Indices into the decoded frames: a frame, and the frame to which its flow is computed."""


def sample_indices(count: int, dropped: int, p: ExtractParams, frames: int | None = None) -> list[list[int]]:
    """Indices of the sampled frames, one list per clip.

    The video of `count` frames, without the first `dropped`, is divided into `p.clips` equal clips. Each clip
    is sampled evenly from its first to its last frame, which often show most. A single frame is the middle
    one. Every sampled frame has a frame `p.reach` later. The result is empty when the video is too short for
    that, and has fewer clips when there are fewer frames than `p.clips`.

    The number of samples is `p.fraction` · T (P1; at least one) or exactly `p.frames` (P2). A clip with fewer
    frames repeats some, except that a picture gives one. Where frames are missing, `count` is the number of
    frames that there would be at a constant rate, and `frames` the real number.
    """
    there = count if frames is None else frames
    usable = count - dropped - p.reach
    if usable < 1:
        return []
    clips = min(p.clips, usable)
    edges = [dropped + k * usable // clips for k in range(clips + 1)]
    share = max(1, round((p.fraction or 0) * min(count - dropped, there) / clips))
    return [
        _even_indices(start, end, 1 if count == 1 else p.frames or min(end - start, share))
        for start, end in pairwise(edges)
    ]


def _even_indices(start: int, end: int, wanted: int) -> list[int]:
    if wanted == 1:
        return [(start + end) // 2]
    return [start + k * (end - start - 1) // (wanted - 1) for k in range(wanted)]


def plan_frames(seen: Timeline, dropped: int, p: ExtractParams) -> list[list[Pair]]:
    """Frames to be packed, one list per clip, each with the frame to which its flow is computed.

    Without flow that is the frame itself. `sample_indices` gives the wanted times in periods of the clip. At
    a constant rate a period is one frame. Otherwise a frame covers the time until the next frame, and for
    flow the nearest two frames that are `p.stride` periods apart are used. Raises ValueError with the reason
    when there are none nearby.
    """
    moments = sample_indices(int(seen.ticks[-1]) + 1, int(seen.ticks[dropped]), p, len(seen.times))
    if not moments:
        raise ValueError(
            f"its {len(seen.times) - dropped} usable frames are too few for flow over a stride of {p.stride}"
        )
    if not p.reach:
        return [[(frame, frame) for frame in map(seen.frame_at, part)] for part in moments]
    pairs = seen.pairs(p.reach)
    return [_nearest(part, pairs[pairs[:, 0] >= dropped], seen, p.reach) for part in moments]


def _nearest(part: list[int], pairs: npt.NDArray[np.int64], seen: Timeline, reach: int) -> list[Pair]:
    """The nearest pair for each wanted time, at most half a sampling interval or a few frames away.

    Raises ValueError when there is none.
    """
    starts = seen.ticks[pairs[:, 0]]
    allowed = max((part[-1] - part[0]) / max(1, len(part) - 1) / 2, reach + 1)
    chosen = []
    for moment in part:
        away = np.abs(starts - moment)
        if not away.size or away.min() > allowed:
            raise ValueError(
                f"it has gaps: about second {moment * seen.period:.1f} no two frames are "
                f"{reach * seen.period:.3g} s apart, as flow needs them"
            )
        first, second = pairs[away.argmin()]
        chosen.append((int(first), int(second)))
    return chosen


def leading_to_drop(border: Callable[[int], Border], count: int) -> int:
    """Number of leading frames that have another black border than the frames after them.

    Recorders start some clips with a pillar-boxed, letter-boxed or black frame, in some states more often
    than in others, and a model must not learn that. A border that lasts longer than the examined frames
    belongs to the clip. At most the examined leading frames are left out, so a clip with a border throughout,
    a fade-in or a cut keeps nearly all frames. `border` is asked for frames of `border_frames(count)`.
    """
    lead, rest = border_frames(count)
    if not rest:
        return 0
    usual = np.median([border(i) for i in rest], axis=0)
    for index in lead:
        if np.abs(border(index) - usual).max() <= TOLERANCE:
            return index
    return len(lead)


def black_border(picture: Frame) -> Border:
    """The black margins of a picture (H, W, 3) uint8 RGB."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    widths = []
    for axis in (0, 1):
        dark = _brightness(grey, axis) < BLACK
        widths += [1.0 if dark.all() else float(np.argmin(side)) / len(side) for side in (dark, dark[::-1])]
    return np.array(widths)


def surely_without_border(picture: Frame, size: tuple[int, int]) -> bool:
    """Whether `picture`, averaged to (height, width) `size`, certainly has no black margin.

    Only the rows and columns at its edges are looked at, which is faster than averaging all of it. False says
    nothing.
    """
    height, width = picture.shape[:2]
    if height < size[0] or width < size[1]:  # enlarged pictures are not averages
        return False
    rows, columns = ceil(height / size[0]), ceil(width / size[1])  # of which one row, one column is made
    edges = ((picture[:, :columns], 0), (picture[:, -columns:], 0), (picture[:rows], 1), (picture[-rows:], 1))
    return all(
        _brightness(cv2.cvtColor(edge, cv2.COLOR_RGB2GRAY), axis).min() >= BLACK + ROUNDING
        for edge, axis in edges
    )


def _brightness(grey: npt.NDArray[Any], axis: int) -> npt.NDArray[np.float32]:
    """Mean of each column (axis 0) or each row (axis 1) of a grey picture, 0..255."""
    mean: npt.NDArray[np.float32] = cv2.reduce(grey, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
    return mean


def border_frames(count: int) -> tuple[range, range]:
    """The leading frames that are examined, and the frames after them that show the clip's usual border."""
    lead = min(LEADING, count // 4)
    return range(lead), range(lead, 2 * lead)
