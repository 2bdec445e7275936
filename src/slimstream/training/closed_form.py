"""A head fitted in closed form: the quickest way to a good start, and the whole of the baseline."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimstream.training.objectives import Batch

Array = npt.NDArray[Any]


@runtime_checkable
class HasHead(Protocol):
    """A network that shows what its linear head judges by, and takes another head."""

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, F)."""

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        """Judge by weight (n, F) · (features - mean (F,)) / std (F,) + bias (n,) from now on."""


@runtime_checkable
class HasMemory(Protocol):
    """A network that judges by the training clips that are nearest."""

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, F)."""

    def remember(self, features: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        """Judge by these from now on: (N, F), to be standardised by mean (F,) and std (F,), and (N,)."""


@torch.inference_mode()
def fit_head(model: HasHead | HasMemory, batches: Iterable[Batch], classes: int, strength: float) -> None:
    """Standardise the features of all `batches` and fit a class-balanced classifier to them, in place.

    `model` is a network in evaluation mode. Its attribute `classifier` says which: 'logistic' regression, as
    where there is no such attribute, or a linear 'svm'; a network with a memory remembers the features
    instead. Where it has `parts`, widths of its features that have a classifier each, each is fitted by
    itself. `strength` is the inverse of the L2 penalty (scikit-learn's C); a memory has none. A class of the
    `classes` without a clip is never the answer.
    """
    from sklearn.preprocessing import StandardScaler

    seen = [(model.features(batch.clip).numpy(), batch.labels.numpy()) for batch in batches]
    x, y = (np.concatenate(column) for column in zip(*seen, strict=True))
    scaler = StandardScaler().fit(x)
    # A feature that never changes tells nothing; a spread of almost 0 would make it shout at new clips.
    scale = np.where(scaler.scale_ > 1e-6, scaler.scale_, 1.0)
    mean, std = torch.from_numpy(scaler.mean_).float(), torch.from_numpy(scale).float()
    if isinstance(model, HasMemory):
        model.remember(torch.from_numpy(x), torch.from_numpy(y), mean, std)
        return
    x = (x - scaler.mean_) / scale
    kind, parts = getattr(model, "classifier", "logistic"), getattr(model, "parts", (x.shape[1],))
    fits = [_linear(kind, part, y, classes, strength) for part in np.split(x, np.cumsum(parts)[:-1], axis=1)]
    weight = torch.from_numpy(np.concatenate([weight for weight, _ in fits], axis=1)).float()
    bias = torch.from_numpy(np.stack([bias for _, bias in fits])).float()
    model.set_head(weight, bias if len(parts) > 1 else bias[0], mean, std)


def _linear(kind: str, x: Array, y: Array, classes: int, strength: float) -> tuple[Array, Array]:
    """Weights (classes, F) and bias (classes,) of a classifier of x (N, F), y (N,)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    fitted = (
        LinearSVC(C=strength, class_weight="balanced", max_iter=5000, random_state=0)
        if kind == "svm"
        else LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    ).fit(x, y)
    rows, bias_of_rows = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn keeps one row for two classes
        rows, bias_of_rows = (np.concatenate([-v, v]) / 2 for v in (rows, bias_of_rows))
    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, -1e4)
    weight[fitted.classes_], bias[fitted.classes_] = rows, bias_of_rows
    return weight, bias
