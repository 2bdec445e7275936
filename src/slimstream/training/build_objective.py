"""Build the objective of a training from its settings."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from slimstream.core.errors import UserError
from slimstream.models import check_channels
from slimstream.models.layers.heads import CosineHead
from slimstream.models.surgery import batch_norm_scales
from slimstream.training.closed_form import HasHead, HasMemory
from slimstream.training.objectives import AMSoftmax, CenterLoss, CrossEntropy, Objective, class_weights
from slimstream.training.params import FitParams
from slimstream.training.slimming import Slimming


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


def require_head(model: nn.Module) -> HasHead | HasMemory:
    """Return `model`. Raises UserError when its head cannot be fitted in closed form."""
    cosine = isinstance(getattr(model, "head", None), CosineHead)
    if cosine or not isinstance(model, HasHead | HasMemory):
        raise UserError(
            f"params.yaml: {type(model).__name__} has no linear head to fit; "
            "leave out fit.head and refit.strength."
        )
    return model


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
    """UserError when `model`, which `section` of params.yaml names, cannot look at clips of so many
    `channels` or lacks what `p` asks for."""
    check_channels(model, channels, section)
    check_objective(model, p)
