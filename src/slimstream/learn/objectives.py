"""What a training minimises. An objective is called with logits and their batch and returns its terms.

The frozen teachers live inside the objective (as cached logits), so one loop serves plain training and
distillation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Batch(Protocol):
    """What training needs of a batch of B clips."""

    @property
    def indices(self) -> Tensor:
        """(B,) int64: which clips of the set."""

    @property
    def clip(self) -> Tensor:
        """(B, T, C, H, W) uint8 or float, 0..255."""

    @property
    def labels(self) -> Tensor:
        """(B,) int64: which class."""


Objective = Callable[[Tensor, Batch, int], Mapping[str, Tensor]]
"""`objective(logits (B, n), batch, epoch)` → terms, each a scalar; `loss` is the one to minimise."""


def class_weights(labels: Sequence[int], classes: int, balance: float) -> Tensor:
    """(classes,) float32 weights proportional to n_class^-balance, averaging 1 over the clips.

    `balance` 0 weighs every clip alike, 1 every class; a class without a clip gets 0.
    """
    counts = np.bincount(np.asarray(labels), minlength=classes).astype(float)
    weights = np.where(counts > 0, np.maximum(counts, 1) ** -balance, 0)
    return torch.tensor(weights * counts.sum() / (weights * counts).sum(), dtype=torch.float32)


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy; a batch's mean is over clips, so that weights mean the same in every batch."""

    weights: Tensor
    label_smoothing: float = 0.0

    def __call__(self, logits: Tensor, batch: Batch, epoch: int) -> dict[str, Tensor]:
        labels = batch.labels.to(logits.device)
        weights = self.weights.to(logits.device)[labels]
        each = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.label_smoothing)
        return {"loss": (weights * each).mean()}


@dataclass(frozen=True)
class Distillation:
    """P3, section 2: λ·KL(n, m) + (1 - λ)·CE, with n the mean over the teachers of their softened outputs.

    `teachers` is (views, teachers, clips, n) float32 logits, cached for every augmented view; epoch e shows
    view e mod views. The KL term is multiplied by T² (Hinton et al. 2015, section 2.1), which P3 leaves out:
    without it a higher temperature would silently be a smaller λ. λ = 0 is exactly `plain`.
    """

    plain: CrossEntropy
    teachers: Tensor
    temperature: float
    weight: float

    def __call__(self, logits: Tensor, batch: Batch, epoch: int) -> dict[str, Tensor]:
        hard = self.plain(logits, batch, epoch)["loss"]
        view = self.teachers[epoch % len(self.teachers)][:, batch.indices].to(logits.device)
        target = (view / self.temperature).softmax(dim=-1).mean(dim=0)
        student = (logits / self.temperature).log_softmax(dim=-1)
        soft = F.kl_div(student, target, reduction="batchmean") * self.temperature**2
        return {"loss": self.weight * soft + (1 - self.weight) * hard, "hard": hard, "soft": soft}
