"""C3D: a network of 3×3×3 convolutions (Tran et al., ICCV 2015, arXiv 1412.0767)."""

from typing import Literal

from torch import Tensor, nn

from slimstream.models.architectures.two_stream import Normalise, NormaliseRgb, TimePool
from slimstream.models.architectures.volumes import OneStream, Resize, TwoVolumes
from slimstream.models.settings import Classes, Dropout, Width

FRAMES, SIDE = 16, 112
"""Frames and side in pixels of C3D's input; its fully connected layers need this size."""

LAYERS = ((64,), (128,), (256, 256), (512, 512), (512, 512))
"""Channels of the convolutions before each pooling."""


def c3d(
    num_classes: Classes,
    *,
    width: Width = 1.0,
    pretrained: Literal[False] = False,
    dropout: Dropout = 0.5,
) -> OneStream:
    """C3D on 16 RGB frames of 112 × 112 pixels, from scratch (P1, Table 2).

    Clips of other lengths and sizes are resized inside the network. It has 78.0 M parameters with three
    classes; P1's 79.92 M are within 0.1 % of C3D with the 487 classes of C3D's own data set.

    Args:
        num_classes: classes to tell apart.
        width: share of the published channels; 1 is C3D.
        pretrained: no package provides C3D's weights.
        dropout: after both hidden fully connected layers.
    """
    hidden = round(4096 * width)
    return OneStream(
        normalise=NormaliseRgb(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        rgb=_resized(width, hidden, dropout),
        pool=TimePool("mean"),
        head=lambda features: nn.Linear(features, num_classes),
        features=hidden,
        dropout=dropout,
    )


def two_stream_c3d(
    num_classes: Classes,
    *,
    width: Width = 1.0,
    pretrained: Literal[False] = False,
    dropout: Dropout = 0.5,
) -> TwoVolumes:
    """Two-stream network of 3-D CNNs: C3D on RGB and on flow, from scratch (named in P2, section 1).

    P2 names networks that combine two streams with a 3-D CNN and gives no details. Our choice: two C3D whose
    features are concatenated, trained together.

    Args:
        num_classes: classes to tell apart.
        width, pretrained, dropout: as in `c3d`; at width 1 it has 156 M parameters.
    """
    hidden = round(4096 * width)
    return TwoVolumes(
        normalise=Normalise(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        rgb=_resized(width, hidden, dropout),
        flow=_resized(width, hidden, dropout),
        pool=TimePool("mean"),
        head=lambda features: nn.Linear(features, num_classes),
        features=2 * hidden,
        dropout=dropout,
    )


def _resized(width: float, hidden: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(Resize(side=SIDE, frames=FRAMES), C3D(width, hidden, dropout))


class C3D(nn.Module):
    """(B, 3, 16, 112, 112) to the output of the second hidden layer for the whole clip, (B, hidden, 1)."""

    def __init__(self, width: float, hidden: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for number, block in enumerate(LAYERS):
            for out in (round(width * c) for c in block):
                layers += [nn.Conv3d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
                channels = out
            layers.append(_pool(number))
        self.convolutions = nn.Sequential(*layers)
        self.hidden = hidden_layers(channels * 4 * 4, hidden, dropout)
        self.apply(init_he)

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden(self.convolutions(x).flatten(1)).unsqueeze(2)


def _pool(number: int) -> nn.Module:
    """The pooling after block `number`: the first keeps all frames, the last pads 7 × 7 to get 4 × 4."""
    if number == 0:
        return nn.MaxPool3d((1, 2, 2))
    return nn.MaxPool3d(2, padding=(0, 1, 1) if number == len(LAYERS) - 1 else 0)


def hidden_layers(features: int, width: int, dropout: float) -> nn.Sequential:
    """Two fully connected layers with ReLU and dropout, (N, features) to (N, width)."""
    return nn.Sequential(
        nn.Linear(features, width),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(width, width),
        nn.ReLU(inplace=True),
    )


def init_he(module: nn.Module) -> None:
    """He et al.'s initialisation (ICCV 2015): with PyTorch's, activations vanish in nets without norms."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
