"""Cost of a network: parameters and multiply-accumulates (MACs)."""

import copy

import torch
from torch import Tensor, nn


def count_params(model: nn.Module) -> int:
    """Number of parameters; shared ones count once."""
    return sum(p.numel() for p in model.parameters())


def count_macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the MACs of one forward pass of a uint8 clip of `shape` (B, T, C, H, W).

    Counts convolutions, linear layers and the products of attention with PyTorch's FlopCounterMode (a MAC is
    two FLOPs). Normalisations, activations and sums are not counted, as is usual. Runs on the meta device
    without computing anything.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    meta = copy.deepcopy(model).to("meta").eval()
    for norm in meta.modules():  # not counted, but would take most of the time
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.forward = _unchanged  # type: ignore[assignment,method-assign]
    clip = torch.empty(shape, dtype=torch.uint8, device="meta")
    # As two matrix products, attention is counted on any device; fused kernels differ.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        meta(clip)
    return counter.get_total_flops() // 2


def _unchanged(x: Tensor) -> Tensor:
    return x


def measure(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the parameters, and the MACs for a clip of `shape` (B, T, C, H, W)."""
    return count_params(model), count_macs(model, shape)
