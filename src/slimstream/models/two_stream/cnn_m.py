"""The plain two-stream CNN (Simonyan & Zisserman, NIPS 2014)."""

from typing import Literal, Unpack

from torch import Tensor, nn
from torch.nn import functional

from slimstream.models.architectures.streams import PooledStreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.settings import Classes, Width
from slimstream.models.two_stream.backbone import Backbone


def two_stream_cnn_m(
    num_classes: Classes,
    *,
    width: Width = 0.25,
    pretrained: Literal[False] = False,
    **streams: Unpack[PooledStreamSettings],
) -> TwoStream:
    """Two CNN-M-2048 streams, the plain two-stream CNN, from scratch (P2, Tables 4 and 7).

    Simonyan & Zisserman stack the flow of ten frames. Here, as in every other network of the project, each
    frame of RGB has one frame of flow, so that both streams have the same structure.

    Args:
        num_classes: classes to tell apart.
        width: share of the published channels; 1 is the paper's network, 90 M parameters a stream.
        pretrained: no pretrained weights are available.
        streams: see `models.architectures.streams.two_stream`.
    """
    return two_stream(lambda: cnn_m(width, streams.get("dropout", 0.0)), num_classes, **streams)


def cnn_m(width: float = 0.25, dropout: float = 0.0) -> Backbone:
    """CNN-M-2048 (Chatfield et al., BMVC 2014, Table 1 and Fig. 1), without the last layer.

    conv1 7×7×96 /2, norm, pool; conv2 5×5×256 /2, norm, pool; conv3, conv4 and conv5 3×3×512, pool; full6
    4096, dropout; full7 2048. Our changes: batch norm after every convolution instead of local response
    normalisation after two of them, because otherwise it does not learn from scratch on little data; pictures
    are resized to 224 × 224, the size that full6 needs.
    """
    c1, c2, c3, c6, c7 = (2 * round(width * half) for half in (48, 128, 256, 2048, 1024))
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    stages = nn.Sequential(
        nn.Sequential(Resize(224), *_layer(3, c1, 7, stride=2), pool),
        nn.Sequential(*_layer(c1, c2, 5, stride=2, padding=1), pool),
        nn.Sequential(*_layer(c2, c3, 3, padding=1)),
        nn.Sequential(*_layer(c3, c3, 3, padding=1)),
        nn.Sequential(*_layer(c3, c3, 3, padding=1), nn.MaxPool2d(3, 2)),
        # A fully connected layer over a map of its own size is a convolution.
        nn.Sequential(nn.Conv2d(c3, c6, 6), nn.ReLU(), nn.Dropout(dropout)),
        nn.Sequential(nn.Conv2d(c6, c7, 1), nn.ReLU()),
    )
    for conv in stages.modules():
        if isinstance(conv, nn.Conv2d):  # without it activations vanish in full6 and full7 (no norm)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "full6", "full7"]
    return Backbone(stages, names, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def _layer(
    inputs: int, outputs: int, size: int, *, stride: int = 1, padding: int = 0
) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()


class Resize(nn.Module):
    """Bilinear resizing, (N, C, H, W) to (N, C, side, side)."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
