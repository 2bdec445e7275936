"""Fusion modules: two feature maps (N, C, h, w) in, one map (N, F, h, w) out."""

from typing import Literal

import torch
from torch import Tensor, nn

Fusion = Literal["concat", "cafm", "conv", "fc", "average"]


class Concat(nn.Module):
    """Concatenation of the channels of both streams, RGB first; F = 2·C."""

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        return torch.cat((rgb, flow), 1)


class CAFM(nn.Module):
    """Convolution Attention Fusion Mechanism (P1, section 3.1.3, Fig. 6); F = 2·C.

    ::

        rgb ──┐
              cat ─┬─ 1×1 conv, BN, SiLU ── 3×3 conv in groups ── sigmoid ─┐
        flow ─┘    └────────────────────────────────────────────────────── × ── gated

    P1 describes "grouped convolutions and an activation" that normalises the attention map, which gates the
    features, but gives no widths. Our choice: first a 1×1 convolution, because otherwise a group would see
    only one stream; both convolutions have 2·C channels; 4 groups. With C = 320 this has 1.33 M parameters.
    Together with two MobileViT-xxs (1.90 M) and three classes it is within 0.5 % of P1's 3.25 M (Table 2).

    Args:
        channels: C of either map; `groups` must divide 2·C.
    """

    def __init__(self, channels: int, *, groups: int = 4) -> None:
        super().__init__()
        width = 2 * channels
        self.mix = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.SiLU())
        self.attention = nn.Conv2d(width, width, 3, padding=1, groups=groups)

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        both = torch.cat((rgb, flow), 1)
        return both * self.attention(self.mix(both)).sigmoid()


class Convolution(nn.Module):
    """Convolutional fusion: concatenation and a 1×1 convolution (Feichtenhofer et al., CVPR 2016); F = C.

    The correspondence of channels is learnt. Our choice: it is initialised as the mean of the two maps, so
    that pretrained layers above it get familiar inputs.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, channels, 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(channels).repeat(1, 2)[:, :, None, None] / 2)
            self.mix.bias.zero_()  # type: ignore[union-attr]

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        return self.mix(torch.cat((rgb, flow), 1))


class FullyConnected(nn.Module):
    """Fusion by a fully connected layer over both streams' features (P2, section 3.4); F = C, h = w = 1.

    P2 gives no width; ours is that of one stream, followed by a ReLU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * channels, channels)

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        features = torch.cat((rgb, flow), 1).float().mean((2, 3))
        return self.mix(features).relu()[..., None, None]
