"""Networks and batches whose answers are known beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Batch:
    indices: Tensor
    clip: Tensor
    labels: Tensor

    @property
    def size(self) -> int:
        return len(self.labels)


def batch(labels: Sequence[int], indices: Sequence[int] | None = None, clip: Tensor | None = None) -> Batch:
    """A batch of `labels`; its clip is nothing unless given."""
    chosen = torch.tensor(range(len(labels)) if indices is None else indices)
    return Batch(chosen, torch.zeros(len(labels)) if clip is None else clip, torch.tensor(labels))


class FixedLogits(nn.Module):
    """A network that answers with these logits (B, n) whatever it sees."""

    def __init__(self, *logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits), requires_grad=False)

    def forward(self, clip: Tensor) -> Tensor:
        return self.logits


class Linear(nn.Module):
    """Features are the clip (B, F) times two; the head (n, F) takes them after dropout."""

    def __init__(self, features: int = 2, classes: int = 2, dropout: float = 0.9) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.dropout(2 * clip))
