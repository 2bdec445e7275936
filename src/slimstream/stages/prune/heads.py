"""Removal of whole attention heads."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.surgery import is_attention
from slimstream.stages.prune.channels import Channels, traceable, update_attentions


def separable_attentions(model: nn.Module, left: Sequence[nn.Module]) -> list[Any]:
    """The attentions of `model` that may lose heads: outside of `left`, and without a bias for each head."""
    return [
        module
        for module in model.modules()
        if is_attention(module)
        and module.qkv not in left
        and not hasattr(module, "relative_position_bias_table")
    ]


def check_heads(model: nn.Module, left: Sequence[nn.Module]) -> None:
    """Raise UserError when no attention of `model` may lose heads."""
    if not separable_attentions(model, left):
        raise UserError(
            "params.yaml: prune.heads: the network has no attention that can lose heads; set it to null."
        )


def keep_heads(model: nn.Module, clip: Tensor, heads: int, left: Sequence[nn.Module]) -> list[str]:
    """Remove all but the `heads` best heads of each attention of `model`, in place.

    Heads are ranked within their layer by the L1 norm of their weights (Michel et al., NeurIPS 2019, rank by
    the gradient of a mask). A head keeps its width. `clip` (1, T, C, H, W) traces the network; `left` are the
    modules that keep their channels. Returns the names of these attentions' `qkv` layers.
    """
    attentions = {attention.proj: attention for attention in separable_attentions(model, left)}
    layers = {attention.qkv for attention in attentions.values()}
    with traceable(model):
        channels = Channels.of(model, clip, left=left, importance="l1")
        for group in channels.groups:
            attention = attentions.get(group.layer)
            # What the projection makes is a group as well; what it takes are the channels of all heads.
            takes = channels.graph.is_in_channel_pruning_fn(group.handler)
            if attention is None or not takes or attention.num_heads <= heads:
                continue
            norms = _norms(attention)
            gone = norms.argsort(stable=True)[: len(norms) - heads].sort().values
            width = attention.qkv.out_features // 3 // len(norms)
            indices = (gone[:, None] * width + torch.arange(width)).flatten().tolist()
            channels.graph.get_pruning_group(group.layer, group.handler, indices).prune()
            attention.num_heads = heads
    update_attentions(model)
    return [name for name, module in model.named_modules() if module in layers]


def _norms(attention: Any) -> Tensor:
    """L1 norm of the weights of each head, (heads,)."""
    heads = attention.num_heads
    made = attention.qkv.weight.detach().abs().sum(1).view(3, heads, -1).sum((0, 2))
    taken = attention.proj.weight.detach().abs().sum(0).view(heads, -1).sum(1)
    return (made + taken).cpu()
