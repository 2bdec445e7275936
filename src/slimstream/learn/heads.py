"""A linear head fitted in closed form: the quickest way to a good start, and the whole of the baseline."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from slimstream.learn.objectives import Batch


@runtime_checkable
class HasHead(Protocol):
    """A network that shows what its linear head judges by, and takes another head."""

    def features(self, clip: Tensor) -> Tensor:
        """Clip (B, T, C, H, W) to (B, F)."""

    def set_head(self, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> None:
        """Judge by weight (n, F) · (features - mean (F,)) / std (F,) + bias (n,) from now on."""


@torch.inference_mode()
def fit_head(model: HasHead, batches: Iterable[Batch], classes: int, strength: float) -> None:
    """Standardise the features of all `batches` and fit a class-balanced logistic regression to them.

    `model` is a network in evaluation mode; `strength` is the inverse of the L2 penalty (scikit-learn's C).
    A class of the `classes` without a clip is never the answer.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    seen = [(model.features(batch.clip).numpy(), batch.labels.numpy()) for batch in batches]
    x, y = (np.concatenate(column) for column in zip(*seen, strict=True))
    scaler = StandardScaler().fit(x)
    # A feature that never changes tells nothing; a spread of almost 0 would make it shout at new clips.
    scale = np.where(scaler.scale_ > 1e-6, scaler.scale_, 1.0)
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    regression.fit((x - scaler.mean_) / scale, y)
    rows, bias_of_rows = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps one row for two classes
        rows, bias_of_rows = (np.concatenate([-v, v]) / 2 for v in (rows, bias_of_rows))
    weight, bias = np.zeros((classes, x.shape[1])), np.full(classes, -1e4)
    weight[regression.classes_], bias[regression.classes_] = rows, bias_of_rows
    model.set_head(*(torch.from_numpy(array).float() for array in (weight, bias, scaler.mean_, scale)))
