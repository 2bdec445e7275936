"""ResNet streams (He et al., CVPR 2016) and ResNet-RS streams (Bello et al., NeurIPS 2021)."""

from typing import Literal, Unpack

from torch import nn

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, timm_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone


def two_stream_resnet(
    num_classes: Classes,
    *,
    size: Literal[18, 34, 50, 101, 152] = 18,
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two ResNet streams (P2, Tables 4 and 7).

    Args:
        num_classes: classes to tell apart.
        size: layers; classification nets of 12, 22, 26, 45 and 60 M parameters. P2 does not say which.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: resnet(f"resnet{size}.a1_in1k", pretrained), num_classes, **streams)


def two_stream_resnet_rs(
    num_classes: Classes,
    *,
    size: Literal[50, 101, 152, 200, 270, 350, 420] = 50,
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two ResNet-RS streams: ResNet with squeeze-and-excitation and a stem of three layers (P2, Table 2).

    Args:
        num_classes: classes to tell apart.
        size: layers; classification nets of 36, 64, 87, 93, 130, 164 and 192 M parameters. P2's 164 M is 350.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: resnet(f"resnetrs{size}.tf_in1k", pretrained), num_classes, **streams)


def resnet(name: str, pretrained: Weights) -> Backbone:
    """timm's ResNet `name`."""
    net = timm_net(name, pretrained)
    stem = nn.Sequential(net.conv1, net.bn1, net.act1, net.maxpool)
    stages = nn.Sequential(stem, net.layer1, net.layer2, net.layer3, net.layer4)
    cfg = net.pretrained_cfg
    return Backbone(
        stages, ["stem", "layer1", "layer2", "layer3", "layer4"], mean=cfg["mean"], std=cfg["std"]
    )
