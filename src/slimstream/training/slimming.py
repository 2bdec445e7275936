"""Network slimming: an L1 penalty on the scales of batch norm (Liu et al., ICCV 2017)."""

import torch
from torch import nn

from slimstream.models.surgery import batch_norm_scales
from slimstream.training.objectives import Batch, Objective, Terms


class Slimming(nn.Module):
    """`inner` + strength·Σ|γ| over all batch norms (section 3), which drives unneeded scales to 0.

    `prune_channels(importance="bn_scale")` then removes the channels with small scales.
    """

    def __init__(self, inner: Objective, strength: float) -> None:
        super().__init__()
        self.inner, self.strength = inner, strength

    def forward(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        terms = self.inner(model, batch, epoch)
        scales = torch.cat(batch_norm_scales(model)).abs().sum()
        return {**terms, "loss": terms["loss"] + self.strength * scales, "scales": scales}
