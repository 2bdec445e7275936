"""Learning to make another network's features: no labels, every frame a lesson."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from slimstream.learn.objectives import Batch


class ShowsFrames(Protocol):
    def frame_features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, T, F)."""


class FrameFeatures(nn.Module):
    """A network that answers with its features (B, T, F) instead of its logits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, clip: Tensor) -> Tensor:
        return cast(ShowsFrames, self.net).frame_features(clip)

    def trunk_layers(self) -> nn.Module | None:
        """The network's own frozen layers, if it has any."""
        layers: nn.Module | None = getattr(self.net, "trunk_layers", lambda: None)()
        return layers

    def trunk(self, clip: Tensor) -> Tensor:
        """What they make of a clip, which this takes in its place."""
        made: Tensor = cast(Any, self.net).trunk(clip)
        return made


@dataclass(frozen=True)
class FeatureMatch:
    """Mean squared difference from the teacher's features, each in units of its own spread (std, (F,)).

    1 is what a network earns that always answers with the mean.
    """

    teacher: nn.Module
    spread: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, teacher: nn.Module, clips: Iterable[Tensor]) -> "FeatureMatch":
        """Measure the spread of `teacher`'s features over `clips`, each (B, T, C, H, W)."""
        teacher.eval()
        frames = torch.cat([FrameFeatures(teacher)(clip).flatten(0, 1) for clip in clips])
        # A dead feature has no spread; its floor keeps it from drowning the others.
        return cls(teacher, (frames.std(0) + 0.01 * frames.std(0).mean()).clone())

    def __call__(self, features: Tensor, batch: Batch, epoch: int) -> dict[str, Tensor]:
        with torch.no_grad():
            wanted = FrameFeatures(self.teacher.to(features.device))(batch.clip.to(features.device))
        error = (features - wanted) / self.spread.to(features.device)
        return {"loss": error.square().mean()}
