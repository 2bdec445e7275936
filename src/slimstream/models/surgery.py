"""Rebuild a pruned network from the sizes of its layers, without Torch-Pruning."""

from typing import Any

import torch
from torch import Tensor, nn

# Attributes that hold the size of a layer, by type.
_SIZES: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (nn.modules.conv._ConvNd, ("in_channels", "out_channels", "groups")),
    (nn.Linear, ("in_features", "out_features")),
    (nn.modules.batchnorm._BatchNorm, ("num_features",)),
    (nn.LayerNorm, ("normalized_shape",)),
    (nn.LSTM, ("input_size", "hidden_size")),
)
# Swin's window attention has only the first and the last, and computes the others.
_ATTENTION = ("num_heads", "head_dim", "attn_dim", "scale")

Sizes = dict[str, dict[str, Any]]
"""Layer name → its sizes, as JSON values; the input of `rebuild`."""


def rebuild(model: nn.Module, history: Sizes) -> nn.Module:
    """Change the layers of an unpruned `model` to the sizes in `history`, in place.

    Then the state_dict of the pruned network fits. Weights are not initialised. Raises KeyError or
    AttributeError when `history` does not fit the network.
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


def layer_sizes(model: nn.Module) -> Sizes:
    """Return the sizes of all layers that pruning can change."""
    found: Sizes = {}
    for name, module in model.named_modules():
        keys = (
            _ATTENTION if is_attention(module) else next((k for t, k in _SIZES if isinstance(module, t)), ())
        )
        if keys:
            values = {key: getattr(module, key) for key in keys if hasattr(module, key)}
            found[name] = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return found


def batch_norm_scales(model: nn.Module) -> list[Tensor]:
    """Return the trainable scales γ (channels,) of all batch norms."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return [norm.weight for norm in norms if norm.weight is not None and norm.weight.requires_grad]


def is_frozen(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(p.requires_grad for p in own)


def is_attention(module: nn.Module) -> bool:
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
