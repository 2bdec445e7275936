"""VGG-16, VGG-19 and ResNet-18 for grey pictures: P3's teachers.

At 50×50 they have 15.25, 20.56 and 11.17 M parameters, 15.66 M on average (P3: 15.76 M).
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from slimstream.core.errors import UserError
from slimstream.models.architectures.picture import PictureNet
from slimstream.models.hub import timm_net
from slimstream.models.settings import Classes, Dropout, Width
from slimstream.models.video.c3d import hidden_layers


def vgg16(
    num_classes: Classes, *, width: Width = 1.0, dropout: Dropout = 0.5, pretrained: bool = False
) -> PictureNet:
    """VGG-16 for grey pictures: 13 convolutions and 3 linear layers (P3's teacher).

    Args:
        num_classes: classes to tell apart.
        width: share of the published channels.
        dropout: after each but the last linear layer.
        pretrained: ImageNet weights for the convolutions, from timm's hub; needs a network once.
    """
    return _vgg("vgg16_bn", (2, 2, 3, 3, 3), num_classes, width, dropout, pretrained)


def vgg19(
    num_classes: Classes, *, width: Width = 1.0, dropout: Dropout = 0.5, pretrained: bool = False
) -> PictureNet:
    """VGG-19 for grey pictures: 16 convolutions and 3 linear layers (P3's teacher).

    Args:
        num_classes: classes to tell apart.
        width: share of the published channels.
        dropout: after each but the last linear layer.
        pretrained: ImageNet weights for the convolutions, from timm's hub; needs a network once.
    """
    return _vgg("vgg19_bn", (2, 2, 4, 4, 4), num_classes, width, dropout, pretrained)


def resnet18(
    num_classes: Classes, *, width: Width = 1.0, dropout: Dropout = 0.0, pretrained: bool = False
) -> PictureNet:
    """ResNet-18 for grey pictures (P3's teacher).

    Args:
        num_classes: classes to tell apart.
        width: share of the published channels, of all but the first layer.
        dropout: on the features before the classifier.
        pretrained: ImageNet weights from timm's hub; needs a network once.
    """
    _refuse_cut_pretrained(width, pretrained)
    channels = tuple(round(width * full) for full in (64, 128, 256, 512))
    # timm sums pretrained weights of the first layer over the colours.
    net = timm_net("resnet18", pretrained, in_chans=1, channels=channels)
    stem = (net.conv1, net.bn1, net.act1, net.maxpool)
    return PictureNet(
        stages=nn.Sequential(nn.Sequential(*stem, net.layer1), net.layer2, net.layer3, net.layer4),
        neck=nn.Identity(),
        head=nn.Linear(net.num_features, num_classes),
        dropout=dropout,
    )


def _vgg(
    name: str, depths: Sequence[int], num_classes: int, width: float, dropout: float, pretrained: bool
) -> PictureNet:
    """VGG (Simonyan & Zisserman 2015, Table 1, columns D and E), adapted to small pictures.

    Batch norm is added, because without it the network hardly learns from scratch. Linear layers have 512
    channels, because with 4096 they alone would have 120 M parameters. The mean over the last map (3×3 for a
    50×50 picture) replaces the fifth max-pool, which would use only four of its nine values.
    """
    _refuse_cut_pretrained(width, pretrained)
    layers, linear = _vgg_layers(depths, width), round(width * 512)
    if pretrained:
        layers.load_state_dict(timm_net(name, pretrained, in_chans=1).features.state_dict())
    pools = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    # The first two sizes are one stage, so that there are as many maps as in a ResNet and in P3's student.
    stages = (layers[start:end] for start, end in pairwise((0, *pools[1:], len(layers))))
    return PictureNet(
        stages=nn.Sequential(*stages),
        neck=hidden_layers(linear, linear, dropout),
        head=nn.Linear(linear, num_classes),
        dropout=dropout,
    )


def _vgg_layers(depths: Sequence[int], factor: float) -> nn.Sequential:
    """The layers before VGG's fifth pool, with the usual numbers, so that pretrained weights fit."""
    layers, inputs = nn.Sequential(), 1
    for depth, full in zip(depths, (64, 128, 256, 512, 512), strict=True):
        width = round(factor * full)
        if inputs > 1:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            convolution = nn.Conv2d(inputs, width, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            layers.extend((convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)))
            inputs = width
    return layers


def _refuse_cut_pretrained(width: float, pretrained: bool) -> None:
    if pretrained and width != 1:
        raise UserError("model_args: pretrained weights are those of the whole network; set width: 1.")
