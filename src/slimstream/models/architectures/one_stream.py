"""Networks that look at one of the two streams, RGB or flow, frame by frame."""

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn

from slimstream.models.architectures.two_stream import (
    HasFrozenStages,
    NormaliseFlow,
    NormaliseRgb,
    channels_last,
)
from slimstream.models.base import Classifier, Standardise
from slimstream.models.two_stream.backbone import Backbone

Stream = Literal["rgb", "flow"]


class FrameStream(Classifier):
    """One 2-D backbone on the pictures or on the flow of a clip, frame by frame.

    ::

        clip (B, T, C, H, W)
          r g b, or x y |v| ── backbone ── (B·T, F, h, w) ── cells ── pool over T
              logits (B, classes) ── head ── dropout ── standardise ── features (B, F')

    The backbone is the module `rgb` or `flow`, so its weights have the names that they have in a `TwoStream`.

    Args:
        stream: 'rgb' for clips of 3 or 5 channels, 'flow' for clips of 2 (flow x, y) or 5.
        backbone: (N, 3, H, W) to a map (N, F, h, w).
        cells: (N, F, h, w) to (N, F).
        pool: (B, T, F) to features (B, F').
        head: a callable from F' to the classifier, (B, F') to (B, classes).
        features: F'.
        dropout: probability that a feature is dropped in training.
    """

    def __init__(
        self,
        *,
        stream: Stream,
        backbone: Backbone,
        cells: nn.Module,
        pool: nn.Module,
        head: Callable[[int], nn.Linear],
        features: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stream = stream
        self.channels = frozenset({3, 5} if stream == "rgb" else {2, 5})
        self.normalise = (
            NormaliseRgb(mean=backbone.mean, std=backbone.std) if stream == "rgb" else NormaliseFlow()
        )
        self.add_module(stream, backbone)
        self.cells = cells
        self.pool = pool
        self.standardise = Standardise(features)
        self.dropout = nn.Dropout(dropout)
        self.head = head(features)

    @property
    def backbone(self) -> HasFrozenStages:
        """The module `rgb` or `flow`."""
        return cast(HasFrozenStages, self.get_submodule(self.stream))

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to the features for the head (B, F'), float32, before standardisation.

        Here and in the methods below, a clip may also be the output of `frozen_features`.
        """
        return self.pool(self.frame_features(clip))

    def frame_features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, T, F), float32: the last map, averaged over the cells."""
        (last,) = self.maps(clip)
        # `unflatten` would fix sizes in the export.
        return torch.reshape(self.cells(last), (clip.shape[0], clip.shape[1], -1))

    def maps(self, clip: Tensor) -> tuple[Tensor]:
        """Return the last map, (B·T, F, h, w), as the only one."""
        if clip.ndim == 6:
            return (self.backbone.from_frozen(_pictures(clip)),)
        net: nn.Module = self.get_submodule(self.stream)
        return (net(self.normalise(clip.flatten(0, 1))),)

    def frozen_features(self, clip: Tensor) -> Tensor:
        """Run the frozen stages: (B, T, C, H, W) to (B, T, 1, C', h', w').

        `clip` may also be the output of `shared_frozen_features`; then only the remaining frozen stages run.
        """
        net = self.backbone
        if clip.ndim == 6:
            return _clips(net.stages[net.halfway : net.frozen](_pictures(clip)), clip)
        return _clips(net.frozen_features(self.normalise(clip.flatten(0, 1))), clip)

    def frozen_layers(self) -> nn.Module | None:
        """Return the frozen stages under the name of the stream, or None when all are trained.

        Of pretrained networks both streams have the same weights. The name keeps their features apart.
        """
        return self._first(self.backbone.frozen)

    def shared_frozen_features(self, clip: Tensor) -> Tensor:
        """Run the stages of `shared_frozen_layers`: (B, T, C, H, W) to (B, T, 1, C', h', w')."""
        net = self.backbone
        return _clips(net.stages[: net.halfway](self.normalise(clip.flatten(0, 1))), clip)

    def shared_frozen_layers(self) -> nn.Module | None:
        """Return the first frozen stages, which networks with fewer frozen stages share, or None."""
        return self._first(self.backbone.halfway) if self.backbone.halfway < self.backbone.frozen else None

    def _first(self, stages: int) -> nn.Module | None:
        return nn.ModuleDict({self.stream: self.backbone.stages[:stages]}) if stages else None


def _pictures(maps: Tensor) -> Tensor:
    """(B, T, 1, C, h, w) to (B·T, C, h, w)."""
    return channels_last(maps.flatten(0, 2))


def _clips(maps: Tensor, clip: Tensor) -> Tensor:
    """(B·T, C, h, w) to (B, T, 1, C, h, w); B and T are those of `clip`."""
    return torch.unflatten(maps.unsqueeze(1), 0, (clip.shape[0], clip.shape[1]))
