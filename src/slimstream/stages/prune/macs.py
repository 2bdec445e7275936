"""Multiply-accumulates of one channel, and importance in proportion to them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from slimstream.models.surgery import is_attention

POWER = 0.5
"""Power of the multiply-accumulates by which importance is divided. With 1, layers at full resolution are
left with hardly any channels."""


@dataclass(frozen=True)
class Work:
    """The work of a network for one clip."""

    positions: dict[nn.Module, float]
    """Convolution or linear layer → multiply-accumulates for each of its weights."""
    tokens: dict[nn.Module, int]
    """The `qkv` of an attention → number of tokens that attend to each other."""


@torch.no_grad()
def measure_work(model: nn.Module, clip: Tensor) -> Work:
    """Run `model` on `clip` (B, T, C, H, W) in evaluation mode, in which it stays, and count."""
    work = Work({}, {})

    def count(layer: nn.Module, _: Any, out: Tensor) -> None:
        width = out.shape[1] if isinstance(layer, _ConvNd) else out.shape[-1]
        work.positions[layer] = work.positions.get(layer, 0) + out.numel() / width

    def count_tokens(attention: Any, args: tuple[Tensor, ...]) -> None:
        work.tokens[attention.qkv] = args[0].flatten(1, -2).shape[1]

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear))]
    hooks += [m.register_forward_pre_hook(count_tokens) for m in model.modules() if is_attention(m)]
    try:
        model.eval()(clip)
    finally:
        for hook in hooks:
            hook.remove()
    return work


def group_macs(graph: Any, group: Any, work: Work) -> float:
    """Multiply-accumulates of all channels in `group`, in the layers that make them and that take them.

    `graph` is Torch-Pruning's dependency graph, `group` one of its groups with all channels.
    """
    total, counted = 0.0, set()
    for dep, indices in group:
        layer = dep.target.module
        made = graph.is_out_channel_pruning_fn(dep.handler)
        if layer not in work.positions:
            continue
        inputs, outputs = layer.weight.shape[1] * getattr(layer, "groups", 1), layer.weight.shape[0]
        if 1 < getattr(layer, "groups", 1) == outputs:  # depthwise: the same channels go in and come out
            if layer in counted:
                continue
            counted.add(layer)
        per_channel = layer.weight.numel() / (outputs if made else inputs)
        if made and layer in work.tokens:
            per_channel += 2 * work.tokens[layer] / 3  # q·k and attention·v, spread over q, k and v
        total += len(indices) * per_channel * work.positions[layer]
    return total


def importance_per_macs(scores: Tensor, macs: float) -> Tensor:
    """Scores (channels,) of a group, weighed against the multiply-accumulates `macs` of one of its channels.

    A channel counts by its share of the importance that its group still has when all lesser ones are gone.
    So the last channels of a costly layer do not go before the first ones of a cheap layer. Importance by
    cost is the greedy solution of the knapsack problem that Shen et al. (NeurIPS 2022) prune by; the share
    and the power are our choice. The order within the group stays.
    """
    order = scores.argsort(stable=True)
    rising = scores[order]
    left = rising.flip(0).cumsum(0).flip(0).clamp(min=torch.finfo(scores.dtype).tiny)
    weighed = torch.empty_like(scores)
    weighed[order] = len(scores) * rising / left / max(macs, 1.0) ** POWER
    return weighed
