"""ShuffleNet V2 for grey pictures (Ma et al., ECCV 2018)."""

from torch import nn

from slimstream.models.architectures.picture import PictureNet
from slimstream.models.hub import Weights
from slimstream.models.settings import Classes, Dropout
from slimstream.models.two_stream.backbone import use_grey
from slimstream.models.two_stream.shufflenet import Size, shufflenet


def shufflenet_v2(
    num_classes: Classes,
    *,
    size: Size = "x0_5",
    dropout: Dropout = 0.0,
    pretrained: Weights = False,
) -> PictureNet:
    """ShuffleNet V2 for grey pictures, used elsewhere for codes printed on containers (P3, introduction).

    Args:
        num_classes: classes to tell apart.
        size: the width; 0.34, 1.3, 2.5 and 5.3 M parameters with two classes.
        dropout: on the features before the classifier.
        pretrained: ImageNet weights, see `models.hub.Weights`; those of the first layer are summed over the
            colours.
    """
    backbone = shufflenet(size, pretrained)
    channels = backbone.channels
    stem, stage2, stage3, stage4, last = backbone.stages
    use_grey(stem)
    return PictureNet(
        stages=nn.Sequential(stem, stage2, stage3, nn.Sequential(stage4, last)),
        neck=nn.Identity(),
        head=nn.Linear(channels, num_classes),
        dropout=dropout,
    )
