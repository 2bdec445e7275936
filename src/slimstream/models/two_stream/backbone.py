"""A network for pictures as a list of stages."""

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
    """A network for pictures as a list of stages: (N, 3, H, W) to its last map (N, channels, h, w).

    Args:
        stages: the stages in their order.
        names: their names, for `split`; consecutive stages may have the same name.
        mean, std: mean and standard deviation of r, g, b in 0..1, by which pictures are normalised.
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
        self.halfway = 0  # with more frozen stages, the maps after this one are cached, too
        self.frozen_bn = False
        self.to(memory_format=torch.channels_last)  # fastest for depthwise convolutions

    def forward(self, x: Tensor) -> Tensor:
        return self.from_frozen(self.frozen_features(x))

    def frozen_features(self, x: Tensor) -> Tensor:
        """Output of the frozen stages: (N, 3, H, W) to (N, C', h', w')."""
        return self.stages[: self.frozen](x)

    def from_frozen(self, x: Tensor) -> Tensor:
        """Output of the stages after the frozen ones: (N, C', h', w') to (N, channels, h, w)."""
        return self.stages[self.frozen :](x)

    def freeze(self, stages: int | Literal["all"], *, bn: bool) -> Self:
        """Freeze the first `stages`; with `bn`, batch norm in all stages keeps its statistics.

        Frozen stages get no gradients and their batch norm stays in evaluation mode. Raises UserError when
        there are fewer stages.
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
        """Channels of the last map, found by computing a small picture."""
        device = next(self.parameters()).device
        training = self.training
        with torch.no_grad():
            found: int = self.eval()(torch.zeros(1, 3, 96, 96, device=device)).shape[1]
        self.train(training)
        return found

    def split(self, position: str) -> tuple["Backbone", "Backbone"]:
        """The stages up to the last one named `position`, and the stages after it; modules are shared.

        Raises UserError, which lists the possible positions, when there is no such stage.
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
    """Reduce the first layer's input to two channels, in place; weights are scaled by 3/2 to compensate."""
    conv = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    conv.weight = nn.Parameter(1.5 * conv.weight.detach()[:, :2], conv.weight.requires_grad)
    conv.in_channels = 2


def use_grey(net: nn.Module) -> None:
    """Reduce the first layer's input to one channel, in place: what it computes for r = g = b."""
    conv = next(module for module in net.modules() if isinstance(module, nn.Conv2d))
    conv.weight = nn.Parameter(conv.weight.detach().sum(1, keepdim=True), conv.weight.requires_grad)
    conv.in_channels = 1


Make = Callable[[], Backbone]
"""Makes a new backbone at each call, with new random weights or with the same pretrained weights."""
