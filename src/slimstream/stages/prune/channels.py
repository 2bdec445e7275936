"""The prunable channels of a network: groups that can only be removed together, ranked over all layers."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slimstream.models.surgery import is_attention, is_frozen

Importance = Literal["l1", "bn_scale"]
HEAD = "head"
"""Name of the classifier in every network."""


@dataclass(frozen=True)
class Group:
    """Channels of several layers that depend on each other, as by a residual sum or a depthwise layer."""

    layer: nn.Module
    handler: Any
    """Torch-Pruning's function that removes channels of `layer` and all channels that depend on them."""
    scores: Tensor
    """Importance of each channel, (channels,)."""
    heads: int
    """Number of attention heads or of convolution groups: each loses the same channels of `scores`."""
    multiple: int
    """Channels are kept in multiples of this, in every layer of the group."""

    @property
    def min_channels(self) -> int:
        """Number of channels that are always kept: a layer without channels would break the network."""
        return min(self.multiple, len(self.scores))


@dataclass(frozen=True)
class Channels:
    """All prunable groups of a network."""

    graph: Any
    """Torch-Pruning's dependency graph."""
    groups: tuple[Group, ...]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        clip: Tensor,
        *,
        left: Sequence[nn.Module],
        importance: Importance,
        round_to: int | None = None,
    ) -> "Channels":
        """Trace `model` with `clip` (1, T, C, H, W). All its layers must require gradients (see `traceable`).

        Modules in `left` keep all their channels; the others keep multiples of `round_to`.
        """
        import torch_pruning as tp

        attentions: list[Any] = [m for m in model.modules() if is_attention(m)]
        ignored: list[Any] = list(left)
        # One column per head, and heads are kept: without this Swin's attention would not be pruned at all.
        ignored += [p for n, p in model.named_parameters() if n.endswith("relative_position_bias_table")]
        score = {
            "l1": tp.importance.GroupMagnitudeImportance(p=1),
            "bn_scale": tp.importance.BNScaleImportance(normalizer=None),
        }[importance]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unwrapped parameters")  # also names kept parameters
            # Only its groups are used, not its ranking: if all channels of a layer were to be removed, it
            # keeps the whole layer, so that at a higher rate a network can become larger.
            pruner = tp.pruner.BasePruner(
                model,
                clip,
                importance=score,
                ignored_layers=ignored,
                num_heads={a.qkv: a.num_heads for a in attentions},
                # Its defaults are dictionaries shared by all pruners of a process.
                in_channel_groups={},
                out_channel_groups={},
                root_module_types=[],  # or it would make all groups once more, to count channels
            )
        pruner.root_module_types = [tp.ops.TORCH_CONV, tp.ops.TORCH_LINEAR, tp.ops.TORCH_LSTM]
        groups = []
        for group in pruner.DG.get_all_groups(pruner.ignored_layers, pruner.root_module_types):
            if pruner._is_atten_group(group)[
                0
            ]:  # described by the layer after it, which has one index per channel
                group = pruner._downstream_node_as_root_if_attention(group)
            with torch.no_grad():
                scores = None if group is None else score(group)
            if scores is not None:
                parts = pruner._get_channel_groups(group)
                first = group[0].dep
                groups.append(
                    Group(
                        first.target.module,
                        first.handler,
                        scores.view(parts, -1).mean(0).cpu(),
                        parts,
                        round_to or 1,
                    )
                )
        return cls(pruner.DG, tuple(groups))

    @property
    def count(self) -> int:
        return sum(len(group.scores) for group in self.groups)

    @property
    def highest_rate(self) -> float:
        """Largest removable share of channels; each group keeps `min_channels`. 0 without groups."""
        return 1 - sum(group.min_channels for group in self.groups) / self.count if self.count else 0.0

    def remove(self, rate: float) -> float:
        """Remove the least important share `rate` ≤ `highest_rate`; return the share that was removed.

        Rounding removes more than `rate`. Channels removed at a rate are also removed at every higher rate.
        May be called once only.
        """
        if not self.groups:
            return 0.0
        # The best channels of each group are kept; all others are ranked together.
        worst = [
            group.scores.argsort(stable=True)[: len(group.scores) - group.min_channels]
            for group in self.groups
        ]
        line = torch.cat([group.scores[w] for group, w in zip(self.groups, worst, strict=True)])
        owner = torch.cat([torch.full((len(w),), i) for i, w in enumerate(worst)])
        first = line.argsort(stable=True)[: self.count - int(self.count * (1 - rate))]
        shares = owner[first].bincount(minlength=len(self.groups)).tolist()
        gone = 0
        for group, n in zip(self.groups, shares, strict=True):
            size = len(group.scores)
            n += (size - n) % group.multiple if n else 0
            gone += n
            if n:
                self._remove(group, group.scores.argsort(stable=True)[:n])
        return gone / self.count

    def _remove(self, group: Group, indices: Tensor) -> None:
        each = torch.arange(group.heads)[:, None] * len(group.scores)
        every = (each + indices).flatten().sort().values.tolist()
        self.graph.get_pruning_group(group.layer, group.handler, every).prune()


def update_attentions(model: nn.Module) -> None:
    """Set the attributes of each attention to the sizes of its layers, after channels were removed."""
    attentions: list[Any] = [module for module in model.modules() if is_attention(module)]
    for a in attentions:
        a.attn_dim = a.qkv.out_features // 3
        a.head_dim = a.attn_dim // a.num_heads
        a.scale = a.head_dim**-0.5


def kept_modules(model: nn.Module, leave: Sequence[str]) -> list[nn.Module]:
    """The modules of `model` that keep their channels: frozen ones and those that match `leave`.

    They always include the `head`, whose channels are the classes, and modules with a true attribute
    `keep_channels`.
    """
    patterns = (HEAD, *leave)
    return [
        module
        for name, module in model.named_modules()
        if is_frozen(module)
        or getattr(module, "keep_channels", False)
        or any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


@contextmanager
def unfrozen(model: nn.Module) -> Iterator[None]:
    """Within the block no parameter is frozen; afterwards the same ones are frozen as before."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    model.requires_grad_(True)
    try:
        yield
    finally:
        for name, p in model.named_parameters():  # by name: pruning replaces parameters
            p.requires_grad_(name not in frozen)


@contextmanager
def traceable(model: nn.Module) -> Iterator[None]:
    """Within the block every parameter requires gradients, which tracing needs; then all is restored."""
    training = {name: module.training for name, module in model.named_modules()}
    try:
        with unfrozen(model):
            yield
    finally:
        for name, module in model.named_modules():
            module.training = training[name]
