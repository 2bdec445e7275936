"""MobileNet streams (P1's reference 10; Howard et al., arXiv 1704.04861, and what followed it)."""

from typing import Literal, Unpack

from torch import nn

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, timm_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone

Size = Literal["v1", "v2", "v3_small"]

_NETS = {
    "v1": "mobilenetv1_100.ra4_e3600_r224_in1k",
    "v2": "mobilenetv2_100.ra_in1k",
    "v3_small": "mobilenetv3_small_100.lamb_in1k",
}


def two_stream_mobilenet(
    num_classes: Classes,
    *,
    size: Size = "v2",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two MobileNet streams, depthwise separable convolutions (named in P1, section 1).

    Args:
        num_classes: classes to tell apart.
        size: 'v1', 'v2' or 'v3_small'; classification nets of 4.2, 3.5 and 2.5 M parameters.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: mobilenet(size, pretrained), num_classes, **streams)


def mobilenet(size: Size, pretrained: Weights) -> Backbone:
    """MobileNet `size`. v3's layer after the average pool belongs to the classifier and is left out."""
    net = timm_net(_NETS[size], pretrained)
    stages = [nn.Sequential(net.conv_stem, net.bn1), *net.blocks]
    names = ["stem", *(f"stage{i}" for i in range(1, len(stages)))]
    if size != "v3_small":
        stages.append(nn.Sequential(net.conv_head, net.bn2))
        names.append("last")
    cfg = net.pretrained_cfg
    return Backbone(nn.Sequential(*stages), names, mean=cfg["mean"], std=cfg["std"])
