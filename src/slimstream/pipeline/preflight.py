"""What a later stage would refuse, asked before the first one works."""

import torch

from slimstream.core.errors import UserError
from slimstream.models import blank, check_channels, sketch
from slimstream.pipeline.params import Params
from slimstream.stages.prune.pruning import check_pruning
from slimstream.training.build import check_objective, with_head


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
