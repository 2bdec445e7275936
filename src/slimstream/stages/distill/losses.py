"""Losses for learning from other networks: from their outputs (P3) and their attention (attention transfer).

The teachers' outputs are computed before training, once for every augmented view that the student is trained
on. Computing them during training would cost several times the student's own step.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimstream.training.hooks import capture_logits, capture_maps
from slimstream.training.objectives import Batch, Objective, Terms


class Distillation(nn.Module):
    """P3, section 2: λ·KL(n, m) + (1 - λ)·`inner`, where n is the mean of the teachers' softened outputs.

    By default the KL term is multiplied by T² (Hinton et al. 2015, section 2.1), which P3 leaves out: without
    the factor a higher temperature has the effect of a smaller λ. λ = 0 is exactly `inner`.

    Args:
        inner: the objective for the labels.
        teachers: logits (views, teachers, clips, n) float32 for every augmented view; epoch e uses view
            e mod views.
        temperature: T > 0, which divides all logits.
        weight: λ, 0..1.
        squared: multiply by T²; False is P3's loss as printed.
    """

    def __init__(
        self, inner: Objective, teachers: Tensor, temperature: float, weight: float, *, squared: bool = True
    ) -> None:
        super().__init__()
        self.inner, self.teachers, self.temperature, self.weight = inner, teachers, temperature, weight
        self.factor = temperature**2 if squared else 1.0

    def forward(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        with capture_logits(model) as captured:
            terms = self.inner(model, batch, epoch)
        logits, hard = captured[-1].float(), terms["loss"]
        view = self.teachers[epoch % len(self.teachers)][:, batch.indices].to(logits.device)
        target = (view / self.temperature).softmax(dim=-1).mean(dim=0)
        student = (logits / self.temperature).log_softmax(dim=-1)
        soft = F.kl_div(student, target, reduction="batchmean") * self.factor
        loss = self.weight * soft + (1 - self.weight) * hard
        return {**terms, "loss": loss, "hard": hard, "soft": soft}


class AttentionTransfer(nn.Module):
    """`inner` + β·½·Σ‖q_s - q_t‖², summed over pairs of maps, averaged over clips, frames and teachers.

    Zagoruyko & Komodakis, "Paying more attention to attention" (ICLR 2017), eq. 2, activation-based. The
    difference is squared, as in the authors' own code, because the norm itself has no gradient where student
    and teacher are equal. Maps are paired from the last one backwards.

    Args:
        inner: the objective that the term is added to.
        teachers: for each teacher, for each of its maps, `attention` (views, clips, T, h, w); epoch e uses
            view e mod views.
        weight: β.
    """

    def __init__(self, inner: Objective, teachers: Sequence[Sequence[Tensor]], weight: float) -> None:
        super().__init__()
        self.inner, self.teachers, self.weight = inner, teachers, weight

    def forward(self, model: nn.Module, batch: Batch, epoch: int) -> Terms:
        with capture_maps(model) as captured:
            terms = self.inner(model, batch, epoch)
        own = [attention(map_, len(batch.labels)) for map_ in captured[-1]]
        differences = [
            attention_distance(mine, theirs[epoch % len(theirs)][batch.indices].to(mine.device))
            for maps in self.teachers
            for mine, theirs in zip(reversed(own), reversed(maps), strict=False)
        ]
        transfer = torch.stack(differences).sum() / (2 * len(self.teachers))
        return {**terms, "loss": terms["loss"] + self.weight * transfer, "attention": transfer}


def attention(map_: Tensor, clips: int) -> Tensor:
    """Attention Σ_c A_c² (B, T, h, w) of a map A (B·T, C, h, w) or (B, C, T, h, w) of B `clips`."""
    strength = map_.float().square().sum(1)
    return strength.reshape(clips, -1, *strength.shape[-2:])


def attention_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over (B, T) of ‖a/‖a‖ - b/‖b‖‖², 0..2, for the attention (B, T, h, w) of two networks.

    Where their sizes differ, the larger one is reduced to the smaller by average pooling.
    """
    frames, height, width = (min(pair) for pair in zip(a.shape[1:], b.shape[1:], strict=True))
    a, b = (F.adaptive_avg_pool3d(x, (frames, height, width)).flatten(2) for x in (a, b))
    a, b = F.normalize(a, dim=2), F.normalize(b, dim=2)
    return (a - b).square().sum(2).mean()
