"""Least squares instead of gradient steps: a pruned network makes the maps of its original again."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.errors import UserError

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
    model.eval(), original.eval()
    names = _candidates(model, original, next(iter(clips())))
    if not names:
        raise UserError(
            "prune.restore: no layer lost inputs only; name layers whose outputs stay in prune.leave, "
            "as '*.conv_pwl' for EfficientNet, or set restore to null."
        )
    wanted: dict[str, list[Tensor]] = {name: [] for name in names}
    with _listening(original, names, lambda name, _, y: wanted[name].append(y)):
        for clip in original_clips():
            original(_on(original, clip))
    errors = [_refit(model, wave, wanted, clips, ridge) for wave in _waves(names)]
    return Reconstruction(*errors[-1], layers=len(names))


def _refit(
    model: nn.Module, names: list[str], wanted: dict[str, list[Tensor]], clips: Clips, ridge: float
) -> tuple[float, float]:
    """Refit layers that do not depend on each other, in one pass; mean error before and after."""
    sums = {name: _Sums() for name in names}
    with _listening(model, names, lambda name, x, y: sums[name].add(model, name, x, wanted[name], y)):
        for clip in clips():
            model(_on(model, clip))
    errors = [sums[name].solve(_conv(model, name), ridge) for name in names]
    before, after = (sum(column) / len(names) for column in zip(*errors, strict=True))
    return before, after


class _Sums:
    """The normal equations of one layer, summed over batches, for the change of its weights."""

    def __init__(self) -> None:
        self.batches = 0
        self.gram: Tensor | float = 0.0
        self.cross: Tensor | float = 0.0
        self.residual = 0.0
        self.energy = 0.0

    def add(self, model: nn.Module, name: str, x: Tensor, wanted: list[Tensor], made: Tensor) -> None:
        conv = _conv(model, name)
        columns = F.unfold(x, conv.kernel_size, conv.dilation, conv.padding, conv.stride)  # type: ignore[arg-type]
        inputs = columns.transpose(0, 1).flatten(1).double()
        target = wanted[self.batches]
        missing = (target - made).transpose(0, 1).flatten(1).double()
        self.batches += 1
        self.gram = self.gram + inputs @ inputs.T
        self.cross = self.cross + inputs @ missing.T
        self.residual += float(missing.square().sum())
        self.energy += float(target.double().square().sum())

    def solve(self, conv: nn.Conv2d, ridge: float) -> tuple[float, float]:
        gram, cross = self.gram, self.cross
        assert isinstance(gram, Tensor) and isinstance(cross, Tensor)
        regularised = gram + ridge * gram.diagonal().mean() * torch.eye(len(gram), device=gram.device)
        change = torch.linalg.solve(regularised, cross)
        conv.weight += change.T.reshape(conv.weight.shape).to(conv.weight)
        left = self.residual - float((2 * cross * change).sum() - (change * (gram @ change)).sum())
        return self.residual / self.energy, left / self.energy


def _candidates(model: nn.Module, original: nn.Module, clip: Tensor) -> list[str]:
    """Names of the layers to refit, in the order in which a forward pass meets them."""
    before = dict(original.named_modules())
    cut = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and layer.in_channels < before[name].in_channels  # type: ignore[operator]
        and layer.out_channels == before[name].out_channels
    ]
    met: list[str] = []
    with _listening(model, cut, lambda name, _x, _y: met.append(name)):
        model(_on(model, clip[:1]))
    return met


def _waves(names: list[str]) -> list[list[str]]:
    """Layers of different streams do not depend on each other: the first of each, the second, and so on.

    Those of no stream come after the streams have met, one by one.
    """
    streams = [[name for name in names if name.startswith(stream)] for stream in ("rgb.", "flow.")]
    depth = max(len(stream) for stream in streams)
    waves = [[stream[i] for stream in streams if i < len(stream)] for i in range(depth)]
    return waves + [[name] for name in names if not name.startswith(("rgb.", "flow."))]


@contextmanager
def _listening(
    model: nn.Module, names: Iterable[str], hear: Callable[[str, Tensor, Tensor], object]
) -> Iterator[None]:
    """`hear(name, input, output)` whenever one of the layers is called."""

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _, inputs, output: _void(hear(name, inputs[0], output))

    handles = [model.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _void(_: object) -> None:
    """A hook that returned something would change the layer's output."""


def _conv(model: nn.Module, name: str) -> nn.Conv2d:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer


def _on(model: nn.Module, clip: Tensor) -> Tensor:
    return clip.to(next(model.parameters()).device)
