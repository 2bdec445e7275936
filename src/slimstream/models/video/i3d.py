"""I3D: Inception-v1 inflated to three dimensions (Carreira & Zisserman, CVPR 2017, arXiv 1705.07750)."""

from typing import Any

import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.architectures.two_stream import Normalise, NormaliseRgb, TimePool
from slimstream.models.architectures.volumes import OneStream, TwoVolumes
from slimstream.models.settings import Classes, Dropout

# Szegedy et al. (CVPR 2015, arXiv 1409.4842), Table 1: channels of the 1×1×1, of the reduction and the 3×3×3,
# of the reduction and the second 3×3×3 (5×5 in the paper), and of the convolution after the pooling.
BLOCKS_3 = ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64))
BLOCKS_4 = (
    (192, (96, 208), (16, 48), 64),
    (160, (112, 224), (24, 64), 64),
    (128, (128, 256), (24, 64), 64),
    (112, (144, 288), (32, 64), 64),
    (256, (160, 320), (32, 128), 128),
)
BLOCKS_5 = ((256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128))


SCALE: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def i3d(num_classes: Classes, *, pretrained: bool = False, dropout: Dropout = 0.5) -> OneStream:
    """I3D: inflated Inception-v1 on RGB (named in P1, section 1).

    Scores are averaged over time before the softmax, as in the paper. They are linear in the features, so a
    linear layer on the mean features gives the same.

    Args:
        num_classes: classes to tell apart.
        pretrained: start with the ImageNet weights of torchvision's 2-D network, each kernel repeated over
            time and divided by its length (section 2.3); downloaded once.
        dropout: on the features before the classifier.
    """
    rgb = InceptionV1(_imagenet() if pretrained else None)
    return OneStream(
        normalise=NormaliseRgb(**SCALE),
        rgb=rgb,
        pool=TimePool("mean"),
        head=lambda features: nn.Linear(features, num_classes),
        features=rgb.channels,
        dropout=dropout,
    )


def two_stream_i3d(num_classes: Classes, *, pretrained: bool = False, dropout: Dropout = 0.5) -> TwoVolumes:
    """Two-stream I3D: inflated Inception-v1 on RGB and on flow (named in P1, section 1).

    Scores are averaged over time and streams, see `i3d`. Our changes: both streams are trained together, and
    flow has its magnitude as a third channel.

    Args:
        num_classes: classes to tell apart.
        pretrained, dropout: as in `i3d`.
    """
    weights = _imagenet() if pretrained else None
    rgb = InceptionV1(weights)
    return TwoVolumes(
        normalise=Normalise(**SCALE),
        rgb=rgb,
        flow=InceptionV1(weights),
        pool=TimePool("mean"),
        head=lambda features: nn.Linear(features, num_classes),
        features=2 * rgb.channels,
        dropout=dropout,
    )


class InceptionV1(nn.Module):
    """(B, 3, T, H, W) to (B, 1024, T/8, H/32, W/32), sizes rounded up.

    Args:
        weights: those of the 2-D network, in the order of this one; None for random weights.
    """

    def __init__(self, weights: list[Tensor] | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            conv(3, 64, 7, stride=2),
            max_pool(time=False),
            conv(64, 64, 1),
            conv(64, 192, 3),
            max_pool(time=False),
        ]
        channels = 192
        for blocks, pool in (
            (BLOCKS_3, max_pool(time=True)),
            (BLOCKS_4, nn.MaxPool3d(2, stride=2, ceil_mode=True)),
            (BLOCKS_5, None),
        ):
            for widths in blocks:
                block = InceptionBlock(channels, *widths)
                layers.append(block)
                channels = block.channels
            layers += [pool] if pool else []
        self.layers = nn.Sequential(*layers)
        self.channels = channels
        if weights is not None:
            self.load_state_dict(inflate(weights, self.state_dict()))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class InceptionBlock(nn.Module):
    """Four parallel branches whose outputs are concatenated, (B, C, T, h, w) to (B, channels, T, h, w)."""

    def __init__(
        self, inputs: int, single: int, first: tuple[int, int], second: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv(inputs, single, 1),
                nn.Sequential(conv(inputs, first[0], 1), conv(*first, 3)),
                nn.Sequential(conv(inputs, second[0], 1), conv(*second, 3)),
                nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), conv(inputs, pooled, 1)),
            ]
        )
        self.channels = single + first[1] + second[1] + pooled

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm3d(outputs, eps=1e-3),
        nn.ReLU(inplace=True),
    )


def max_pool(*, time: bool) -> nn.Sequential:
    """Max pooling of 3 × 3 pixels, or with `time` 3 × 3 × 3, with stride 2; sizes are rounded up.

    Padding is at the end only, as in the network that the weights come from. It is 0, and no map here has
    smaller values.
    """
    return nn.Sequential(
        nn.ConstantPad3d((0, 2, 0, 2, 0, 2 * time), 0.0),
        nn.MaxPool3d((3 if time else 1, 3, 3), stride=(2 if time else 1, 2, 2)),
    )


def inflate(weights: list[Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights for the 3-D network of `state` from those of a 2-D network in the same order (section 2.3).

    For a clip of equal frames the 3-D kernels give the same output as the 2-D ones.
    """
    pairs = zip(state.items(), weights, strict=True)
    return {
        name: (flat.unsqueeze(2).expand_as(deep) / deep.shape[2] if deep.ndim == 5 else flat)
        for (name, deep), flat in pairs
    }


def _imagenet() -> list[Tensor]:
    """Weights of torchvision's GoogLeNet, which also has 3×3 instead of 5×5 and the same order of layers.

    Raises UserError when they cannot be downloaded.
    """
    from torchvision.models import GoogLeNet_Weights

    try:
        # weights_only: no code in the file is executed.
        state = GoogLeNet_Weights.IMAGENET1K_V1.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except OSError as error:
        raise UserError(
            "The weights of Inception-v1 could not be fetched: go online once or set pretrained: false."
        ) from error
    return [value for name, value in state.items() if not name.startswith(("aux", "fc"))]
