"""Network slimming: batch norm's scales tell which channels are needed (Liu et al., ICCV 2017)."""

import torch
from torch import Tensor, nn

from slimstream.learn.objectives import Batch, Objective, Terms


def batch_norm_scales(model: nn.Module) -> list[Tensor]:
    """The scales γ (channels,) of all batch norms that learn them."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return [norm.weight for norm in norms if norm.weight is not None and norm.weight.requires_grad]


class Slimming(nn.Module):
    """`inner` + strength·Σ|γ| over all batch norms (section 3): channels compete for a scale that is not 0.

    Which are left with little is what `prune_channels(importance="bn_scale")` removes.
    """

    def __init__(self, inner: Objective, strength: float) -> None:
        super().__init__()
        self.inner, self.strength = inner, strength

    def forward(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        terms = self.inner(model, batch, epoch)
        scales = torch.cat(batch_norm_scales(model)).abs().sum()
        return {**terms, "loss": terms["loss"] + self.strength * scales, "scales": scales}
