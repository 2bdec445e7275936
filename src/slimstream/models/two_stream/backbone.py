"""A picture network in stages."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from slimstream.core.errors import UserError

Freeze = Annotated[int, Field(ge=0)] | Literal["all"]
Numbers = tuple[float, float, float]
IMAGENET: tuple[Numbers, Numbers] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's r, g, b in 0..1, which most weights expect."""


class Backbone(nn.Module):
    """A picture network as a list of stages: (N, 3, H, W) to its last map (N, channels, h, w).

    Args:
        stages: in their order.
        names: of the stages, for the reader; neighbours may share one.
        mean, std: of r, g, b in 0..1, by which pictures are normalised.
    """

    def __init__(
        self,
        stages: nn.Sequential,
        names: Sequence[str],
        *,
        mean: Numbers = IMAGENET[0],
        std: Numbers = IMAGENET[1],
    ) -> None:
        super().__init__()
        assert len(stages) == len(names)
        self.stages = stages
        self.names = tuple(names)
        self.mean, self.std = mean, std
        self.frozen = 0
        self.halfway = 0  # a stage behind which the maps are kept, too, when more stages are frozen
        self.frozen_bn = False
        self.to(memory_format=torch.channels_last)  # what depthwise convolutions like best, on any device

    def forward(self, x: Tensor) -> Tensor:
        return self.from_frozen(self.frozen_features(x))

    def frozen_features(self, x: Tensor) -> Tensor:
        """The frozen stages alone."""
        return self.stages[: self.frozen](x)

    def from_frozen(self, x: Tensor) -> Tensor:
        """What follows them."""
        return self.stages[self.frozen :](x)

    def freeze(self, stages: int | Literal["all"], *, bn: bool) -> Self:
        """Keep the leading `stages` as they are; with `bn`, batch norm of all keeps its statistics.

        Frozen stages have no gradients and their batch norm stays in evaluation mode.
        """
        if stages != "all" and stages > len(self.stages):
            raise UserError(
                f"model_args.freeze: {stages} stages cannot be frozen, the backbone has {len(self.stages)}."
            )
        self.frozen = len(self.stages) if stages == "all" else stages
        self.frozen_bn = bn
        for stage in self.stages[: self.frozen]:
            stage.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for stage in self.stages[: self.frozen]:
            stage.eval()
        if self.frozen_bn:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    @property
    def channels(self) -> int:
        """Channels of the last map: what a small picture gives."""
        device = next(self.parameters()).device
        training = self.training
        with torch.no_grad():
            found: int = self.eval()(torch.zeros(1, 3, 96, 96, device=device)).shape[1]
        self.train(training)
        return found

    def split(self, position: str) -> tuple["Backbone", "Backbone"]:
        """The stages up to the last one named `position`, and the stages after it; modules are shared.

        Raises UserError, naming the positions there are, where there is no such stage.
        """
        there = list(dict.fromkeys(self.names[:-1]))
        if position not in there or position == self.names[-1]:
            known = ", ".join([*(name for name in there if name != self.names[-1]), "fc"])
            raise UserError(
                f"model_args.position: this backbone has no stage '{position}' after which streams can meet; "
                f"it has {known}."
            )
        after = len(self.names) - self.names[::-1].index(position)
        parts = []
        for cut in (slice(None, after), slice(after, None)):
            part = Backbone(self.stages[cut], self.names[cut], mean=self.mean, std=self.std)
            part.frozen_bn = self.frozen_bn
            parts.append(part)
        front, rest = parts
        front.frozen, rest.frozen = min(self.frozen, after), max(self.frozen - after, 0)
        return front.train(self.training), rest.train(self.training)


def use_two_channels(net: nn.Module) -> None:
    """Let the first layer see two channels only, in place, at the strength three have had."""
    conv = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    conv.weight = nn.Parameter(1.5 * conv.weight.detach()[:, :2], conv.weight.requires_grad)
    conv.in_channels = 2


Make = Callable[[], Backbone]
"""A backbone anew each time, from its own random draw or from the same weights."""
