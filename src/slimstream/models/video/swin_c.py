"""Swin streams with a 3-D convolution in every block (P1, Table 2: "two stream Swinc Transformer")."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.models.architectures.two_stream import Normalise, Pool, TimePool
from slimstream.models.architectures.volumes import TwoVolumes, to_pictures, to_volume
from slimstream.models.settings import Classes, Dropout

DEPTHS = (2, 2, 6, 2)
HEADS = (3, 6, 12, 24)
WINDOW = 7
SQUEEZE = 8
"""Factor by which the 3-D convolution has fewer channels than its block."""


def two_stream_swin_c(
    num_classes: Classes,
    *,
    width: Annotated[int, Field(ge=24, multiple_of=24)] = 72,
    pretrained: Literal[False] = False,
    pool: Pool = "mean",
    drop_path: Dropout = 0.1,
    dropout: Dropout = 0.0,
) -> TwoVolumes:
    """Two Swin streams with a 3-D convolution in every block, from scratch (P1, Table 2).

    P1 only says that its blocks have a 3-D convolution and that it has 32.58 M parameters. Ours has 32.66 M
    with three classes: the depths of Swin-T (Liu et al., ICCV 2021, arXiv 2103.14030) with 72 instead of 96
    channels, and two streams with separate weights, fused late. With 96 channels two streams would have 55 M
    without any convolution, and one shared stream 27.5 M.

    Args:
        num_classes: classes to tell apart.
        width: channels of the first stage; each further stage has twice as many.
        pretrained: there are no weights of this width.
        pool: how frames become a clip.
        drop_path: stochastic depth of the last block; it grows linearly over the blocks.
        dropout: on the features before the classifier.
    """
    rgb, flow = SwinC(width, drop_path), SwinC(width, drop_path)
    return TwoVolumes(
        normalise=Normalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        rgb=rgb,
        flow=flow,
        pool=TimePool(pool),
        head=lambda features: nn.Linear(features, num_classes),
        features=2 * rgb.channels * (2 if pool == "mean_std" else 1),
        dropout=dropout,
    )


class SwinC(nn.Module):
    """(B, 3, T, H, W) to (B, 8·width, T, H/32, W/32), sizes rounded up; any T ≥ 1.

    Between the blocks frames are separate pictures with channels last, (B·T, h, w, C).
    """

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        rates = iter(torch.linspace(0, drop_path, sum(DEPTHS), device="cpu").tolist())
        layers: list[nn.Module] = [PatchMerging(3, width, 4)]
        channels = width
        for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
            if stage:
                layers.append(PatchMerging(channels, 2 * channels, 2))
                channels *= 2
            layers += [SwinBlock(channels, heads, i % 2 == 1, next(rates)) for i in range(depth)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(channels)
        self.channels = channels
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        x = to_pictures(x).permute(0, 2, 3, 1)
        for layer in self.layers:
            x = layer(x, batch)
        return to_volume(self.norm(x).permute(0, 3, 1, 2), batch)


class PatchMerging(nn.Module):
    """Merges patches of `side` × `side` pixels: (N, h, w, C) to (N, h/side, w/side, C'), rounded up.

    The norm follows the convolution, as in Swin v2 (arXiv 2111.09883), so that channels can be pruned.
    """

    def __init__(self, inputs: int, outputs: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(inputs, outputs, side, stride=side)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        x = x.permute(0, 3, 1, 2)
        missing = [-length % self.side for length in x.shape[2:]]
        if any(missing):
            x = F.pad(x, (0, missing[1], 0, missing[0]))
        return self.norm(self.conv(x).permute(0, 2, 3, 1))


class SwinBlock(nn.Module):
    """A 3-D convolution followed by a Swin block; (B·T, h, w, C) to the same.

    ::

        x ── + ── norm ── C to C/8 ── 3×3×3 conv ── GELU ── C/8 to C
             + ── norm ── attention within windows
             + ── norm ── MLP

    Swin's attention is limited to a window of one frame; the convolution connects frames and windows. It is
    first, because P1 (section 4.2.1) considers local before global processing an advantage of MobileViT. At
    full width a 3 × 3 × 3 convolution would be twice as large as the whole block, so it has a bottleneck.
    """

    def __init__(self, channels: int, heads: int, shifted: bool, drop_path: float) -> None:
        super().__init__()
        from timm.layers import DropPath, Mlp

        narrow = channels // SQUEEZE
        self.norm0, self.norm1, self.norm2 = (nn.LayerNorm(channels) for _ in range(3))
        self.squeeze = nn.Linear(channels, narrow)
        self.conv = nn.Conv3d(narrow, narrow, 3, padding=1)
        self.act = nn.GELU()
        self.widen = nn.Linear(narrow, channels)
        self.windows = WindowAttention(channels, heads, shifted)
        self.mlp = Mlp(channels, 4 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        y = to_volume(self.squeeze(self.norm0(x)).permute(0, 3, 1, 2), batch)
        y = to_pictures(self.act(self.conv(y))).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.widen(y))
        x = x + self.drop_path(self.windows(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class WindowAttention(nn.Module):
    """Attention within windows of 7 × 7, every second time shifted by 3 (Liu et al., section 3.2).

    (N, h, w, C) to the same. As in the paper, maps are padded to multiples of 7, and an axis that a single
    window covers is not shifted.
    """

    def __init__(self, channels: int, heads: int, shifted: bool) -> None:
        super().__init__()
        from timm.models.swin_transformer import WindowAttention

        self.attn = WindowAttention(channels, heads, window_size=WINDOW)
        self.shifted = shifted

    def forward(self, x: Tensor) -> Tensor:
        from timm.models.swin_transformer import window_partition, window_reverse

        # int(), because sizes of pictures are constants in the exported network.
        height, width = int(x.shape[1]), int(x.shape[2])
        shifts = [WINDOW // 2 if self.shifted and side > WINDOW else 0 for side in (height, width)]
        x = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        padded = height + -height % WINDOW, width + -width % WINDOW
        x = x.roll([-shift for shift in shifts], (1, 2))
        windows = window_partition(x, (WINDOW, WINDOW)).flatten(1, 2)
        mask = _shift_mask(padded, shifts).to(x) if any(shifts) else None
        windows = self.attn(windows, mask).unflatten(1, (WINDOW, WINDOW))
        x = window_reverse(windows, (WINDOW, WINDOW), *padded)
        return x.roll(shifts, (1, 2))[:, :height, :width]


def _shift_mask(size: tuple[int, int], shifts: list[int]) -> Tensor:
    """(windows, 49, 49): -100 for two pixels that are in one window only because of the roll, else 0."""
    from timm.models.swin_transformer import window_partition

    # After the roll the last `shift` pixels of an axis are those of its beginning: a separate region.
    rows, columns = (
        (torch.arange(side, device="cpu") >= side - shift).float()
        for side, shift in zip(size, shifts, strict=True)
    )
    regions = (2 * rows[:, None] + columns[None, :])[None, :, :, None]
    pixels = window_partition(regions, (WINDOW, WINDOW)).flatten(1)
    return -100.0 * (pixels[:, None] != pixels[:, :, None]).float()


def _initialise(module: nn.Module) -> None:
    """Swin's initialisation: small weights in linear layers."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
