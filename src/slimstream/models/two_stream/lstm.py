"""Two streams with an LSTM over the frames (Hochreiter & Schmidhuber, 1997)."""

from collections.abc import Callable
from typing import Annotated, Literal, Unpack

from pydantic import Field
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.architectures.streams import StreamSettings, two_stream
from slimstream.models.architectures.two_stream import TwoStream
from slimstream.models.hub import Weights
from slimstream.models.settings import Classes
from slimstream.models.two_stream.backbone import Backbone
from slimstream.models.two_stream.cnn_m import cnn_m
from slimstream.models.two_stream.efficientnet import Lite
from slimstream.models.two_stream.efficientnetv2 import efficientnetv2
from slimstream.models.two_stream.mobilenet import mobilenet
from slimstream.models.two_stream.resnet import resnet

STREAMS: dict[str, Callable[[Weights], Backbone]] = {
    "cnn_m": lambda pretrained: cnn_m(),
    "efficientnet_lite0": lambda pretrained: Lite(pretrained=pretrained),
    "efficientnetv2": lambda pretrained: efficientnetv2("b0", pretrained),
    "mobilenet": lambda pretrained: mobilenet("v2", pretrained),
    "resnet": lambda pretrained: resnet("resnet18.a1_in1k", pretrained),
}


def two_stream_lstm(
    num_classes: Classes,
    *,
    backbone: Literal["cnn_m", "efficientnet_lite0", "efficientnetv2", "mobilenet", "resnet"] = "cnn_m",
    hidden: Annotated[int, Field(ge=1)] = 256,
    pretrained: Weights = False,
    **streams: Unpack[StreamSettings],
) -> TwoStream:
    """Two streams and an LSTM over their fused frames (P2, Table 7).

    P2 gives no details. Our choice: the streams are the plain two-stream CNN, the first row of that table.
    The LSTM has one layer, and the classifier gets its state after the last frame.

    Args:
        num_classes: classes to tell apart.
        backbone: the network of both streams, in its default size.
        hidden: width of the LSTM.
        pretrained: ImageNet weights, see `models.hub.Weights`; those of 'efficientnet_lite0' are in a
            package.
        streams: see `models.architectures.streams.two_stream`. The fusion 'average' is not possible, because
            it averages scores, and an LSTM needs features.

    Raises UserError for the fusion 'average', and for pretrained weights of 'cnn_m'.
    """
    if streams.get("fusion") == "average":
        raise UserError(
            "model_args.fusion: an LSTM reads fused features, and 'average' fuses scores; choose another."
        )
    if backbone == "cnn_m" and pretrained:
        raise UserError(
            "model_args.pretrained: cnn_m has no ImageNet weights; choose a backbone that has, or false."
        )
    return two_stream(
        lambda: STREAMS[backbone](pretrained),
        num_classes,
        pool=lambda width: LstmPool(width, hidden),
        **streams,
    )


class LstmPool(nn.Module):
    """(B, T, F) to (B, hidden): an LSTM's state after the last frame, for any T.

    Pruning removes channels of its input, but not of the state.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.lstm.keep_channels = True
        self.width = hidden

    def forward(self, frames: Tensor) -> Tensor:
        states: Tensor = self.lstm(frames)[0]
        return states[:, -1]
