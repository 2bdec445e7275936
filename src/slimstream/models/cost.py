"""What a network costs: parameters and multiply-accumulates."""

import copy

import torch
from torch import Tensor, nn


def count_params(model: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def count_macs(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass over a uint8 clip of `shape` (B, T, C, H, W).

    Convolutions, linear layers and attention's products, as PyTorch's FlopCounterMode sees them (a MAC is two
    of its FLOPs); normalisations, activations and sums are not counted, as is usual. Runs on the meta device:
    nothing is computed.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    meta = copy.deepcopy(model).to("meta").eval()
    for norm in meta.modules():  # of which nothing is counted, and which would take most of the time
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.forward = _unchanged  # type: ignore[assignment,method-assign]
    clip = torch.empty(shape, dtype=torch.uint8, device="meta")
    # Written as two matrix products, attention is counted whichever fused kernel a device would take.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        meta(clip)
    return counter.get_total_flops() // 2


def _unchanged(x: Tensor) -> Tensor:
    return x


def measure(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for a clip of `shape`."""
    return count_params(model), count_macs(model, shape)
