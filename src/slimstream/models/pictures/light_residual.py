"""The light residual net for small grey pictures: P3's student (section 2.1, Figs. 3 and 4)."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from slimstream.models.architectures.picture import PictureNet
from slimstream.models.settings import Classes, Dropout

LEAKY_SLOPE = 0.1
"""Slope of LeakyReLU below zero."""


def light_residual_net(
    num_classes: Classes,
    *,
    dropout: Dropout = 0.2,
    pretrained: Literal[False] = False,
) -> PictureNet:
    """Light residual net for grey pictures, with the paper's 6.4 M parameters (P3).

    Args:
        num_classes: classes to tell apart.
        dropout: on the features before the classifier.
        pretrained: there are no weights of it to be had.
    """
    return _light_residual(num_classes, widths=(48, 96, 224, 480), hidden=128, dropout=dropout)


def light_residual_net_small(
    num_classes: Classes,
    *,
    dropout: Dropout = 0.1,
    pretrained: Literal[False] = False,
) -> PictureNet:
    """Light residual net for grey pictures, made for speed: the same layers, 0.15 M parameters (P3, small).

    Args:
        num_classes: classes to tell apart.
        dropout: on the features before the classifier.
        pretrained: there are no weights of it to be had.
    """
    return _light_residual(num_classes, widths=(16, 32, 32, 64), hidden=32, dropout=dropout)


def light_residual_net_bottleneck(
    num_classes: Classes,
    *,
    dropout: Dropout = 0.2,
    pretrained: Literal[False] = False,
) -> PictureNet:
    """Light residual net for grey pictures with residual blocks of 1×1, 3×3 and 1×1 (P3, section 2.2).

    P3 names this block beside that of two 3×3 convolutions, as the one with fewer parameters. Here it has
    1.6 M instead of 6.5 M, and 13 convolutions instead of ten.

    Args:
        num_classes: classes to tell apart.
        dropout: on the features before the classifier.
        pretrained: there are no weights of it to be had.
    """
    widths = (48, 96, 224, 480)
    return _light_residual(num_classes, widths=widths, hidden=128, dropout=dropout, branch=bottleneck)


def plain(width: int) -> nn.Sequential:
    """Two 3×3 convolutions, (N, C, h, w) to the same: P3's first residual block."""
    return nn.Sequential(Convolution(width, width), Convolution(width, width, activate=False))


def bottleneck(width: int) -> nn.Sequential:
    """1×1, 3×3 and 1×1 convolutions, (N, C, h, w) to the same: P3's second residual block.

    P3 gives no width for the middle one; ours is a quarter, as in ResNet (He et al. 2016, Fig. 5).
    """
    inner = width // 4
    return nn.Sequential(
        Convolution(width, inner, size=1),
        Convolution(inner, inner),
        Convolution(inner, width, size=1, activate=False),
    )


def _light_residual(
    num_classes: int,
    *,
    widths: Sequence[int],
    hidden: int,
    dropout: float,
    branch: Callable[[int], nn.Sequential] = plain,
) -> PictureNet:
    """Ten convolutions, four max-pools, three residual joins, a global average and two linear layers.

    ::

        picture ── conv, pool ──┬── conv, pool, (conv, conv) + ──┬── … ──┬── … ── mean ── linear ── linear
                      25×25     │              12×12             │  6×6  │  3×3    (sizes of a 50×50 picture)

    P3 gives the numbers of layers, but neither their widths nor their order. Our choice for a stage: one
    convolution increases the width, a max-pool halves the size, and two convolutions have a shortcut around
    them. Pooling first makes the shortcut cheap. No shortcut needs a convolution, so there are ten in all.
    `branch` returns the convolutions that a shortcut goes around, for their width.
    """
    first, *rest = widths
    stages = nn.Sequential(nn.Sequential(Convolution(1, first), nn.MaxPool2d(2)))
    for inputs, width in zip(widths, rest, strict=False):
        stages.append(nn.Sequential(Convolution(inputs, width), nn.MaxPool2d(2), Residual(branch(width))))
    return PictureNet(
        stages=stages,
        neck=nn.Sequential(nn.Linear(widths[-1], hidden), nn.LeakyReLU(LEAKY_SLOPE)),
        head=nn.Linear(hidden, num_classes),
        dropout=dropout,
    )


class Convolution(nn.Sequential):
    """Convolution, batch norm and, with `activate`, LeakyReLU; (N, C, h, w) to (N, C', h, w)."""

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, activate: bool = True) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )
        if activate:
            self.append(nn.LeakyReLU(LEAKY_SLOPE))


class Residual(nn.Module):
    """Convolutions with a shortcut around them (P3, section 2.2, Fig. 5); (N, C, h, w) to the same."""

    def __init__(self, convolutions: nn.Sequential) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.activation = nn.LeakyReLU(LEAKY_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.convolutions(x))
