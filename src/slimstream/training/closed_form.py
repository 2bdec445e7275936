"""Fit the head of a network in closed form to the features of all clips. The baseline is trained only so."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models.layers.heads import CosineHead
from slimstream.training.objectives import Batch

Array = npt.NDArray[Any]


@runtime_checkable
class HasHead(Protocol):
    """A network with a linear head that can be replaced."""

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, F)."""

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        """Set the logits to weight (n, F) · (features - mean (F,)) / std (F,) + bias (n,)."""


@runtime_checkable
class HasMemory(Protocol):
    """A nearest-neighbour network, which stores the features of the training clips."""

    remembers_only: bool
    """Whether it has no linear classifier beside the stored features."""

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, F)."""

    def remember(self, features: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        """Store features (N, F), to be standardised by mean (F,) and std (F,), and labels (N,)."""


def require_head(model: nn.Module) -> HasHead | HasMemory:
    """Return `model`. Raises UserError when its head cannot be fitted in closed form."""
    cosine = isinstance(getattr(model, "head", None), CosineHead)
    if cosine or not isinstance(model, HasHead | HasMemory):
        raise UserError(
            f"params.yaml: {type(model).__name__} has no linear head to fit; "
            "leave out fit.head and refit.strength."
        )
    return model


@torch.inference_mode()
def fit_head(model: HasHead | HasMemory, batches: Iterable[Batch], classes: int, strength: float) -> None:
    """Standardise the features of all `batches` and fit a class-balanced classifier to them, in place.

    `model` must be in evaluation mode. Its attribute `classifier` selects 'logistic' regression (the default)
    or a linear 'svm'. A network with a memory stores the features, instead or too. With an attribute `parts`
    (widths of parts of the features), one classifier is fitted to each part. `strength` is the inverse of the
    L2 penalty (scikit-learn's C); a memory ignores it. A class without clips is never predicted.
    """
    seen = [(model.features(batch.clip).numpy(), batch.labels.numpy()) for batch in batches]
    x, y = (np.concatenate(column) for column in zip(*seen, strict=True))
    if isinstance(model, HasMemory):
        center, scale = standardisation(x)
        mean, std = torch.from_numpy(center).float(), torch.from_numpy(scale).float()
        model.remember(torch.from_numpy(x), torch.from_numpy(y), mean, std)
        if model.remembers_only:
            return
    assert isinstance(model, HasHead)
    fit_to_features(model, x, y, classes, strength)


def fit_to_features(model: HasHead, x: Array, y: Array, classes: int, strength: float) -> None:
    """As `fit_head`, to features x (N, F) and labels y (N,) that are known already."""
    center, scale = standardisation(x)
    mean, std = torch.from_numpy(center).float(), torch.from_numpy(scale).float()
    x = (x - center) / scale
    kind, parts = getattr(model, "classifier", "logistic"), getattr(model, "parts", (x.shape[1],))
    fits = [
        linear_classifier(part, y, classes, strength, kind)
        for part in np.split(x, np.cumsum(parts)[:-1], axis=1)
    ]
    weight = torch.from_numpy(np.concatenate([weight for weight, _ in fits], axis=1)).float()
    bias = torch.from_numpy(np.stack([bias for _, bias in fits])).float()
    model.set_head(weight, bias if len(parts) > 1 else bias[0], mean, std)


def standardisation(x: Array) -> tuple[Array, Array]:
    """Mean and scale (F,), float64, by which features x (N, F) are standardised: (x - mean) / scale."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    # A constant feature has no information; dividing by a spread near 0 would amplify noise in new clips.
    return scaler.mean_, np.where(scaler.scale_ > 1e-6, scaler.scale_, 1.0)


def linear_classifier(
    x: Array, y: Array, classes: int, strength: float, kind: str = "logistic"
) -> tuple[Array, Array]:
    """Weights (classes, F) and bias (classes,) of a class-balanced classifier of x (N, F) and y (N,).

    x is standardised. `kind` is 'logistic' or 'svm', `strength` the inverse of the L2 penalty. A class
    without clips is never predicted; one class alone is always predicted.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, -1e4)
    present = np.unique(y)
    if len(present) == 1:
        bias[present] = 0
        return weight, bias
    fitted = (
        LinearSVC(C=strength, class_weight="balanced", max_iter=5000, random_state=0)
        if kind == "svm"
        else LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    ).fit(x, y)
    rows, bias_of_rows = fitted.coef_, fitted.intercept_
    if len(present) == 2:  # scikit-learn returns one row for two classes
        rows, bias_of_rows = (np.concatenate([-v, v]) / 2 for v in (rows, bias_of_rows))
    weight[present], bias[present] = rows, bias_of_rows
    return weight, bias
