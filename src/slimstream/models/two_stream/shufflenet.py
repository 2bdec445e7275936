"""ShuffleNet streams: V2 (Ma et al., ECCV 2018) and the first one (Zhang et al., CVPR 2018)."""

from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, torchvision_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone

Size = Literal["x0_5", "x1_0", "x1_5", "x2_0"]
Groups = Literal[1, 2, 3, 4, 8]

V1_WIDTHS: dict[Groups, tuple[int, int, int]] = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}
"""Channels of the first ShuffleNet's stages 2 to 4 by the number of groups (Zhang et al., Table 1)."""


def two_stream_shufflenet(
    num_classes: Classes,
    *,
    size: Size = "x1_0",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two ShuffleNet streams, grouped channels that are shuffled (named in P1, section 1).

    P1 cites the first ShuffleNet (`two_stream_shufflenet_v1`); this is its successor V2, for which there are
    ImageNet weights.

    Args:
        num_classes: classes to tell apart.
        size: the width; classification nets of 1.4, 2.3, 3.5 and 7.4 M parameters.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: shufflenet(size, pretrained), num_classes, **streams)


def shufflenet(size: Size, pretrained: Weights) -> Backbone:
    """ShuffleNet V2 `size`. Only channels within a unit and in the last layer can be pruned.

    All other channels are shuffled and passed on to the next units.
    """
    net = torchvision_net(f"shufflenet_v2_{size}", pretrained)
    net.conv1[0].keep_channels = True
    stages = [nn.Sequential(net.conv1, net.maxpool)]
    stages += [nn.Sequential(*map(Unit, stage)) for stage in (net.stage2, net.stage3, net.stage4)]
    return Backbone(nn.Sequential(*stages, net.conv5), ["stem", "stage2", "stage3", "stage4", "last"])


class Unit(nn.Module):
    """torchvision's `unit` with the channel shuffle as one index operation, which pruning can trace.

    (N, C, H, W) to (N, C', H/stride, W/stride).
    """

    order: Tensor

    def __init__(self, unit: Any) -> None:
        super().__init__()
        self.branch1 = unit.branch1  # empty where half of the channels go through unchanged
        self.branch2 = unit.branch2
        for layer in (*self.branch1, *self.branch2[4:]):
            layer.keep_channels = True
        half = torch.arange(self.branch2[-2].num_features)
        self.register_buffer("order", torch.stack((half, half + len(half)), 1).flatten(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        left, right = (x, x) if len(self.branch1) else x.chunk(2, 1)
        return torch.cat((self.branch1(left), self.branch2(right)), 1).index_select(1, self.order)


def two_stream_shufflenet_v1(
    num_classes: Classes,
    *,
    groups: Groups = 3,
    pretrained: Literal[False] = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two streams of the first ShuffleNet: grouped 1×1 convolutions and a channel shuffle (P1, section 1).

    Args:
        num_classes: classes to tell apart.
        groups: groups of the 1×1 convolutions; the widths that go with them make all about as fast.
        pretrained: no package provides its weights.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: shufflenet_v1(groups), num_classes, **streams)


def shufflenet_v1(groups: Groups) -> Backbone:
    """The first ShuffleNet at its full width (Zhang et al., Table 1): (N, 3, H, W) to (N, C, H/32, W/32).

    None of its channels can be pruned: all are in groups or shuffled.
    """
    stem = nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False)
    stages: list[nn.Module] = [
        nn.Sequential(stem, nn.BatchNorm2d(24), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1))
    ]
    inputs = 24
    for width, repeats in zip(V1_WIDTHS[groups], (4, 8, 4), strict=True):
        units = [GroupUnit(inputs, width, groups)]
        units += [GroupUnit(width, width, groups) for _ in range(repeats - 1)]
        stages.append(nn.Sequential(*units))
        inputs = width
    net = nn.Sequential(*stages)
    convolutions: list[Any] = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:
        convolution.keep_channels = True
    return Backbone(net, ["stem", "stage2", "stage3", "stage4"])


class GroupUnit(nn.Module):
    """Zhang et al., Fig. 2 (b), or (c) where the width changes: then stride 2, and the input is appended.

    ::

        x ─┬─ 1×1 in groups ── shuffle ── 3×3 depthwise ── 1×1 in groups ─┬─ + or cat ── ReLU
           └─ (mean of 3×3, stride 2) ────────────────────────────────────┘

    (N, C, H, W) to the same, or to (N, C', H/2, W/2). The narrow layers have a quarter of the channels. The
    first unit's input has too few for groups.
    """

    order: Tensor

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.widens = inputs != outputs
        narrow, stride = outputs // 4, 2 if self.widens else 1
        first = 1 if inputs == 24 else groups
        self.reduce = nn.Sequential(
            nn.Conv2d(inputs, narrow, 1, groups=first, bias=False),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
        )
        self.register_buffer("order", torch.arange(narrow).view(groups, -1).T.flatten(), persistent=False)
        wide = outputs - inputs if self.widens else outputs
        self.expand = nn.Sequential(
            nn.Conv2d(narrow, narrow, 3, stride, padding=1, groups=narrow, bias=False),
            nn.BatchNorm2d(narrow),
            nn.Conv2d(narrow, wide, 1, groups=groups, bias=False),
            nn.BatchNorm2d(wide),
        )
        self.shortcut = nn.AvgPool2d(3, 2, padding=1) if self.widens else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        main = self.expand(self.reduce(x).index_select(1, self.order))
        beside = self.shortcut(x)
        return (torch.cat((beside, main), 1) if self.widens else beside + main).relu()
