"""Training objectives. An objective runs the network on a batch and returns the terms of its loss.

An objective that adds a term wraps an `inner` objective, so all can be combined. An objective that is an
nn.Module may have parameters, which are trained with the network, and buffers; both are saved with the state
of the training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.core.errors import UserError
from slimstream.models import check_channels
from slimstream.models.layers.heads import CosineHead
from slimstream.models.surgery import batch_norm_scales
from slimstream.training.hooks import capture_features
from slimstream.training.params import FitParams


class Batch(Protocol):
    """A batch of B clips."""

    @property
    def indices(self) -> Tensor:
        """(B,) int64: indices of the clips in the data set."""

    @property
    def clip(self) -> Tensor:
        """(B, T, C, H, W) uint8 or float, 0..255."""

    @property
    def labels(self) -> Tensor:
        """(B,) int64: indices of the classes."""


Terms = dict[str, Tensor]
Objective = Callable[[nn.Module, Batch, int], Mapping[str, Tensor]]
"""`objective(model, batch, epoch)` → terms, each a scalar; `loss` is the one to minimise.

Clip and labels are on the model's device, indices on the CPU.
"""


def class_weights(labels: Sequence[int], classes: int, balance: float) -> Tensor:
    """Return (classes,) float32 weights proportional to n_class^-balance, with mean 1 over the clips.

    `balance` 0 weighs all clips equally, 1 all classes. A class without clips gets 0.
    """
    counts = np.bincount(np.asarray(labels), minlength=classes).astype(float)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -balance, 0)
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy with class weights, mean over the clips (not over the weights) of a batch."""

    weights: Tensor
    label_smoothing: float = 0.0

    def __call__(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        return {"loss": self.of(model(batch.clip).float(), batch.labels)}

    def of(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits (B, n) float32 and labels (B,)."""
        weights = self.weights.to(logits.device)[labels]
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.label_smoothing)
        return (weights * each).mean()


@dataclass(frozen=True)
class AMSoftmax:
    """P2's -log(e^{s(cos θ_y - m)} / (e^{s(cos θ_y - m)} + Σ_{j≠y} e^{s·cos θ_j})) (Wang et al. 2018).

    The logits of the network are s·cos θ_j (`models.layers.heads.CosineHead`). In training, s·m is subtracted
    from the logit of the true class; m is a margin of cosines.
    """

    plain: CrossEntropy
    margin: float
    scale: float

    def __call__(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        logits = model(batch.clip).float()
        handicap = self.scale * self.margin * F.one_hot(batch.labels, logits.shape[1])
        return {"loss": self.plain.of(logits - handicap, batch.labels)}


class CenterLoss(nn.Module):
    """`inner` + θ·½·‖x - c_y‖², mean over the batch: features x of a class draw near its centre c.

    Wen et al., "A discriminative feature learning approach for deep face recognition" (ECCV 2016), section
    3.2; P2 has θ = 0.1 beside AM-softmax. Centres do not follow the gradient but their own rule,
    c_j ← c_j - α·Σ_{y=j}(c_j - x) / (1 + n_j) with α = 0.5, once every forward pass.

    Args:
        inner: the objective it is added to.
        weight: θ.
        classes: classes to tell apart.
        features: F, the head's inputs.
        directions: compare x / ‖x‖. P2 does not say; where the head judges by directions alone, the loss
            could otherwise be escaped by ever smaller features.
    """

    centers: Tensor
    RATE = 0.5

    def __init__(
        self, inner: Objective, weight: float, *, classes: int, features: int, directions: bool
    ) -> None:
        super().__init__()
        self.inner, self.weight, self.directions = inner, weight, directions
        self.register_buffer("centers", torch.zeros(classes, features))

    def forward(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        with capture_features(model) as captured:
            terms = self.inner(model, batch, epoch)
        x = captured[-1].float()
        if self.directions:
            x = F.normalize(x)
        center = (x - self.centers[batch.labels]).square().sum(1).mean() / 2
        self._follow(x.detach(), batch.labels)
        return {**terms, "loss": terms["loss"] + self.weight * center, "center": center}

    @torch.no_grad()
    def _follow(self, x: Tensor, labels: Tensor) -> None:
        away = torch.zeros_like(self.centers).index_add_(0, labels, self.centers[labels] - x)
        count = labels.bincount(minlength=len(self.centers))
        self.centers -= self.RATE * away / (1 + count.unsqueeze(1))


class Slimming(nn.Module):
    """`inner` + strength·Σ|γ| over all batch norms, which drives unneeded scales to 0.

    Network slimming (Liu et al., ICCV 2017, section 3).

    `prune_channels(importance="bn_scale")` then removes the channels with small scales.
    """

    def __init__(self, inner: Objective, strength: float) -> None:
        super().__init__()
        self.inner, self.strength = inner, strength

    def forward(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        terms = self.inner(model, batch, epoch)
        scales = torch.cat(batch_norm_scales(model)).abs().sum()
        return {**terms, "loss": terms["loss"] + self.strength * scales, "scales": scales}


def build_objective(model: nn.Module, p: FitParams, labels: Sequence[int], classes: int) -> Objective:
    """Build the objective of settings `p` for `model`.

    `labels` of the training clips give the class weights. Raises UserError as `check_objective` does.
    """
    check_objective(model, p)
    plain = CrossEntropy(class_weights(labels, classes, p.class_balance), p.label_smoothing)
    objective: Objective = plain
    head: Any = getattr(model, "head", None)
    if p.loss == "am_softmax":
        head.scale.fill_(p.scale)
        objective = AMSoftmax(plain, p.margin, p.scale)
    if p.center:
        cosine = isinstance(head, CosineHead)
        width = head.in_features
        objective = CenterLoss(objective, p.center, classes=classes, features=width, directions=cosine)
    return Slimming(objective, p.slimming) if p.slimming else objective


def check_objective(model: nn.Module, p: FitParams) -> None:
    """Raise UserError when `p` needs a head or layers that `model` does not have."""
    head, name = getattr(model, "head", None), type(model).__name__
    if p.epochs and not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(
            f"params.yaml: nothing of {name} learns in {p.epochs} epochs; set epochs: 0, and head to fit it."
        )
    if p.loss == "am_softmax" and not isinstance(head, CosineHead):
        raise UserError(
            "params.yaml: the loss am_softmax compares angles, which this network's linear head does not; "
            "set `head: cosine` in its model_args."
        )
    if p.head is not None and isinstance(head, CosineHead):
        raise UserError(
            "params.yaml: fit.head fits a linear head, and this network has a cosine one; leave either out."
        )
    if p.center and not isinstance(head, nn.Linear):
        raise UserError(f"params.yaml: {name} has no head whose features have centres; set center: 0.")
    if p.slimming and not batch_norm_scales(model):
        raise UserError(f"params.yaml: {name} has no batch norm that learns its scale; set slimming: 0.")


def check_training(model: nn.Module, p: FitParams, channels: int, section: str = "train") -> None:
    """Raise UserError when `model` does not take clips of `channels` channels or `p` does not suit it.

    `section` of params.yaml names the model, for the message.
    """
    check_channels(model, channels, section)
    check_objective(model, p)
