"""The part of a camera's picture that the network sees."""

from collections.abc import Iterator

from slimstream.core.media import Frame
from slimstream.watch.footage import Take

Region = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of the picture, 0..1."""


def cut(picture: Frame, region: Region) -> Frame:
    """The part `region` of a picture (H, W, 3), at least a pixel."""
    height, width = picture.shape[:2]
    left, top = min(int(region[0] * width), width - 1), min(int(region[1] * height), height - 1)
    right, bottom = max(round(region[2] * width), left + 1), max(round(region[3] * height), top + 1)
    return picture[top:bottom, left:right]


def cut_all(take: Take, region: Region) -> Iterator[tuple[float, Frame]]:
    """The frames that `take` gives, cut to `region`."""
    return ((seconds, cut(picture, region)) for seconds, picture in take())
