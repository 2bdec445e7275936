"""Heads: features (B, F) to logits (B, classes)."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Head = Literal["linear", "cosine"]


class CosineHead(nn.Linear):
    """scale · cos θ, θ between the features and a direction for each class; no bias (P2; Wang et al. 2018).

    Trained with AM-softmax. `scale` is a buffer, so it is saved with the weights.
    """

    scale: Tensor

    def __init__(self, features: int, classes: int, scale: float = 30.0) -> None:
        super().__init__(features, classes, bias=False)
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, x: Tensor) -> Tensor:
        cosines = functional.linear(functional.normalize(x), functional.normalize(self.weight))
        return self.scale * cosines


def make_head(kind: Head, classes: int) -> Callable[[int], nn.Linear]:
    """Return a callable that builds the head for a number of features."""
    layer = {"linear": nn.Linear, "cosine": CosineHead}[kind]
    return lambda features: layer(features, classes)
