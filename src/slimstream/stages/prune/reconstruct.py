"""Least squares instead of gradient steps: a pruned network makes the maps of its original again."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.core.errors import UserError
from slimstream.training.hooks import forward_hooks

Clips = Callable[[], Iterable[Tensor]]
"""Makes the same clips (B, T, ...) at every call."""


@dataclass(frozen=True)
class Reconstruction:
    """Error of the last refitted layer of each stream, as a share of its output's energy: 0 is perfect."""

    before: float
    after: float
    layers: int


@torch.no_grad()
def reconstruct(
    model: nn.Module, original: nn.Module, clips: Clips, original_clips: Clips, *, ridge: float
) -> Reconstruction:
    """Refit, in place, every convolution of pruned `model` that lost inputs, but none of its outputs.

    Layer by layer in the order of the forward pass, the weights that bring the layer closest to what the
    `original`'s makes of the same clip are found in closed form, given what the pruned layers before it now
    pass on (He et al., "Channel pruning for accelerating very deep neural networks", ICCV 2017, section 3.1,
    whole network). It uses no labels, and thousands of positions of every clip rather than one label.

    Args:
        model: the pruned network, in evaluation mode.
        original: what it was before.
        clips, original_clips: what either takes, the same clips in the same order.
        ridge: pull towards the weights as they are, relative to the mean energy of an input channel.

    Raises:
        UserError: pruning left no layer of the kind.
    """
    model.eval()
    original.eval()
    names = _candidates(model, original, next(iter(clips())))
    if not names:
        raise UserError(
            "prune.restore: no 2-D convolution lost inputs only; name layers whose outputs stay in "
            "prune.leave, as '*.conv_pwl' for EfficientNet, or set restore to null."
        )
    wanted: dict[str, list[Tensor]] = {name: [] for name in names}
    with forward_hooks({_conv(original, name): partial(_record, wanted[name]) for name in names}):
        for clip in original_clips():
            original(_to_device(original, clip))
    errors = [
        _refit(model, {name: wanted[name] for name in wave}, clips, ridge)
        for wave in _independent_layers(names)
    ]
    return Reconstruction(*errors[-1], layers=len(names))


def _record(kept: list[Tensor], x: Tensor, output: Tensor) -> None:
    kept.append(output)


def _refit(
    model: nn.Module, wanted: dict[str, list[Tensor]], clips: Clips, ridge: float
) -> tuple[float, float]:
    """Refit layers that do not depend on each other, in one pass; mean error before and after."""
    sums = [_NormalEquations(_conv(model, name), outputs) for name, outputs in wanted.items()]
    left: set[nn.Module] = set()

    def listener(each: "_NormalEquations") -> Callable[[Tensor, Tensor], None]:
        def record(x: Tensor, made: Tensor) -> None:
            each.add(x, made)
            left.discard(each.conv)
            if not left:
                raise _AllRecorded  # what follows these layers would be computed for nothing

        return record

    with forward_hooks({each.conv: listener(each) for each in sums}):
        for clip in clips():
            left.update(each.conv for each in sums)
            with suppress(_AllRecorded):
                model(_to_device(model, clip))
    before, after = zip(*(each.solve(ridge) for each in sums), strict=True)
    return sum(before) / len(sums), sum(after) / len(sums)


class _AllRecorded(Exception):
    """All layers that were listened to have been called."""


class _NormalEquations:
    """The normal equations for the change of one layer's weights, summed over batches of `wanted` outputs."""

    def __init__(self, conv: nn.Conv2d, wanted: Iterable[Tensor]) -> None:
        weights = conv.weight.flatten(1).double()
        self.conv, self.wanted = conv, iter(wanted)
        self.gram = weights.new_zeros(weights.shape[1], weights.shape[1])
        self.cross = weights.new_zeros(weights.shape[1], weights.shape[0])
        self.residual = self.energy = 0.0

    def add(self, x: Tensor, made: Tensor) -> None:
        """Of a batch: the layer's inputs (B, C, h, w), and its outputs (B, C', h', w') as they are."""
        conv, target = self.conv, next(self.wanted)
        columns = F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)  # type: ignore[arg-type]
        inputs = columns.transpose(0, 1).flatten(1).double()
        missing = (target - made).transpose(0, 1).flatten(1).double()
        self.gram += inputs @ inputs.T
        self.cross += inputs @ missing.T
        self.residual += float(missing.square().sum())
        self.energy += float(target.double().square().sum())

    def solve(self, ridge: float) -> tuple[float, float]:
        """Change the weights; the error before and after, as a share of the outputs' energy."""
        gram, cross, weight = self.gram, self.cross, self.conv.weight
        regularised = gram + ridge * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        change = torch.linalg.solve(regularised, cross)
        weight += change.T.reshape(weight.shape).to(weight)
        left = self.residual - float((2 * cross * change).sum() - (change * (gram @ change)).sum())
        return self.residual / self.energy, left / self.energy


def _candidates(model: nn.Module, original: nn.Module, clip: Tensor) -> list[str]:
    """Names of the layers to refit, in the order in which a forward pass meets them."""
    before = dict(original.named_modules())
    cut = {
        layer: name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and layer.in_channels < before[name].in_channels  # type: ignore[operator]
        and layer.out_channels == before[name].out_channels
    }
    met: list[str] = []

    def meet(name: str) -> Callable[[Tensor, Tensor], None]:
        return lambda x, output: met.append(name)

    with forward_hooks({layer: meet(name) for layer, name in cut.items()}):
        model(_to_device(model, clip[:1]))
    return met


def _independent_layers(names: list[str]) -> list[list[str]]:
    """Layers of different streams do not depend on each other: the first of each, the second, and so on.

    Those of no stream come after the streams have met, one by one.
    """
    streams = [[name for name in names if name.startswith(stream)] for stream in ("rgb.", "flow.")]
    depth = max(len(stream) for stream in streams)
    waves = [[stream[i] for stream in streams if i < len(stream)] for i in range(depth)]
    return waves + [[name] for name in names if not name.startswith(("rgb.", "flow."))]


def _conv(model: nn.Module, name: str) -> nn.Conv2d:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer


def _to_device(model: nn.Module, clip: Tensor) -> Tensor:
    return clip.to(next(model.parameters()).device)
