"""train: train the network of params.yaml on the training clips."""

import torch

from slimstream.clips.params import ExtractParams
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import build_on_meta, create_model
from slimstream.training.objectives import check_training
from slimstream.training.params import TrainParams
from slimstream.training.study import Study


def run(train: TrainParams, extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Train and save the model `original`; returns its validation scores and size."""
    study = Study.open(extract, paths)
    torch.manual_seed(train.fit.seed)
    model = create_model(train.model, len(study.classes), **train.model_args)
    study.check(model, train.fit)
    objective = study.build_objective(model, train.fit)
    scores = study.fit("original", model, objective, train.fit, log, stage="train", settings=[train])
    size = study.save("original", model, base=train.model, args=train.model_args)
    study.remove_finished()
    return scores | size


def preflight(train: TrainParams, extract: ExtractParams) -> None:
    """Raise UserError when the settings do not fit the network or the clips."""
    check_training(build_on_meta(train.model, train.model_args), train.fit, extract.channels)
