"""A few numbers of how a clip looks, whatever it shows: brightness, contrast, sharpness and colour."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.core.media import Frame

APPEARANCE = ("brightness", "contrast", "sharpness", "red", "blue")
FRAMES = 8
"""Frames of a clip that are looked at, evenly spaced."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in a grey value (ITU-R BT.601)."""
LEAST = 1e-3
"""Instead of the brightness of a black picture."""

Floats = npt.NDArray[np.float32]


def mean_picture(frames: Sequence[Frame] | Frame) -> Floats:
    """The mean (H, W, 3) of FRAMES of the frames (T, H, W, C) uint8, 0..1; C is 1 (grey), or more from RGB.

    The noise of the sensor and what moves count less in it than in one frame.
    """
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int))
    mean = np.mean([frames[i][..., :3] for i in chosen], axis=0, dtype=np.float32) / np.float32(255)
    return np.asarray(mean.repeat(3, 2) if mean.shape[2] == 1 else mean, np.float32)


def appearance(mean: Floats) -> Floats:
    """APPEARANCE (5,) of a `mean_picture` (H, W, 3).

    brightness: mean grey value, 0..1. contrast: standard deviation of the grey values as a share of the
    brightness. sharpness: log10 of the variance of the Laplacian, of grey values as shares of the brightness
    (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy"). red, blue: their shares of
    the colour, 1/3 for grey.
    """
    grey = mean @ GREY
    brightness = max(float(grey.mean()), LEAST)
    relative = (grey / np.float32(brightness)).astype(np.float32)
    edges = float(cv2.Laplacian(relative, cv2.CV_32F).var())
    red, green, blue = np.maximum(mean.mean((0, 1)), LEAST)
    colour = red + green + blue
    sharpness = np.log10(max(edges, 1e-8))
    return np.array([brightness, relative.std(), sharpness, red / colour, blue / colour], np.float32)
