"""Structured channel pruning: the channels that matter least leave a network (P1, section 3.2, Fig. 7)."""

import copy
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slimstream.errors import UserError

# What a layer of each type remembers about its size.
_SIZES: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (nn.modules.conv._ConvNd, ("in_channels", "out_channels", "groups")),
    (nn.Linear, ("in_features", "out_features")),
    (nn.modules.batchnorm._BatchNorm, ("num_features",)),
    (nn.LayerNorm, ("normalized_shape",)),
    (nn.LSTM, ("input_size", "hidden_size")),
)
# Swin's window attention has the first and the last alone, and works the others out.
_ATTENTION = ("num_heads", "head_dim", "attn_dim", "scale")

Importance = Literal["l1", "bn_scale"]
Sizes = dict[str, dict[str, Any]]
"""Layer name → the sizes it has: JSON-able, and all that `rebuild` needs."""


@dataclass(frozen=True)
class PruneReport:
    history: Sizes
    """The new sizes of every layer that changed."""
    effective_rate: float
    """Share of the prunable channels that was removed."""
    params_before: int
    params_after: int


def prune_channels(
    model: nn.Module,
    example_clip: Tensor,
    *,
    rate: float | None = None,
    target_params: float | None = None,
    importance: Importance = "l1",
    leave: Sequence[str] = ("fusion", "head"),
    round_to: int | None = None,
) -> PruneReport:
    """Remove the channels of least importance, ranked over the whole model, for good and in place.

    P1 scores the channels of all convolution and fully connected layers by L1 norm, sorts them over the
    model and removes the share λ. Channels that must go together (residual sums, depthwise layers,
    attention's q, k and v) are scored as one by Torch-Pruning (Fang et al., CVPR 2023), relative to their
    group's mean. Network slimming (Liu et al., ICCV 2017, section 3) scores a channel by the absolute scale
    of the batch norm behind it, as it is; channels without one stay.

    Args:
        model: a network of `slimstream.models`; kept in its mode. Frozen layers keep their channels.
        example_clip: (B, T, C, H, W) to trace the network with; its first two frames are used.
        rate: λ, the share of channels removed, in (0, 1) (P1: 0.5). Either this or `target_params`.
        target_params: the share of parameters to keep, in (0, 1); λ is then searched, to within one per cent
            where the channels allow it.
        importance: 'l1' (P1) or 'bn_scale' (network slimming), which `learn.slimming.Slimming` prepares.
        leave: parts that keep their channels, as names or patterns of modules; by default the fusion, where
            the streams meet. "*.conv_pwl" leaves EfficientNet's residual sums and prunes inside its blocks.
            A module with a true attribute `keep_channels` is left in any case: a network knows its own.
        round_to: channels are kept in multiples of this, as some accelerators like; None for any number.

    Raises:
        UserError: the target is less than the network can be pruned to, or it has no batch norm to score by.
    """
    if (rate is None) == (target_params is None):
        raise ValueError("give either rate or target_params")
    check_importance(model, importance)
    before = _count(model)
    old = sizes(model)
    prune = partial(_prune, clip=example_clip, importance=importance, leave=leave, round_to=round_to)
    if rate is None:
        assert target_params is not None
        rate = _search(model, target_params, prune)
    prune(model, rate=rate)
    history = {name: size for name, size in sizes(model).items() if size != old[name]}
    return PruneReport(history, rate, before, _count(model))


def rebuild(model: nn.Module, history: Sizes) -> nn.Module:
    """Give an unpruned `model` the sizes of a pruned one, in place: then its state_dict fits.

    Weights are left unset. Raises KeyError or AttributeError when `history` is another network's.
    """
    for name, size in history.items():
        module = model.get_submodule(name)
        for attribute, value in size.items():
            setattr(module, attribute, tuple(value) if isinstance(value, list) else value)
        for key, shape in _tensor_shapes(module).items():
            tensor = getattr(module, key)
            if tensor is not None:
                empty = torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
                is_weight = isinstance(tensor, nn.Parameter)
                setattr(module, key, nn.Parameter(empty, tensor.requires_grad) if is_weight else empty)
    return model


@torch.no_grad()
def recalibrate(model: nn.Module, clips: Iterable[Tensor]) -> None:
    """Take batch norm's statistics anew, as the mean over `clips` (B, T, C, H, W) each, in place.

    The channels that are left see other inputs than those their statistics were taken from, and fine-tuning
    starts far better from right ones (Li et al., EagleEye, ECCV 2020). Frozen layers keep theirs.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    norms = [
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and not _is_frozen(m)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.training = True
    for clip in clips:
        model(clip)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes.items():
        module.training = mode


def check_importance(model: nn.Module, importance: Importance) -> None:
    """UserError when `model` has nothing that channels could be ranked by."""
    if importance == "bn_scale" and not batch_norm_scales(model):
        raise UserError(
            "prune.importance: bn_scale ranks channels by batch norms that learn, and this network has none; "
            "choose l1."
        )


def batch_norm_scales(model: nn.Module) -> list[Tensor]:
    """The scales γ (channels,) of all batch norms that learn them."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return [norm.weight for norm in norms if norm.weight is not None and norm.weight.requires_grad]


def sizes(model: nn.Module) -> Sizes:
    """The sizes of every layer that pruning can change."""
    found: Sizes = {}
    for name, module in model.named_modules():
        keys = (
            _ATTENTION if _is_attention(module) else next((k for t, k in _SIZES if isinstance(module, t)), ())
        )
        if keys:
            values = {key: getattr(module, key) for key in keys if hasattr(module, key)}
            found[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return found


def _prune(
    model: nn.Module,
    *,
    clip: Tensor,
    rate: float,
    importance: Importance,
    leave: Sequence[str],
    round_to: int | None,
) -> None:
    import torch_pruning as tp

    training = {name: module.training for name, module in model.named_modules()}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    attentions: list[Any] = [module for module in model.modules() if _is_attention(module)]
    left: list[Any] = [
        m
        for n, m in model.named_modules()
        if _is_frozen(m) or getattr(m, "keep_channels", False) or any(fnmatchcase(n, p) for p in leave)
    ]
    # One column a head, and heads stay: without this Torch-Pruning would spare Swin's attention altogether.
    left += [p for n, p in model.named_parameters() if n.endswith("relative_position_bias_table")]
    model.requires_grad_(True)  # the network is traced along its gradients
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unwrapped parameters")  # it names those that are left, too
        pruner = tp.pruner.BasePruner(
            model,
            clip[:1, :2],
            importance={
                "l1": tp.importance.GroupMagnitudeImportance(p=1),
                "bn_scale": tp.importance.BNScaleImportance(normalizer=None),
            }[importance],
            global_pruning=True,
            pruning_ratio=rate,
            ignored_layers=left,
            num_heads={a.qkv: a.num_heads for a in attentions},
            round_to=round_to,
            # Its defaults are dictionaries shared by all pruners of a process.
            in_channel_groups={},
            out_channel_groups={},
        )
    pruner.step()
    for a in attentions:
        a.attn_dim = a.qkv.out_features // 3
        a.head_dim = a.attn_dim // a.num_heads
        a.scale = a.head_dim**-0.5
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen)
    for name, module in model.named_modules():
        module.training = training[name]


def _search(model: nn.Module, target: float, prune: Callable[..., None]) -> float:
    """The rate that keeps the share `target` of the parameters, by bisection on copies."""

    def kept(rate: float) -> float:
        pruned = copy.deepcopy(model)
        prune(pruned, rate=rate)
        return _count(pruned) / _count(model)

    # Upward in steps: near 1 whole layers would vanish, are spared instead, and the share rises again.
    low = high = share = least = 0.0
    for high in (0.25, 0.5, 0.7, 0.8, 0.9):
        share = kept(high)
        least = min(least or share, share)
        if share <= 1.01 * target:
            break
        low = high
    else:
        raise UserError(
            f"prune.target_params: {target} of the parameters cannot be reached: what pruning leaves alone "
            f"makes at least {least:.2f}; choose a larger share."
        )
    rate = high
    for _ in range(10):
        if abs(share / target - 1) < 0.01:
            break
        rate = (low + high) / 2
        share = kept(rate)
        low, high = (rate, high) if share > target else (low, rate)
    return rate


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


def _is_attention(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("qkv", "num_heads", "scale"))


def _tensor_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    match module:
        case nn.modules.conv._ConvNd():
            weight = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
            return {"weight": weight, "bias": (module.out_channels,)}
        case nn.Linear():
            return {"weight": (module.out_features, module.in_features), "bias": (module.out_features,)}
        case nn.modules.batchnorm._BatchNorm():
            return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (module.num_features,))
        case nn.LayerNorm():
            return dict.fromkeys(("weight", "bias"), tuple(module.normalized_shape))
        case nn.LSTM():  # of one layer
            gates = 4 * module.hidden_size
            return {
                "weight_ih_l0": (gates, module.input_size),
                "weight_hh_l0": (gates, module.hidden_size),
                "bias_ih_l0": (gates,),
                "bias_hh_l0": (gates,),
            }
    return {}
