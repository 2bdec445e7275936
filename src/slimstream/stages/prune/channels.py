"""The channels of a network that may go: in groups that only go together, ranked over all layers."""

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
"""What every network calls its classifier."""


@dataclass(frozen=True)
class Group:
    """Channels of several layers that are tied to one another, as by a residual sum or a depthwise layer."""

    layer: nn.Module
    handler: Any
    """How Torch-Pruning takes channels of `layer`, and with them those that are tied to them."""
    scores: Tensor
    """How much each channel matters, (channels,)."""
    heads: int
    """An attention's heads or a convolution's groups: each loses the same ones of its `scores`."""
    multiple: int
    """`scores` are kept in multiples of this, and so are the channels of every layer that is tied."""

    @property
    def min_channels(self) -> int:
        """The channels that stay in any case: a layer without any would cut the network in two."""
        return min(self.multiple, len(self.scores))


@dataclass(frozen=True)
class Channels:
    """All groups of a network that may lose channels."""

    graph: Any
    """Torch-Pruning's graph of what is tied to what."""
    groups: tuple[Group, ...]

    @classmethod
    def of(
        cls,
        model: nn.Module,
        clip: Tensor,
        *,
        left: Sequence[nn.Module],
        importance: Importance,
        round_to: int | None,
    ) -> "Channels":
        """Trace `model` with `clip` (1, T, C, H, W); all its layers need gradients meanwhile (`traceable`).

        Modules in `left` keep their channels, and the others keep them in multiples of `round_to`.
        """
        import torch_pruning as tp

        attentions: list[Any] = [m for m in model.modules() if is_attention(m)]
        ignored: list[Any] = list(left)
        # One column a head, and heads stay: without this Swin's attention would be spared altogether.
        ignored += [p for n, p in model.named_parameters() if n.endswith("relative_position_bias_table")]
        score = {
            "l1": tp.importance.GroupMagnitudeImportance(p=1),
            "bn_scale": tp.importance.BNScaleImportance(normalizer=None),
        }[importance]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Unwrapped parameters")  # it names those that are left, too
            # Its groups are used and its ranking is not: that spares a layer whole whose channels would all
            # go, so that a network grew again with the rate.
            pruner = tp.pruner.BasePruner(
                model,
                clip,
                importance=score,
                ignored_layers=ignored,
                num_heads={a.qkv: a.num_heads for a in attentions},
                # Its defaults are dictionaries shared by all pruners of a process.
                in_channel_groups={},
                out_channel_groups={},
            )
        groups = []
        for group in pruner.DG.get_all_groups(pruner.ignored_layers, pruner.root_module_types):
            if pruner._is_atten_group(group)[
                0
            ]:  # seen from the layer behind it, which has one index a channel
                group = pruner._downstream_node_as_root_if_attention(group)
            with torch.no_grad():
                scores = None if group is None else score(group)
            if scores is not None:
                parts = pruner._get_channel_groups(group)
                first = group[0].dep
                scores = scores.view(parts, -1).mean(0).cpu()
                groups.append(Group(first.target.module, first.handler, scores, parts, round_to or 1))
        return cls(pruner.DG, tuple(groups))

    @property
    def count(self) -> int:
        return sum(len(group.scores) for group in self.groups)

    @property
    def highest_rate(self) -> float:
        """The largest share that can go, since each group keeps its `least`; 0 where there are none."""
        return 1 - sum(group.min_channels for group in self.groups) / self.count if self.count else 0.0

    def remove(self, rate: float) -> float:
        """Remove the share `rate` ≤ `highest_rate` of least importance; the share that really went.

        Rounding takes more. What goes at a rate also goes at every higher one. To be called once.
        """
        if not self.groups:
            return 0.0
        # The best of each group stay, and all others stand in one line.
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


def kept_modules(model: nn.Module, leave: Sequence[str]) -> list[nn.Module]:
    """The modules of `model` that keep their channels: frozen ones and those that `leave` names.

    The `head` is among them in any case, for its channels are the classes, and so is a module that says
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
    """Within the block every layer may change, afterwards those are frozen that were."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    model.requires_grad_(True)
    try:
        yield
    finally:
        for name, p in model.named_parameters():  # others than before: pruned ones are new
            p.requires_grad_(name not in frozen)


@contextmanager
def traceable(model: nn.Module) -> Iterator[None]:
    """Within the block every layer needs gradients, along which a network is traced; then it is as it was."""
    training = {name: module.training for name, module in model.named_modules()}
    try:
        with unfrozen(model):
            yield
    finally:
        for name, module in model.named_modules():
            module.training = training[name]
