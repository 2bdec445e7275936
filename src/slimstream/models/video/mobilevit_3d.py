"""MobileViT in three dimensions, so that one stream without flow is enough (P1, section 5)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.models.architectures.two_stream import NormaliseRgb, Pool, TimePool
from slimstream.models.architectures.volumes import OneStream, to_pictures, to_volume
from slimstream.models.hub import timm_net
from slimstream.models.settings import Classes, Dropout


@dataclass(frozen=True)
class Widths:
    """A size of MobileViT (Mehta & Rastegari, arXiv 2110.02178, Table 4)."""

    stages: tuple[int, int, int, int, int]
    tokens: tuple[int, int, int]
    expansion: int
    features: int


SIZES = {
    "xxs": Widths((16, 24, 48, 64, 80), (64, 80, 96), 2, 320),
    "xs": Widths((32, 48, 64, 80, 96), (96, 120, 144), 4, 384),
    "s": Widths((32, 64, 96, 128, 160), (144, 192, 240), 4, 640),
}
DEPTHS = (2, 4, 3)
"""Transformer layers of the three MobileViT blocks."""


def mobilevit_3d(
    num_classes: Classes,
    *,
    size: Literal["xxs", "xs", "s"] = "xxs",
    pretrained: bool = False,
    pool: Pool = "mean",
    dropout: Dropout = 0.0,
) -> OneStream:
    """One 3-D MobileViT on RGB clips, no optical flow needed (P1, section 5: the outlook).

    P1 only names the idea; the design is ours. Each k × k convolution of MobileViT is followed by a
    convolution over three frames, which is initialised as the identity. Patches are 2 frames × 2 × 2 pixels,
    so attention covers the whole clip. Before training, a clip of equal frames gives the same output as its
    picture in the 2-D network, whose weights can be loaded.

    Args:
        num_classes: classes to tell apart.
        size: MobileViT's size; 1.03, 2.06 or 5.25 M parameters.
        pretrained: ImageNet weights of the 2-D network, from timm's hub; downloaded once.
        pool: how frames become a clip.
        dropout: on the features before the classifier.
    """
    rgb = MobileViT3d(SIZES[size])
    if pretrained:
        flat = timm_net(f"mobilevit_{size}", pretrained, num_classes=0)
        rgb.load_2d_weights(list(flat.state_dict().values()))
    return OneStream(
        normalise=NormaliseRgb(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        rgb=rgb,
        pool=TimePool(pool),
        head=lambda features: nn.Linear(features, num_classes),
        features=rgb.channels * (2 if pool == "mean_std" else 1),
        dropout=dropout,
    )


class MobileViT3d(nn.Module):
    """(B, 3, T, H, W) to (B, F, T, H/32, W/32), sizes rounded up; any T ≥ 1."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        a, b, *rest = widths.stages
        layers: list[nn.Module] = [Conv(3, 16, 3, stride=2), MV2(16, a, 1, widths.expansion)]
        layers += [MV2(a if i == 0 else b, b, 2 if i == 0 else 1, widths.expansion) for i in range(3)]
        channels = b
        for width, tokens, depth in zip(rest, widths.tokens, DEPTHS, strict=True):
            layers += [MV2(channels, width, 2, widths.expansion), MobileViTBlock(width, tokens, depth)]
            channels = width
        self.layers = nn.Sequential(*layers, Conv(channels, widths.features))
        self.channels = widths.features

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[2]
        # For an odd number of frames the last one is repeated, because a patch has two frames.
        even = torch.arange(length + length % 2, device=x.device).clamp(max=length - 1)
        x = self.layers(x.index_select(2, even))
        # index_select, because tracing for pruning mistakes a slice in time for one of channels.
        return x.index_select(2, torch.arange(length, device=x.device))

    def load_2d_weights(self, weights: list[Tensor]) -> None:
        """Load the `weights` of the 2-D network of the same size, in its order."""
        state = self.state_dict()
        names = [name for name in state if ".time." not in name]
        self.load_state_dict(state | dict(zip(names, weights, strict=True)))


class Conv(nn.Module):
    """Convolution, batch norm, SiLU: (B, C, T, h, w) to (B, C', T, h/stride, w/stride).

    With a kernel larger than 1 × 1 it is a factorised 3-D convolution: over the picture, then over three
    frames (Tran et al., CVPR 2018, without the activation between them). Both factors are computed as 2-D
    convolutions, which are several times as fast in PyTorch.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        self.space = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.time: nn.Module = nn.Identity()
        if kernel > 1:
            self.time = nn.Conv2d(outputs, outputs, (3, 1), padding=(1, 0), groups=groups, bias=False)
            nn.init.dirac_(self.time.weight, groups)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.SiLU() if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = to_volume(self.space(to_pictures(x)), batch)
        height, width = x.shape[3:]
        x = self.act(self.norm(self.time(x.flatten(3))))  # (B, C, T, h·w)
        return x.reshape(*x.shape[:3], height, width)


class MV2(nn.Module):
    """MobileNetV2's inverted residual (P1, Fig. 4) with a 3-D depthwise convolution.

    (B, inputs, T, h, w) to (B, outputs, T, h/stride, w/stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.layers = nn.Sequential(
            Conv(inputs, hidden),
            Conv(hidden, hidden, 3, stride=stride, groups=hidden),
            Conv(hidden, outputs, activate=False),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.shortcut else self.layers(x)


class MobileViTBlock(nn.Module):
    """The MobileViT block (P1, Fig. 3) on volumes (B, C, T, h, w) with even T.

    ::

        x ── 3-D conv ── 1×1 ── unfold ── attention ── fold ── 1×1 ── cat ── 3-D conv
        └────────────────────────── shortcut ──────────────────────────┘
    """

    def __init__(self, channels: int, tokens: int, depth: int) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block as Layer

        self.local = Conv(channels, channels, 3)
        self.widen = nn.Conv2d(channels, tokens, 1, bias=False)
        self.transformer = nn.Sequential(
            *(
                Layer(tokens, 4, mlp_ratio=2.0, qkv_bias=True, act_layer=nn.SiLU, norm_layer=nn.LayerNorm)
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(tokens)
        self.narrow = Conv(tokens, channels)
        self.fuse = Conv(2 * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, length, height, width = x.shape
        y = _resize(self.widen(to_pictures(self.local(x))), height + height % 2, width + width % 2)
        h, w = y.shape[2:]
        patches = to_volume(y, batch).reshape(batch, -1, length // 2, 2, h // 2, 2, w // 2, 2)
        # (B, 2, 2, 2, T/2, h/2, w/2, d): a pixel attends to the pixels at the same place in all patches.
        patches = patches.permute(0, 3, 5, 7, 2, 4, 6, 1)
        shape = patches.shape
        y = self.norm(self.transformer(patches.flatten(4, 6).flatten(0, 3)))
        y = y.reshape(*shape[:7], -1).permute(0, 7, 4, 1, 5, 2, 6, 3).reshape(batch, -1, length, h, w)
        y = to_volume(_resize(to_pictures(y), height, width), batch)
        return self.fuse(torch.cat((x, self.narrow(y)), 1))


def _resize(pictures: Tensor, height: int, width: int) -> Tensor:
    if pictures.shape[2:] == (height, width):
        return pictures
    return F.interpolate(pictures, (height, width), mode="bilinear", align_corners=False)
