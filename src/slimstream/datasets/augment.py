"""Augmentation of clips as in P1: the same random transform for all frames and both streams.

Geometric transforms also change the flow: a mirrored clip moves in the opposite direction, an enlarged clip
moves faster. Channels are r, g, b, x, y (flow as bytes around 128, see `clips.flow`), pictures alone (1 or
3 channels) or flow alone (2 channels).
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from slimstream.clips.params import FLOW_CHANNELS
from slimstream.datasets.params import AugmentParams

REST = 128.0


def augment_clip(clip: Tensor, p: AugmentParams, rng: np.random.Generator) -> Tensor:
    """Crop and enlarge, flip, change brightness and contrast. Returns (K, C, H, W) float32 in 0..255.

    `clip` (K, C, H, W), C in 1, 2, 3, 5, is uint8 or float and is not changed. Flow stays within 1..255. The
    result depends only on the arguments. Switching one transform off does not change the draws of the others.
    """
    side, top, left, horizontal, vertical, brightness, contrast = rng.random(7)
    # Contiguous channels: the operations below work per channel and are several times faster this way.
    clip = _crop(clip.contiguous().float(), 1 - side * (1 - p.crop), top, left)
    mirrored = [axis for axis, flips in ((-1, horizontal < p.hflip), (-2, vertical < p.vflip)) if flips]
    if mirrored:
        clip = _flip(clip, mirrored)
    if p.brightness:
        low, width = 1 - p.brightness, 2 * p.brightness
        clip = _brightness_contrast(clip, low + width * brightness, low + width * contrast)
    return clip


def _crop(clip: Tensor, side: float, top: float, left: float) -> Tensor:
    """Crop to the share `side` of both sides and enlarge to the old size. `top`, `left`: position, 0..1."""
    height, width = clip.shape[-2:]
    h, w = round(side * height), round(side * width)
    if (h, w) == (height, width):
        return clip
    y, x = int(top * (height - h + 1)), int(left * (width - w + 1))
    cut = clip[..., y : y + h, x : x + w]
    clip = F.interpolate(cut, (height, width), mode="bilinear", align_corners=False)
    if (flow := _flow(clip)).numel():
        zoom = torch.tensor([width / w, height / h])[:, None, None]
        flow.lerp_(torch.tensor(REST), 1 - zoom).clamp_(1, 255)  # (q - 128) * zoom + 128
    return clip


def _flip(clip: Tensor, axes: list[int]) -> Tensor:
    clip = clip.flip(axes)
    if (flow := _flow(clip)).numel():
        for axis in axes:
            component = flow[:, 0 if axis == -1 else 1]
            component.neg_().add_(2 * REST)
    return clip


def _brightness_contrast(clip: Tensor, brightness: float, contrast: float) -> Tensor:
    """Scale pictures by `brightness`, and their difference from the mean of the whole clip by `contrast`."""
    clip = clip.clone()
    pictures = clip[:, : clip.shape[1] - _flow(clip).shape[1]]
    if not pictures.numel():
        return clip
    pictures.mul_(brightness)
    mean = pictures.mean()
    pictures.sub_(mean).mul_(contrast).add_(mean).clamp_(0, 255)
    return clip


def _flow(clip: Tensor) -> Tensor:
    """The view of flow x and y, the last channels where there are any: (K, 2 or 0, H, W)."""
    channels = clip.shape[1]
    return clip[:, channels - FLOW_CHANNELS :] if channels in (FLOW_CHANNELS, 5) else clip[:, :0]
