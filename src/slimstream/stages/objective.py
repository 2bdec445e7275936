"""What a training minimises, as its settings say."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.core.params import Fit, Params
from slimstream.learn.heads import HasHead, HasMemory
from slimstream.learn.objectives import AMSoftmax, CenterLoss, CrossEntropy, Objective, class_weights
from slimstream.learn.pruning import check_pruning
from slimstream.learn.slimming import Slimming
from slimstream.models import blank, check_channels, sketch
from slimstream.models.layers.heads import CosineHead
from slimstream.models.surgery import batch_norm_scales


def objective_of(model: nn.Module, p: Fit, labels: Sequence[int], classes: int) -> Objective:
    """The objective for `model`, to learn from clips of `labels`; refuses what `check_objective` does."""
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


def check_trainings(params: Params) -> None:
    """UserError for a network or an objective that cannot be, before a clip is fetched."""
    student = sketch(params.train.model, params.train.model_args)
    check_channels(student, params.extract.channels)
    for p in (params.train, params.prune, params.distill):
        check_objective(student, p.fit)
    if params.refit.strength is not None:
        with_head(student)
    if params.distill.attention and not hasattr(student, "maps"):
        raise UserError(
            f"params.yaml: distill.attention compares maps, and {params.train.model} shows none; set it to 0."
        )
    sketch(params.baseline.model, params.baseline.model_args)
    for name, teacher in params.teachers.items():
        model = sketch(teacher.model, teacher.model_args)
        check_channels(model, params.extract.channels, f"teachers.{name}")
        check_objective(model, teacher.fit)


def check_compression(params: Params) -> None:
    """UserError for what `prune` or `sweep` would refuse after the training, before a clip is fetched."""
    p = params.prune
    model = blank(params.train.model, params.train.model_args)
    if p.frozen:
        model.requires_grad_(True)
    rates = {"prune.rate": p.rate, "sweep.rates": max(params.sweep.rates, default=None)}
    clip = torch.zeros(1, 2, params.extract.channels, *params.extract.size, dtype=torch.uint8)
    try:
        with torch.no_grad():
            model.eval()(clip)
    except RuntimeError as error:
        height, width = params.extract.size
        raise UserError(
            f"params.yaml: {params.train.model} cannot look at frames of {width} × {height} pixels "
            f"({error}); choose a larger extract.size."
        ) from error
    check_pruning(
        model,
        clip,
        {setting: rate for setting, rate in rates.items() if rate is not None},
        p.target_params,
        importance=p.importance,
        leave=p.leave,
        round_to=p.round_to,
    )


def with_head(model: nn.Module) -> HasHead | HasMemory:
    """`model`, whose head can be fitted in closed form; UserError when it cannot."""
    cosine = isinstance(getattr(model, "head", None), CosineHead)
    if cosine or not isinstance(model, HasHead | HasMemory):
        raise UserError(
            f"params.yaml: {type(model).__name__} has no linear head to fit; "
            "leave out fit.head and refit.strength."
        )
    return model


def check_objective(model: nn.Module, p: Fit) -> None:
    """UserError when `p` asks for what `model` does not have."""
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
