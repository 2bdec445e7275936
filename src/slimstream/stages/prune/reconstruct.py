"""Reconstruction of the original's feature maps by a pruned network, by least squares."""

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
"""Returns the same batches of clips (B, T, ...) at every call."""


@dataclass(frozen=True)
class Reconstruction:
    """Mean error of the last refitted layers, as a share of their outputs' energy: 0 is perfect."""

    before: float
    after: float
    layers: int


@torch.no_grad()
def reconstruct(
    model: nn.Module, original: nn.Module, clips: Clips, original_clips: Clips, *, ridge: float
) -> Reconstruction:
    """Refit in place every convolution of the pruned `model` that lost inputs but no outputs.

    Layers are refitted in the order of the forward pass. For each the weights are found in closed form whose
    outputs are closest to those of the same layer of `original`, given the inputs from the pruned layers
    before it (He et al., "Channel pruning for accelerating very deep neural networks", ICCV 2017, section
    3.1, whole network). This needs no labels: every position in a clip's maps is a target.

    Args:
        model: the pruned network; set to evaluation mode.
        original: the network before pruning; set to evaluation mode.
        clips, original_clips: inputs for each of the two networks, the same clips in the same order.
        ridge: strength of the pull towards the present weights, relative to the mean energy of an input
            channel.

    Raises:
        UserError: no convolution lost inputs only.
    """
    model.eval()
    original.eval()
    names = refittable(model, original, next(iter(clips())))
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
    """Refit layers that do not depend on each other in one pass; return the mean error before and after."""
    sums = [_NormalEquations(_conv(model, name), outputs) for name, outputs in wanted.items()]
    left: set[nn.Module] = set()

    def listener(each: "_NormalEquations") -> Callable[[Tensor, Tensor], None]:
        def record(x: Tensor, made: Tensor) -> None:
            each.add(x, made)
            left.discard(each.conv)
            if not left:
                raise _AllRecorded  # the layers after these need not be computed

        return record

    with forward_hooks({each.conv: listener(each) for each in sums}):
        for clip in clips():
            left.update(each.conv for each in sums)
            with suppress(_AllRecorded):
                model(_to_device(model, clip))
    before, after = zip(*(each.solve(ridge) for each in sums), strict=True)
    return sum(before) / len(sums), sum(after) / len(sums)


class _AllRecorded(Exception):
    """All hooked layers have been called."""


class _NormalEquations:
    """The normal equations for the change of one layer's weights, summed over batches of `wanted` outputs."""

    def __init__(self, conv: nn.Conv2d, wanted: Iterable[Tensor]) -> None:
        weights = conv.weight.flatten(1).double()
        self.conv, self.wanted = conv, iter(wanted)
        self.gram = weights.new_zeros(weights.shape[1], weights.shape[1])
        self.cross = weights.new_zeros(weights.shape[1], weights.shape[0])
        self.residual = self.energy = 0.0

    def add(self, x: Tensor, made: Tensor) -> None:
        """Add a batch: the layer's inputs (B, C, h, w) and its present outputs (B, C', h', w')."""
        conv, target = self.conv, next(self.wanted)
        columns = F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)  # type: ignore[arg-type]
        inputs = columns.transpose(0, 1).flatten(1).double()
        missing = (target - made).transpose(0, 1).flatten(1).double()
        self.gram += inputs @ inputs.T
        self.cross += inputs @ missing.T
        self.residual += float(missing.square().sum())
        self.energy += float(target.double().square().sum())

    def solve(self, ridge: float) -> tuple[float, float]:
        """Change the weights; return the error before and after, as a share of the outputs' energy."""
        gram, cross, weight = self.gram, self.cross, self.conv.weight
        regularised = gram + ridge * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        change = torch.linalg.solve(regularised, cross)
        weight += change.T.reshape(weight.shape).to(weight)
        left = self.residual - float((2 * cross * change).sum() - (change * (gram @ change)).sum())
        return self.residual / self.energy, left / self.energy


@torch.no_grad()
def refittable(model: nn.Module, original: nn.Module, clip: Tensor) -> list[str]:
    """Names of the layers that lost inputs only, in the order of the forward pass. `clip` is (B, T, ...)."""
    before = dict(original.named_modules())
    cut = {
        layer: name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d)
        and type(layer).forward is nn.Conv2d.forward  # others pad by themselves, by the size of their input
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
    """Sets of layers that can be refitted in one pass: the first layer of each stream, the second, and so on.

    Layers outside the streams come after them and are refitted one by one.
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
