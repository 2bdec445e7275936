"""Where two streams meet: each takes two maps (N, C, h, w) and gives one (N, 2·C, h, w)."""

import torch
from torch import Tensor, nn


class Concat(nn.Module):
    """Late fusion: both streams' channels side by side, RGB first."""

    def forward(self, rgb: Tensor, flow: Tensor) -> Tensor:
        return torch.cat((rgb, flow), 1)


class CAFM(nn.Module):
    """Convolution Attention Fusion Mechanism (P1, section 3.1.3, Fig. 6).

    ::

        rgb ──┐
              cat ─┬─ 1×1 conv, BN, SiLU ── 3×3 conv in groups ── sigmoid ─┐
        flow ─┘    └────────────────────────────────────────────────────── × ── gated

    P1 names "grouped convolutions and an activation" that normalises the attention map, which gates the
    features, but no widths. Ours: a 1×1 convolution first, or a group would see one stream only; both as
    wide as the two maps; 4 groups. With two maps of 320 channels that is 1.33 M parameters, which brings two
    MobileViT-xxs (1.90 M) with three classes to P1's 3.25 M (Table 2) within half a per cent.

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
