"""Networks that are trained, exported and quantised in a second, for tests of what stages do with one."""

import torch
from torch import Tensor, nn

from slimstream.models.base import Classifier, Standardise


class TinyPictureNet(nn.Module):
    """For grey pictures: two convolutions and a head."""

    channels = frozenset({1})

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(16, num_classes)

    def features(self, clip: Tensor) -> Tensor:
        pictures = clip.flatten(0, 1).float() / 127.5 - 1
        return self.layers(pictures).unflatten(0, (clip.shape[0], clip.shape[1])).mean(1)

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.features(clip))


class TinyTwoStream(Classifier):
    """For RGB pictures and optical flow: three convolutions a stream, 0.3 M parameters."""

    channels = frozenset({5})

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.rgb, self.flow = _stream(3), _stream(2)
        self.standardise, self.dropout = Standardise(512), nn.Dropout(0.1)
        self.head = nn.Linear(512, num_classes)

    def features(self, clip: Tensor) -> Tensor:
        frames = clip.flatten(0, 1).float() / 127.5 - 1
        means = (x.mean((2, 3)) for x in (self.rgb(frames[:, :3]), self.flow(frames[:, 3:])))
        return torch.cat([x.unflatten(0, (clip.shape[0], clip.shape[1])).mean(1) for x in means], dim=1)


def _stream(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((channels, 16), (16, 64), (64, 256)):
        layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


def tiny_picture_net(num_classes: int, *, pretrained: bool = False) -> TinyPictureNet:
    """Learns specks."""
    return TinyPictureNet(num_classes)


def tiny_two_stream(num_classes: int, *, pretrained: bool = False) -> TinyTwoStream:
    """Learns bright halves and directions of flow."""
    return TinyTwoStream(num_classes)


NETWORKS = {"tiny_picture_net": tiny_picture_net, "tiny_two_stream": tiny_two_stream}
