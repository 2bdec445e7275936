"""train: the network named in params.yaml learns from the training clips."""

import torch

from slimstream.core.params import Params
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import create_model
from slimstream.training.study import Study


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.train
    study = Study.open(params.extract, paths)
    torch.manual_seed(p.fit.seed)
    model = create_model(p.model, len(study.classes), **p.model_args)
    study.check(model, p.fit)
    objective = study.objective(model, p.fit)
    scores = study.fit("original", model, objective, p.fit, log, stage="train", settings=[p])
    size = study.save("original", model, base=p.model, args=p.model_args)
    study.forget()
    return scores | size
