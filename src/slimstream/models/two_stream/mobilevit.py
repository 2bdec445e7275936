"""MobileViT streams (P1; Mehta & Rastegari, arXiv 2110.02178)."""

from typing import Any, Literal

from torch import nn

from slimstream.models.architectures.streams import join_streams
from slimstream.models.architectures.two_stream import Normalise, Pool, TwoStream
from slimstream.models.hub import Weights, timm_net
from slimstream.models.layers.fusion import Fusion
from slimstream.models.layers.heads import Head
from slimstream.models.settings import Classes, Dropout


def two_stream_mobilevit(
    num_classes: Classes,
    *,
    size: Literal["xxs", "xs", "s"] = "xxs",
    shared: bool = False,
    shortcut: bool = True,
    pretrained: Weights = False,
    fusion: Fusion = "cafm",
    pool: Pool = "mean",
    dropout: Dropout = 0.0,
    head: Head = "linear",
) -> TwoStream:
    """Two MobileViT streams that meet in a CAFM, from scratch (P1).

    Args:
        num_classes: classes to tell apart.
        size: MobileViT's size; both streams together have 1.90, 3.87 or 9.88 M parameters.
        shared: one backbone for both streams ("identical also in parameters") instead of two copies.
        shortcut: whether a MobileViT block concatenates its input with its global branch (P1, Table 3).
        pretrained: ImageNet weights, see `models.hub.Weights`.
        fusion: how the streams are joined, see `models.architectures.streams.two_stream`; P1's is 'cafm'.
        pool: how frames become a clip.
        dropout: on the features before the classifier.
        head: 'cosine' for AM-softmax (P2).
    """
    rgb = _backbone(size, shortcut, pretrained)
    return join_streams(
        rgb,
        None if shared else _backbone(size, shortcut, pretrained),
        num_classes,
        normalise=Normalise(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        fusion=fusion,
        channels=rgb.num_features,
        pool=pool,
        head=head,
        dropout=dropout,
    )


def _backbone(size: str, shortcut: bool, pretrained: Weights) -> Any:
    from timm.models.mobilevit import MobileVitBlock

    net = timm_net(f"mobilevit_{size}", pretrained, global_pool="")
    if not shortcut:
        for block in net.modules():
            if isinstance(block, MobileVitBlock):
                _drop_shortcut(block)
    return net


def _drop_shortcut(block: Any) -> None:
    """Let the n×n fusion convolution of timm's `MobileVitBlock` use the global branch only, in place."""
    fusion = block.conv_fusion
    inputs = fusion.conv.in_channels - block.conv_proj.conv.out_channels  # the shortcut's, which are first
    fusion.conv.weight = nn.Parameter(fusion.conv.weight.detach()[:, inputs:].clone())
    fusion.conv.in_channels -= inputs
    block.conv_proj = nn.Sequential(block.conv_proj, fusion)
    block.conv_fusion = None  # timm then skips both the concatenation and the convolution
