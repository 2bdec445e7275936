"""Structured channel pruning: removes the least important channels of a network (P1, section 3.2, Fig. 7)."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial
from math import floor

import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.surgery import Sizes, batch_norm_scales, is_frozen, layer_sizes
from slimstream.stages.prune.channels import (
    HEAD,
    Channels,
    Importance,
    kept_modules,
    traceable,
    update_attentions,
)
from slimstream.stages.prune.heads import check_heads, keep_heads


@dataclass(frozen=True)
class PruneReport:
    """The result of pruning a network."""

    history: Sizes
    """The new sizes of every layer that changed."""
    effective_rate: float
    """Share of the prunable channels that was removed; rounding makes it larger than the requested rate."""
    params_before: int
    params_after: int


def prune_channels(
    model: nn.Module,
    example_clip: Tensor,
    *,
    rate: float | None = None,
    target_params: float | None = None,
    importance: Importance = "l1",
    heads: int | None = None,
    leave: Sequence[str] = ("fusion", "head"),
    round_to: int | None = None,
    as_far_as_possible: bool = False,
) -> PruneReport:
    """Remove the least important channels, ranked over the whole model, in place.

    P1 scores the channels of all convolution and fully connected layers by L1 norm, sorts them over the
    model and removes the share λ. Channels that can only be removed together (residual sums, depthwise
    layers, attention's q, k and v) get one score by Torch-Pruning (Fang et al., CVPR 2023), relative to their
    group's mean. Network slimming (Liu et al., ICCV 2017, section 3) scores a channel by the absolute scale
    of the batch norm that follows, without normalising it; channels without such a batch norm are kept.

    Every layer keeps at least its best channel (or `round_to` channels), and channels that are removed at a
    rate are also removed at every higher rate. So a higher rate never gives a larger network.

    Args:
        model: a network of `slimstream.models`; its training mode is kept. Frozen layers and the classifier
            keep their channels.
        example_clip: (B, T, C, H, W) to trace the network with; the first two frames of the first are used.
        rate: λ, the share of channels to remove, in (0, 1) (P1: 0.5). Either this or `target_params`.
        target_params: the share of parameters to keep, in (0, 1); λ is then searched so that the share is
            met to one per cent, where the channels allow it.
        importance: 'l1' (P1) or 'bn_scale' (network slimming), which `training.objectives.Slimming` prepares.
        heads: attention heads that each layer keeps, whole; they are removed first and are no part of λ.
            None: all, and every head of a layer loses the same channels.
        leave: modules that keep their channels, as names or patterns; by default the fusion, where the
            streams are joined. "*.conv_pwl" keeps EfficientNet's residual sums and prunes inside its blocks.
            A module with a true attribute `keep_channels` always keeps them.
        round_to: channels are kept in multiples of this, which some accelerators need; None for any number.
        as_far_as_possible: of a `rate` or a target that is more than can be removed, remove as much as can
            be; and patterns of `leave` may match no layer.

    Raises:
        ValueError: both or neither of `rate` and `target_params` are given.
        UserError: `rate` or the target is more than can be removed, a pattern of `leave` matches no layer, or
            the network has no batch norm to score by.
    """
    if (rate is None) == (target_params is None):
        raise ValueError("give either rate or target_params")
    check_importance(model, importance)
    if not as_far_as_possible:
        check_leave(model, leave)
    before = _count(model)
    old = layer_sizes(model)
    leave = _with_whole_heads(model, example_clip, heads, leave, as_far_as_possible)
    channels = partial(
        _channels,
        clip=example_clip,
        importance=importance,
        leave=leave,
        round_to=round_to,
    )
    if rate is None:
        assert target_params is not None
        rate = _search(model, target_params, before, channels, as_far_as_possible)
    with channels(model) as found:
        if as_far_as_possible:
            rate = min(rate, found.highest_rate)
        _check_rate(rate, found, "prune.rate")
        removed = found.remove(rate)
    history = {name: size for name, size in layer_sizes(model).items() if size != old[name]}
    return PruneReport(history, removed, before, _count(model))


def check_pruning(
    model: nn.Module,
    example_clip: Tensor,
    rates: Mapping[str, float],
    target_params: float | None = None,
    *,
    importance: Importance = "l1",
    heads: int | None = None,
    leave: Sequence[str] = ("fusion", "head"),
    round_to: int | None = None,
) -> None:
    """Raise UserError where `prune_channels` would; the weights do not matter.

    `rates`: setting of params.yaml → rate, as {"prune.rate": 0.5}. The other arguments are those of
    `prune_channels`. With `heads`, `model` loses heads in place; with `target_params`, all that it can lose.
    """
    check_importance(model, importance)
    check_leave(model, leave)
    before = _count(model)
    leave = _with_whole_heads(model, example_clip, heads, leave)
    with _channels(model, example_clip, importance, leave, round_to) as channels:
        for setting, rate in rates.items():
            _check_rate(rate, channels, setting)
        if target_params is not None:
            channels.remove(channels.highest_rate)
            _check_target(target_params, _count(model) / before)


def check_leave(model: nn.Module, leave: Sequence[str]) -> None:
    """Raise UserError when a pattern of `leave` matches no layer of `model`.

    `fusion` and `head` are always accepted, so that a recipe may name them for a network without a fusion.
    """
    names = [name for name, m in model.named_modules() if name and any(True for _ in m.parameters())]
    for pattern in leave:
        if pattern in ("fusion", HEAD) or any(fnmatchcase(name, pattern) for name in names):
            continue
        known = dict.fromkeys([*names, *(f"*.{name.rpartition('.')[2]}" for name in names if "." in name)])
        near = get_close_matches(pattern, known, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {_some(names)}."
        raise UserError(f"params.yaml: prune.leave: {pattern!r} matches no layer of the network; {hint}")


def _some(names: Sequence[str]) -> str:
    """The top-level parts of a network: names without a dot."""
    return ", ".join(name for name in names if "." not in name)


@torch.no_grad()
def recalibrate_batch_norm(model: nn.Module, clips: Iterable[Tensor]) -> None:
    """Recompute the statistics of batch norm in place, as the mean over batches `clips` of (B, T, C, H, W).

    After pruning, the remaining channels have other inputs than before. Fine-tuning starts much better from
    recomputed statistics (Li et al., EagleEye, ECCV 2020). Frozen layers keep theirs.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and not is_frozen(m)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.training = True
    size = 0
    for clip in clips:
        size = size or len(clip)
        if size == 1 or len(clip) > 1:  # a leftover of one clip would weigh as much as a whole batch
            model(clip)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode


def check_importance(model: nn.Module, importance: Importance) -> None:
    """Raise UserError when `model` has no batch norm and `importance` needs one."""
    if importance == "bn_scale" and not batch_norm_scales(model):
        raise UserError(
            "prune.importance: bn_scale ranks channels by batch norms that learn, and this network has none; "
            "choose l1."
        )


def _with_whole_heads(
    model: nn.Module,
    clip: Tensor,
    heads: int | None,
    leave: Sequence[str],
    as_far_as_possible: bool = False,
) -> Sequence[str]:
    """Remove all but `heads` heads of each attention; return `leave` with these attentions added."""
    if heads is None:
        return leave
    left = kept_modules(model, leave)
    if not as_far_as_possible:
        check_heads(model, left)
    return [*leave, *keep_heads(model, clip[:1, :2], heads, left)]


@contextmanager
def _channels(
    model: nn.Module,
    clip: Tensor,
    importance: Importance,
    leave: Sequence[str],
    round_to: int | None,
) -> Iterator[Channels]:
    """The prunable channels of `model`; they may be removed within the block only."""
    left = kept_modules(model, leave)
    with traceable(model):
        yield Channels.of(
            model,
            clip[:1, :2],
            left=left,
            importance=importance,
            round_to=round_to,
        )
    update_attentions(model)


def _check_rate(rate: float, channels: Channels, setting: str) -> None:
    # A network whose layers are all frozen is not pruned, and the report shows a rate of 0.
    if channels.groups and rate > channels.highest_rate:
        highest = floor(1000 * channels.highest_rate) / 1000
        raise UserError(
            f"params.yaml: {setting} {rate:g} would leave layers without channels; the highest rate that "
            f"works with this network, prune.leave and prune.round_to is {highest:g}."
        )


def _check_target(target: float, least: float) -> None:
    if least > 1.01 * target:
        raise UserError(
            f"params.yaml: prune.target_params {target:g} cannot be reached: what pruning leaves alone makes "
            f"{least:.3f} of the parameters; choose a larger share."
        )


def _search(
    model: nn.Module,
    target: float,
    whole: int,
    channels: Callable[[nn.Module], AbstractContextManager[Channels]],
    as_far_as_possible: bool,
) -> float:
    """The rate that keeps the share `target` of `whole` parameters, by bisection on copies."""

    def kept(rate: float) -> tuple[float, float]:
        """The share that `rate` keeps, and `rate`, or the highest rate if that is lower."""
        pruned = copy.deepcopy(model)
        with channels(pruned) as found:
            rate = min(rate, found.highest_rate)
            found.remove(rate)
        return _count(pruned) / whole, rate

    low = high = share = 0.0
    for step in (0.25, 0.5, 0.7, 0.8, 0.9, 1.0):
        share, high = kept(step)
        if share <= 1.01 * target or high < step:
            break
        low = high
    if not as_far_as_possible:
        _check_target(target, share)
    rate = high
    for _ in range(10):
        if abs(share / target - 1) < 0.01:
            break
        share, rate = kept((low + high) / 2)
        low, high = (rate, high) if share > target else (low, rate)
    return rate


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
