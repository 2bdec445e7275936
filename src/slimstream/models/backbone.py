"""A picture network in stages, and where its ImageNet weights come from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from slimstream.errors import UserError

Freeze = Annotated[int, Field(ge=0)] | Literal["all"]
Weights = bool | Path
"""False: from scratch. True: ImageNet weights, fetched once. A path: those in that safetensors file."""

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
        self.frozen_bn = False
        self.to(memory_format=torch.channels_last)  # what depthwise convolutions like best, on any device

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.trunk(x))

    def trunk(self, x: Tensor) -> Tensor:
        """The frozen stages alone."""
        return self.stages[: self.frozen](x)

    def tail(self, x: Tensor) -> Tensor:
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


def timm_net(name: str, pretrained: Weights, **kwargs: Any) -> Any:
    """timm's network `name`, without its classifier.

    Raises UserError where its weights cannot be fetched, or a file does not hold them.
    """
    import timm

    try:
        net = timm.create_model(name, pretrained=pretrained is True, num_classes=0, **kwargs)
    except OSError as error:  # the hub's errors are OSErrors; without weights nothing is read
        raise _offline(name) from error
    if isinstance(pretrained, Path):
        load_weights(net, pretrained, name)
    return net


def torchvision_net(name: str, pretrained: Weights, **kwargs: Any) -> Any:
    """torchvision's network `name`, with its classifier. Raises UserError as `timm_net` does."""
    import torchvision

    net = torchvision.models.get_model(name, weights=None, **kwargs)
    if pretrained is True:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        try:
            # weights_only reads tensors and nothing else: no code in the file can run.
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except OSError as error:
            raise _offline(name) from error
        net.load_state_dict({k: v for k, v in state.items() if k in net.state_dict()})
    elif isinstance(pretrained, Path):
        load_weights(net, pretrained, name)
    return net


def load_weights(net: nn.Module, path: Path, name: str) -> None:
    """Give `net` the weights in a safetensors file that has its tensors by name; others are left out.

    A classifier of `net` may be missing from the file, and one in the file is left out.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise UserError(f"model_args.pretrained: {path} is not a .safetensors file; no other kind is read.")
    try:
        state = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"model_args.pretrained: {path} does not exist.") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"model_args.pretrained: {path} is not a safetensors file.") from error
    wanted = {k: v for k, v in net.state_dict().items() if not k.startswith(_CLASSIFIERS)}
    unfit = [k for k, v in wanted.items() if k not in state or state[k].shape != v.shape]
    if unfit:
        raise UserError(
            f"model_args.pretrained: {path} does not hold the weights of {name}: of {len(wanted)} tensors "
            f"{len(unfit)} are missing or of another shape, such as '{unfit[0]}'."
        )
    net.load_state_dict({k: state[k] for k in wanted}, strict=False)


_CLASSIFIERS = ("classifier.", "fc.", "head.", "head_dist.", "last_linear.", "aux", "AuxLogits.")


def _offline(name: str) -> UserError:
    return UserError(
        f"The weights of {name} could not be fetched: go online once, name a .safetensors file of them as "
        f"pretrained, or set pretrained: false."
    )


def first_convolution(net: nn.Module) -> nn.Conv2d:
    """The layer that sees the picture."""
    return next(module for module in net.modules() if isinstance(module, nn.Conv2d))


def take_two_channels(net: nn.Module) -> None:
    """Let the first layer see two channels only, in place, at the strength three have had."""
    conv = first_convolution(net)
    conv.weight = nn.Parameter(1.5 * conv.weight.detach()[:, :2], conv.weight.requires_grad)
    conv.in_channels = 2


Make = Callable[[], Backbone]
"""A backbone anew each time, from its own random draw or from the same weights."""
