"""ShuffleNet V2 streams (Ma et al., ECCV 2018)."""

from typing import Any, Literal, Unpack

import torch
from torch import Tensor, nn

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, torchvision_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone

Size = Literal["x0_5", "x1_0", "x1_5", "x2_0"]


def two_stream_shufflenet(
    num_classes: Classes,
    *,
    size: Size = "x1_0",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two ShuffleNet streams, grouped channels that are shuffled (named in P1, section 1).

    P1 cites the first ShuffleNet; this is its successor V2, for which there are ImageNet weights.

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
