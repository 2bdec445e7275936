"""Base class of all networks: features of a clip and a linear head."""

import math

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """clip (B, T, C, H, W) ── `features` ── standardise ── dropout ── head ── logits (B, classes).

    A subclass defines `features` and sets `standardise`, `dropout`, `head` and `channels`: the possible
    numbers of channels C of its clips, 5 (r, g, b and flow x, y), 3 (r, g, b), 2 (flow x, y) or 1 (grey).
    """

    channels: frozenset[int]
    """Possible numbers of channels of a clip."""
    standardise: nn.Module
    dropout: nn.Module
    head: nn.Linear

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W), uint8 or float in 0..255, T ≥ 1, to logits (B, classes)."""
        return self.classify(self.features(clip))

    def classify(self, features: Tensor) -> Tensor:
        """Features (B, F), as `features` returns them, to logits (B, classes)."""
        logits: Tensor = self.head(self.dropout(self.standardise(features)))
        return logits

    @property
    def has_one_head(self) -> bool:
        """Whether the logits are those of `classify`: not where a subclass has a `forward` of its own."""
        return type(self).forward is Classifier.forward

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to the features for the head (B, F), float32, before standardisation."""
        raise NotImplementedError

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        """Set the head to a linear classifier: logits = weight · (features - mean) / std + bias.

        weight (classes, F), bias (classes,), mean and std (F,) with std > 0.
        """
        set_linear(self.head, self.standardise, weight, bias, mean, std)


class WithFeatures(nn.Module):
    """The network `model`, which returns its features as well: logits (B, classes) and features (B, F)."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.features(clip)
        return self.model.classify(features), features


class Standardise(nn.BatchNorm1d):
    """Standardise features (B, F) by *running* mean and variance, in training too.

    A step has few clips, so the statistics of one batch would be too noisy. Over the first hundred batches
    the running statistics are exact, afterwards they are exponential averages; with momentum None they are
    exact over all batches, as those of batch norm.
    """

    MEMORY = 100
    """Number of batches with exact statistics; then each new batch has weight 1 / MEMORY."""

    def __init__(self, features: int) -> None:
        super().__init__(features, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, var, count = self.running_mean, self.running_var, self.num_batches_tracked
        assert mean is not None and var is not None and count is not None
        if self.training:
            with torch.no_grad():
                count += 1
                step = 1 / count.float().clamp(max=math.inf if self.momentum is None else self.MEMORY)
                before = x - mean
                mean += step * before.mean(0)
                var += step * ((before * (x - mean)).mean(0) - var)
                if len(x) == 1:  # the first clip alone has no variance to divide by
                    var = torch.where(count > 1, var, torch.ones_like(var))
        return (x - mean) / (var + self.eps).sqrt()


@torch.no_grad()
def set_linear(
    head: nn.Linear, scaler: nn.Module, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor
) -> None:
    """Set `scaler` and `head` to weight · (features - mean) / std + bias; see `Classifier.set_head`."""
    if isinstance(scaler, Standardise):
        assert scaler.running_mean is not None and scaler.running_var is not None
        scaler.running_mean.copy_(mean)
        scaler.running_var.copy_(std.square())
        assert scaler.num_batches_tracked is not None
        scaler.num_batches_tracked.fill_(scaler.MEMORY)  # otherwise the first batch would replace them
        # Corrects for the epsilon of batch norm, so that the logits equal those of the fit.
        weight = weight * (std.square() + scaler.eps).sqrt() / std
    else:
        weight = weight / std
        bias = bias - weight @ mean
    head.weight.copy_(weight)
    head.bias.copy_(bias)
