"""SqueezeNet streams (Iandola et al., arXiv 1602.07360)."""

from typing import Literal, Unpack

from torch import nn

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, torchvision_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone

Size = Literal["1_0", "1_1"]


def two_stream_squeezenet(
    num_classes: Classes,
    *,
    size: Size = "1_1",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two SqueezeNet streams, fire modules (named in P1, section 1).

    Args:
        num_classes: classes to tell apart.
        size: the version; both are classification nets of 1.2 M parameters, 1.1 computes 2.4 times less.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: squeezenet(size, pretrained), num_classes, **streams)


def squeezenet(size: Size, pretrained: Weights) -> Backbone:
    """SqueezeNet `size`: stem and fire2 … fire9; a pool belongs to the module before it."""
    stages: list[nn.Sequential] = [nn.Sequential()]
    for layer in torchvision_net(f"squeezenet{size}", pretrained).features:
        if hasattr(layer, "squeeze"):
            stages.append(nn.Sequential())
        stages[-1].append(layer)
    names = ["stem", *(f"fire{i}" for i in range(2, len(stages) + 1))]
    return Backbone(nn.Sequential(*stages), names)
