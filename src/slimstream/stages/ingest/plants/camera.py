"""A fixed camera before a simulated plant: where points of the plant are seen, and what a frame looks like.

Lengths are in units of the plant, with y downwards; colours are blue, green, red in 0..255.
"""

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.stages.ingest.plants.clip import Picture, Points

MARGIN = 8  # pixels around the picture, so that a shaking camera never shows an edge
_SUB = 4  # fractional bits of OpenCV's drawing coordinates
_CIRCLE: Points = np.exp(2j * np.pi * np.arange(10)[:, None] / 10).view(float)


class View:
    """One position of a camera whose pictures are `size` (width, height), aimed at the point `centre`."""

    def __init__(
        self, rng: np.random.Generator, size: tuple[int, int], centre: tuple[float, float], zoom: float = 1.0
    ) -> None:
        """With `zoom` 1 the picture is about as high as one unit of length."""
        self.size = size
        angle, scale = np.radians(rng.uniform(-4, 4)), rng.uniform(0.86, 1.08) * size[1] * zoom
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
        middle = np.array(size) / 2 + MARGIN + rng.uniform(-0.06, 0.06, 2) * size[1]
        self.matrix = np.eye(3)
        self.matrix[:2, :2], self.matrix[:2, 2] = turn, middle - turn @ centre
        self.matrix[2, :2] = rng.uniform(-0.12, 0.12, 2)  # a slightly oblique view
        self.matrix[2, 2] = 1 - self.matrix[2, :2] @ centre
        self.matrix[:2] += np.outer(middle, self.matrix[2] - (0, 0, 1))  # keeps the centre fixed
        self.scale = scale

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a frame with its margin."""
        return self.size[1] + 2 * MARGIN, self.size[0] + 2 * MARGIN

    def see(self, world: Points) -> Points:
        """Project points (N, 2) of the plant's plane to pixels of the frame with its margin."""
        flat = np.column_stack([world, np.ones(len(world))]) @ self.matrix.T
        return flat[:, :2] / flat[:, 2:]

    def polygon(self, picture: Picture, corners: Points, colour: npt.ArrayLike) -> None:
        points = (self.see(corners) * 2**_SUB).round().astype(np.int32)
        cv2.fillPoly(picture, [points], np.asarray(colour, float).tolist(), cv2.LINE_AA, _SUB)

    def box(
        self, picture: Picture, x0: float, y0: float, x1: float, y1: float, colour: npt.ArrayLike
    ) -> None:
        self.polygon(picture, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), colour)

    def disc(self, picture: Picture, points: Points, radii: npt.NDArray[np.float64], colours: Points) -> None:
        """Fill discs: centres (N, 2), radii (N,), colours (N, 3).

        Drawn as polygons: OpenCV's own circles turn into diamonds below three pixels.
        """
        outlines = self.see(points)[:, None] + (radii * self.scale)[:, None, None] * _CIRCLE
        corners = (outlines * 2**_SUB).round().astype(np.int32)
        for outline, colour in zip(corners, colours.tolist(), strict=True):
            cv2.fillConvexPoly(picture, outline, colour, cv2.LINE_AA, _SUB)


class Film:
    """What happens to the frames of a clip on their way to the file: light, shaking and noise."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], noise: float, shake: float) -> None:
        """`noise` is in grey values, `shake` in pixels; `size` is (width, height) of the picture."""
        self.rng, self.size = rng, size
        self.gain = rng.uniform(0.8, 1.2)
        self.drift, self.flicker = rng.uniform(-0.03, 0.03), rng.uniform(0, 0.015)  # a second, a frame
        self.noise = rng.normal(0, noise, (size[1] + 32, size[0] + 32, 3)).astype(np.int16)
        self.shake = shake * rng.normal(0, 1, (2, 3)), rng.uniform(4, 25, (2, 3))

    def expose(self, frame: Picture, t: float) -> Picture:
        """The picture (H, W, 3) uint8 of a `frame` with margin, `t` seconds after the clip's beginning."""
        width, height = self.size
        light = self.gain + self.drift * t + self.flicker * self.rng.normal()
        shift = (self.shake[0] * np.sin(self.shake[1] * t)).sum(axis=1) - MARGIN
        frame = cv2.warpAffine(frame, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (width, height))
        frame = cv2.convertScaleAbs(frame, alpha=light)
        y, x = self.rng.integers(0, 32, 2)
        return cv2.add(frame, self.noise[y : y + height, x : x + width], dtype=cv2.CV_8U)
