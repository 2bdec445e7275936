"""What every network here ends in: features of a clip, and a linear head that judges by them."""

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """clip (B, T, C, H, W) ── `features` ── standardise ── dropout ── head ── logits (B, classes).

    A network makes `features`, sets the three parts, and says how many `channels` (C) its clips may have:
    5 (r, g, b and flow x, y), 3 (r, g, b) or 1 (grey).
    """

    channels: frozenset[int]
    """Channels of a clip that the network takes."""
    standardise: nn.Module
    dropout: nn.Module
    head: nn.Linear

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W), uint8 or float in 0..255, T ≥ 1, to logits (B, classes)."""
        return self.head(self.dropout(self.standardise(self.features(clip))))

    def features(self, clip: Tensor) -> Tensor:
        """What the head judges by: clip (B, T, C, H, W) to (B, F), float32, not yet standardised."""
        raise NotImplementedError

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        """Take a linear classifier fitted elsewhere: logits = weight · (features - mean) / std + bias.

        weight (classes, F), bias (classes,), mean and std (F,) with std > 0.
        """
        take_linear(self.head, self.standardise, weight, bias, mean, std)


class Standardise(nn.BatchNorm1d):
    """Zero mean and unit variance by *running* statistics, in training too.

    A step holds few clips, so that a batch's own statistics would be mostly noise; one clip would have none.
    The statistics are the exact ones of all that was seen at first, and forget after a hundred batches.
    """

    MEMORY = 100
    """Batches after which a new one changes the statistics by its hundredth."""

    def __init__(self, features: int) -> None:
        super().__init__(features, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, var, count = self.running_mean, self.running_var, self.num_batches_tracked
        assert mean is not None and var is not None and count is not None
        if self.training:
            with torch.no_grad():
                count += 1
                step = 1 / count.float().clamp(max=self.MEMORY)
                before = x - mean
                mean += step * before.mean(0)
                var += step * ((before * (x - mean)).mean(0) - var)
        return (x - mean) / (var + self.eps).sqrt()


@torch.no_grad()
def take_linear(
    head: nn.Linear, scaler: nn.Module, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor
) -> None:
    """Let `head` after `scaler` make weight · (features - mean) / std + bias; see `Classifier.set_head`."""
    if isinstance(scaler, Standardise):
        assert scaler.running_mean is not None and scaler.running_var is not None
        scaler.running_mean.copy_(mean)
        scaler.running_var.copy_(std.square())
        assert scaler.num_batches_tracked is not None
        scaler.num_batches_tracked.fill_(scaler.MEMORY)  # or the first batch would take their place
        # Undoes the epsilon that batch norm adds, so that the logits are those of the fit.
        weight = weight * (std.square() + scaler.eps).sqrt() / std
    else:
        weight = weight / std
        bias = bias - weight @ mean
    head.weight.copy_(weight)
    head.bias.copy_(bias)
