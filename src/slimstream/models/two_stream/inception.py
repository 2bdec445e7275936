"""Inception streams (Szegedy et al.: CVPR 2015, CVPR 2016, AAAI 2017)."""

from typing import Literal, Unpack

from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, timm_net, torchvision_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone

Size = Literal["v1", "v3", "v4"]


def two_stream_inception(
    num_classes: Classes,
    *,
    size: Size = "v1",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two Inception streams (P2, Table 4).

    Args:
        num_classes: classes to tell apart.
        size: the version; classification nets of 6.6, 24 and 43 M parameters. P2 does not say which.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: inception(size, pretrained), num_classes, **streams)


def inception(size: Size, pretrained: Weights) -> Backbone:
    """Inception `size` with one stage per layer, without v1's auxiliary classifiers."""
    if size == "v1":
        net = torchvision_net("googlenet", pretrained, aux_logits=False, init_weights=False)
    elif size == "v3":
        net = timm_net("inception_v3.tv_in1k", pretrained)
    else:
        net = timm_net("inception_v4.tf_in1k", pretrained).features
    layers = {name.lower(): layer for name, layer in net.named_children() if name not in _ABOVE}
    if size != "v1":
        first = next(iter(layers))
        layers[first] = nn.Sequential(MinimumSize(75), layers[first])
    names = [f"layer{name}" if name.isdigit() else name for name in layers]
    # All three were trained on pictures in -1..1.
    return Backbone(nn.Sequential(*layers.values()), names, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


_ABOVE = ("avgpool", "dropout", "global_pool", "head_drop", "fc")
"""Layers of the classifier."""


class MinimumSize(nn.Module):
    """Raise UserError for pictures of less than `side` pixels, which are too small for the later layers."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        if min(x.shape[2:]) < self.side:
            raise UserError(
                f"extract.size: this Inception needs pictures of at least {self.side} × {self.side} pixels, "
                f"these have {x.shape[2]} × {x.shape[3]}."
            )
        return x
