"""Vision transformer streams (Dosovitskiy et al., ICLR 2021)."""

from typing import Any, Literal, Unpack

from torch import Tensor, nn
from torch.nn import functional

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights, timm_net
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone

Size = Literal["tiny", "small", "base"]

_NETS = {
    "tiny": "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "small": "vit_small_patch16_224.augreg_in1k",
    "base": "vit_base_patch16_224.augreg_in1k",
}


def two_stream_vit(
    num_classes: Classes,
    *,
    size: Size = "tiny",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two vision transformer streams, ViT/16 (named in P1, section 1).

    Args:
        num_classes: classes to tell apart.
        size: classification nets of 5.7, 22 and 87 M parameters.
        pretrained: ImageNet weights, see `models.hub.Weights`; 'tiny' was first trained on ImageNet-21k.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: vit(size, pretrained), num_classes, **streams)


def vit(size: Size, pretrained: Weights) -> Backbone:
    """ViT `size` without class token: as in the other backbones, features are the mean over the map."""
    net = timm_net(_NETS[size], pretrained)
    stages = [Patches(net), *(OverPatches(block) for block in net.blocks), OverPatches(net.norm)]
    names = ["patches", *(f"block{i + 1}" for i in range(len(net.blocks))), "last"]
    cfg = net.pretrained_cfg
    return Backbone(nn.Sequential(*stages), names, mean=cfg["mean"], std=cfg["std"])


class Patches(nn.Module):
    """(N, 3, H, W) to an embedding of each patch of 16 × 16 pixels, (N, C, H // 16, W // 16).

    Position embeddings were trained for 14 × 14 patches and are interpolated for other sizes. All blocks have
    their width, so pruning keeps it and removes channels within the blocks only.
    """

    keep_channels = True

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.cut: nn.Conv2d = net.patch_embed.proj
        rows, columns = net.patch_embed.grid_size
        places = net.pos_embed.detach()[:, net.num_prefix_tokens :]
        self.places = nn.Parameter(places.mT.unflatten(2, (rows, columns)).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        patches = self.cut(x)
        places: Tensor = self.places
        if patches.shape[2:] != places.shape[2:]:
            places = functional.interpolate(places, patches.shape[2:], mode="bicubic", align_corners=False)
        return patches + places


class OverPatches(nn.Module):
    """A layer for (N, patches, C) applied to a map (N, C, h, w)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.flatten(2).transpose(1, 2))
        return out.transpose(1, 2).reshape(x.shape)  # unflatten would be exported for one batch size only
