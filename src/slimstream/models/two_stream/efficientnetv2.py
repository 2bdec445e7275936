"""EfficientNetV2 streams (Tan & Le, ICML 2021), plain and with dilated convolutions, P2's own network."""

from typing import Annotated, Literal, Unpack

from pydantic import Field
from torch import nn

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, timm_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone
from slimstream.models.two_stream.efficientnet import stages_of

Size = Literal["b0", "b1", "b2", "b3", "s", "s_24m", "m", "l"]


def two_stream_efficientnetv2(
    num_classes: Classes,
    *,
    size: Size = "b0",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two EfficientNetV2 streams (P2, Tables 1 and 2).

    The streams can be joined after 'mbconv4' and after 'mbconv6' (`position`). P2's Table 1 has two stages of
    MBConv6 and P2 does not say which one Table 5 means; here it is the second.

    Args:
        num_classes: classes to tell apart.
        size: classification nets of 7.1 (b0), 8.1, 10, 14 (b3), 21 (s), 24 (s_24m), 54 (m) and 119 M
            parameters (l). P2's 24 M is 's_24m': S in the first version of its paper, with 272 channels in
            the last stage; 's' is S in later versions, with 256.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: efficientnetv2(size, pretrained), num_classes, **streams)


def two_stream_dilated_efficientnetv2(
    num_classes: Classes,
    *,
    size: Size = "b0",
    dilation: Annotated[int, Field(ge=2, le=4)] = 2,
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two EfficientNetV2 streams with dilated convolutions, P2's improved network (P2, sections 2.3 and 2.5).

    Dilation gives a larger receptive field for the same parameters and computation. P2 does not say which
    layers are dilated; here it is the 3×3 convolutions of stride 1 in all stages of MBConv6.

    Args:
        num_classes: classes to tell apart.
        size: as in `two_stream_efficientnetv2`.
        dilation: distance of a kernel's pixels; 1 would be the plain network.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: dilate(efficientnetv2(size, pretrained), dilation), num_classes, **streams)


def efficientnetv2(size: Size, pretrained: Weights) -> Backbone:
    """The rows of P2's Table 1: stem, three stages of fused MBConv, one of MBConv4, some of MBConv6, 1×1."""
    name = "efficientnetv2_rw_s.ra2_in1k" if size == "s_24m" else f"tf_efficientnetv2_{size}.in1k"
    net = timm_net(name, pretrained)
    names = ["stem", "fused_mbconv1", "fused_mbconv4", "fused_mbconv4", "mbconv4"]
    names += ["mbconv6"] * (len(net.blocks) - 4) + ["last"]
    cfg = net.pretrained_cfg
    return Backbone(stages_of(net), names, mean=cfg["mean"], std=cfg["std"])


def dilate(backbone: Backbone, dilation: int) -> Backbone:
    """Dilate the 3×3 kernels of stride 1 in the stages of MBConv6, in place; maps keep their size."""
    for name, stage in zip(backbone.names, backbone.stages, strict=True):
        for conv in stage.modules() if name == "mbconv6" else ():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3) and conv.stride == (1, 1):
                conv.dilation = conv.padding = (dilation, dilation)
    return backbone
