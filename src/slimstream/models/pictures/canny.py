"""A part cut out by its edges, then a small CNN (Shang et al. 2018, named in P3's introduction)."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from slimstream.models.architectures.picture import PictureNet, StandardisePicture
from slimstream.models.layers.canny import CannyBox
from slimstream.models.pictures.light_residual import Convolution
from slimstream.models.settings import Classes, Dropout

WIDTHS = (1, 16, 32, 64)
"""Channels of the picture and after each convolution."""


def canny_cnn(
    num_classes: Classes,
    *,
    side: Annotated[int, Field(ge=16, le=224)] = 32,
    dropout: Dropout = 0.1,
    pretrained: Literal[False] = False,
) -> PictureNet:
    """Bounding box of the Canny edges of a grey picture, then a CNN of three convolutions (P3, introduction).

    P3 names Shang et al., "Detection of rail surface defects based on CNN image recognition and
    classification" (ICACT 2018), who cut out the rail and classify it with a large CNN. P3 gives no sizes;
    this one is small (0.02 M parameters), as its box is.

    Args:
        num_classes: classes to tell apart.
        side: pixels to which the box is scaled, both ways.
        dropout: on the features before the classifier.
        pretrained: there are no weights of it to be had.
    """
    stages = [
        nn.Sequential(Convolution(inputs, width), nn.MaxPool2d(2)) for inputs, width in pairwise(WIDTHS)
    ]
    return BoxNet(
        stages=nn.Sequential(*stages),
        neck=nn.Identity(),
        head=nn.Linear(WIDTHS[-1], num_classes),
        dropout=dropout,
        normalise=nn.Sequential(CannyBox(side=side), StandardisePicture()),
    )


class BoxNet(PictureNet):
    """A network whose maps show the box, so heat maps of them would not fit the picture."""

    differentiable = False
