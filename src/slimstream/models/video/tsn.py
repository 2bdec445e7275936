"""TSN: temporal segment network, which classifies segments (Wang et al., ECCV 2016, arXiv 1608.00859)."""

from typing import Literal

import torch
from torch import Tensor, nn

from slimstream.models.architectures.two_stream import Normalise, TimePool, TwoStream
from slimstream.models.layers.fusion import Concat
from slimstream.models.settings import Classes, Dropout

# Ioffe & Szegedy (ICML 2015, arXiv 1502.03167), Fig. 5, from 3a to 5b: channels of the 1×1, of the reduction
# and the 3×3, of the reduction and the double 3×3, and of the convolution after the pooling. 4c and 4d have
# 608 channels, the sum of their branches.
BLOCKS = (
    (64, (64, 64), (64, 96), 32),
    (64, (64, 96), (64, 96), 64),
    (0, (128, 160), (64, 96), 0),
    (224, (64, 96), (96, 128), 128),
    (192, (96, 128), (96, 128), 128),
    (160, (128, 160), (128, 160), 128),
    (96, (128, 192), (160, 192), 128),
    (0, (128, 192), (192, 256), 0),
    (352, (192, 320), (160, 224), 128),
    (352, (192, 320), (192, 224), 128),
)


def tsn(
    num_classes: Classes,
    *,
    pretrained: Literal[False] = False,
    dropout: Dropout = 0.8,
) -> TwoStream:
    """TSN: BN-Inception on RGB and flow, scores of segments and streams averaged (named in P1, section 2).

    A segment is a frame with its flow. Training draws one from each of `fit.frames` equal parts of a clip, as
    in the paper; evaluation uses all frames. Consensus and fusion are averages of scores before the softmax.
    Scores are linear in the features, so one linear layer on both streams' mean features gives the same. Our
    changes: one flow field per segment instead of five, and both streams are trained together.

    Args:
        num_classes: classes to tell apart.
        pretrained: no package provides BN-Inception's weights.
        dropout: on the features before the classifier (the paper: 0.8 for RGB, 0.7 for flow).
    """
    rgb, flow = BNInception(), BNInception()
    return TwoStream(
        normalise=Normalise(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        rgb=rgb,
        flow=flow,
        fusion=Concat(),
        pool=TimePool("mean"),
        head=lambda features: nn.Linear(features, num_classes),
        features=2 * rgb.channels,
        dropout=dropout,
    )


class BNInception(nn.Module):
    """(N, 3, H, W) to (N, 1024, H/32, W/32)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            conv(3, 64, 7, stride=2),
            nn.MaxPool2d(3, stride=2, padding=1),
            conv(64, 64, 1),
            conv(64, 192, 3),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        channels = 192
        for index, widths in enumerate(BLOCKS):
            block = InceptionBlock(channels, *widths, pool="max" if index == len(BLOCKS) - 1 else "average")
            layers.append(block)
            channels = block.channels
        self.layers = nn.Sequential(*layers)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class InceptionBlock(nn.Module):
    """Parallel branches whose outputs are concatenated, (N, inputs, h, w) to (N, channels, h', w').

    Without a 1×1 branch (`single` = 0) it halves height and width, and its pooling has no convolution.
    """

    def __init__(
        self,
        inputs: int,
        single: int,
        triple: tuple[int, int],
        double: tuple[int, int],
        pooled: int,
        *,
        pool: Literal["average", "max"],
    ) -> None:
        super().__init__()
        stride = 1 if single else 2
        (reduce3, out3), (reduce5, out5) = triple, double
        branches = [
            nn.Sequential(conv(inputs, reduce3, 1), conv(reduce3, out3, 3, stride=stride)),
            nn.Sequential(
                conv(inputs, reduce5, 1), conv(reduce5, out5, 3), conv(out5, out5, 3, stride=stride)
            ),
        ]
        if single:
            pooling = nn.AvgPool2d if pool == "average" else nn.MaxPool2d
            branches.insert(0, conv(inputs, single, 1))
            branches.append(nn.Sequential(pooling(3, stride=1, padding=1), conv(inputs, pooled, 1)))
        else:
            branches.append(nn.Sequential(nn.MaxPool2d(3, stride=2, padding=1)))
        self.branches = nn.ModuleList(branches)
        self.channels = single + out3 + out5 + (pooled or inputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
