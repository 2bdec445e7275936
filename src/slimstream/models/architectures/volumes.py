"""Networks that take a clip as a volume (B, 3, T, H, W) instead of frame by frame."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.models.base import Classifier, Standardise


class OneStream(Classifier):
    """One backbone on the pictures of a clip; flow channels are ignored.

    ::

        clip (B, T, C, H, W)
          r g b ── (B, 3, T, H, W) ── rgb ── (B, F, T', …) ── mean over the picture ── pool over T'
                             logits (B, classes) ── head ── dropout ── standardise ── features (B, F')

    Args:
        normalise: (N, C, H, W) in 0..255 to the backbone's input, (N, 3, H, W).
        rgb: (B, 3, T, H, W) to (B, F, T', …), T' ≥ 1; spatial dimensions may follow.
        pool, head, features, standardise, dropout: as in `TwoStream`.
    """

    channels = frozenset({3, 5})

    def __init__(
        self,
        *,
        normalise: nn.Module,
        rgb: nn.Module,
        pool: nn.Module,
        head: Callable[[int], nn.Linear],
        features: int,
        standardise: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.rgb = rgb
        self.pool = pool
        self.standardise = Standardise(features) if standardise else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = head(features)

    def features(self, clip: Tensor) -> Tensor:
        return self.pool(self.frame_features(clip))

    def frame_features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, T', F), float32: backbone output, averaged over space."""
        pictures = self.normalise(clip.flatten(0, 1))
        return _spatial_mean(self.rgb(to_volume(pictures, clip.shape[0]))).transpose(1, 2)


class TwoVolumes(OneStream):
    """Two backbones on volumes, one for RGB and one for flow, with late fusion.

    Args:
        normalise: (N, 5, H, W) in 0..255 to the two streams' inputs, (N, 3, H, W) each.
        flow: as `rgb`. The features of both are concatenated, RGB first: (B, T', 2·F).
    """

    channels = frozenset({5})

    def __init__(self, *, flow: nn.Module, **parts: Any) -> None:
        super().__init__(**parts)
        self.flow = flow

    def frame_features(self, clip: Tensor) -> Tensor:
        rgb, flow = (to_volume(pictures, clip.shape[0]) for pictures in self.normalise(clip.flatten(0, 1)))
        # Averaged before concatenation, because pruning cannot trace a reshape before a concatenation.
        return torch.cat((_spatial_mean(self.rgb(rgb)), _spatial_mean(self.flow(flow))), 1).transpose(1, 2)


class Resize(nn.Module):
    """Resize a volume (B, C, T, H, W) to (B, C, `frames`, `side`, `side`). `frames` None keeps T.

    Frames are selected evenly, and repeated in a shorter clip. Pictures are interpolated bilinearly.
    """

    def __init__(self, *, side: int, frames: int | None = None) -> None:
        super().__init__()
        self.side = side
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        if self.frames is not None:
            middles = 2 * torch.arange(self.frames, device=x.device) + 1
            x = x.index_select(2, middles * x.shape[2] // (2 * self.frames))
        if x.shape[3:] == (self.side, self.side):
            return x
        pictures = F.interpolate(to_pictures(x), (self.side, self.side), mode="bilinear", align_corners=False)
        return to_volume(pictures, x.shape[0])


class PerFrame(nn.Module):
    """Apply a 2-D network, (N, 3, H, W) to (N, F), to each frame: (B, 3, T, H, W) to (B, F, T)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return to_volume(self.net(to_pictures(x)), x.shape[0])


def to_pictures(x: Tensor) -> Tensor:
    """Reshape (B, C, T, h, w) to pictures (B·T, C, h, w)."""
    return x.transpose(1, 2).flatten(0, 1)


def to_volume(pictures: Tensor, batch: int) -> Tensor:
    """Reshape (B·T, C, …) to a volume (B, C, T, …); `batch` is B."""
    # `unflatten` would fix the sizes of the example in the export.
    return pictures.reshape(batch, -1, *pictures.shape[1:]).transpose(1, 2)


def _spatial_mean(maps: Tensor) -> Tensor:
    """Mean over space in float32, because half precision is too coarse: (B, F, T, …) to (B, F, T)."""
    return maps.float().mean((3, 4)) if maps.ndim == 5 else maps.float()
