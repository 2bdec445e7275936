"""The part of a camera's picture that stands still, as a small picture, and how alike two of them are."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.runtimes.appearance import GREY, Floats

SIZE = 96, 72
"""Width and height in pixels, whatever the shape of the camera's picture."""
TILE = 24
"""Pixels of a side of the tiles that are compared each for itself."""
BLUR = 4.0
"""Pixels; what varies more slowly is light, not scene."""
TEXTURE = 0.5
"""Grey values (0..255) by which a tile has to vary to be compared."""
Scene = npt.NDArray[np.uint8]


def small_scene(mean: Floats) -> Scene:
    """A `mean_picture` (H, W, 3) as a grey picture (72, 96) uint8."""
    small = cv2.resize(mean @ GREY, SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray((255 * small).round(), np.uint8)


def median_scene(scenes: Sequence[Scene]) -> Scene:
    """The median of scenes, in which what passes is not seen."""
    return np.asarray(np.median(np.stack(scenes), axis=0), np.uint8)


def alikeness(scene: Scene, known: Scene) -> tuple[float, float]:
    """How alike `scene` is to `known`: of the middle tile, and of one of the worst (at a tenth of them).

    Each is a correlation, -1..1, of what is left of a tile without its slow changes (Lewis 1995, "Fast
    normalized cross-correlation"). So neither brightness nor contrast matters. When the camera has moved all
    tiles differ; when something lies on the lens, some do. Tiles where `known` has no texture are left out;
    without any, both are 1.
    """
    one, other = (tiles(picture) for picture in (scene, known))
    kept = other.std(1) > TEXTURE
    if not kept.any():
        return 1.0, 1.0
    one, other = (part - part.mean(1, keepdims=True) for part in (one[kept], other[kept]))
    size = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    alike = (one * other).sum(1) / np.maximum(size, 1e-6)
    return float(np.median(alike)), float(np.quantile(alike, 0.1))


def tiles(scene: Scene) -> Floats:
    """The tiles (12, 576) of a scene without its slow changes."""
    grey = scene.astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), BLUR)
    rows, columns = SIZE[1] // TILE, SIZE[0] // TILE
    cut = fine.reshape(rows, TILE, columns, TILE).transpose(0, 2, 1, 3)
    return np.asarray(cut.reshape(rows * columns, TILE * TILE), np.float32)
