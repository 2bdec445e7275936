"""A network that classifies every frame separately (Karpathy et al., CVPR 2014, "single-frame")."""

from typing import Literal

from torch import Tensor, nn

from slimstream.models.architectures.two_stream import NormaliseRgb, TimePool
from slimstream.models.architectures.volumes import OneStream, PerFrame, Resize
from slimstream.models.settings import Classes, Dropout, Width
from slimstream.models.video.c3d import hidden_layers, init_he

SIDE = 170
"""Side of a frame in pixels; the fully connected layers need this size."""


def per_frame_cnn(
    num_classes: Classes,
    *,
    width: Width = 1.0,
    pretrained: Literal[False] = False,
    dropout: Dropout = 0.5,
) -> OneStream:
    """2-D CNN on single RGB frames, scores averaged over the clip, from scratch (named in P1, section 2).

    Scores are averaged before the softmax, so one linear layer on the mean of the frames' features gives the
    same. Frames are resized to 170 × 170 pixels inside the network. It has 58.3 M parameters.

    Args:
        num_classes: classes to tell apart.
        width: share of the published channels; 1 is the paper's network.
        pretrained: no package provides its weights.
        dropout: after both hidden fully connected layers.
    """
    hidden = round(4096 * width)
    return OneStream(
        normalise=NormaliseRgb(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        rgb=nn.Sequential(Resize(side=SIDE), PerFrame(SingleFrame(width, hidden, dropout))),
        pool=TimePool("mean"),
        head=lambda features: nn.Linear(features, num_classes),
        features=hidden,
        dropout=dropout,
    )


class SingleFrame(nn.Module):
    """C(96,11,3)-N-P-C(256,5,1)-N-P-C(384,3,1)-C(384,3,1)-C(256,3,1)-P-FC(4096)-FC(4096) (section 3.1).

    (N, 3, 170, 170) to (N, hidden). C(d,f,s) is a convolution of d filters, f × f pixels, stride s; P pools
    2 × 2. Our change: N is batch norm instead of local response normalisation.
    """

    def __init__(self, width: float, hidden: int, dropout: float) -> None:
        super().__init__()
        a, b, c, d, e = (round(width * channels) for channels in (96, 256, 384, 384, 256))
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, a, 11, stride=3),
            nn.BatchNorm2d(a),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(a, b, 5, padding=2),
            nn.BatchNorm2d(b),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(b, c, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c, d, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(d, e, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.hidden = hidden_layers(e * 6 * 6, hidden, dropout)
        self.apply(init_he)

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(self.convolutions(x).flatten(1))
