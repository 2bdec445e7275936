"""train: the network named in params.yaml learns from the training clips."""

import torch

from slimstream.models import create_model, with_pretrained
from slimstream.params import Params
from slimstream.paths import Paths
from slimstream.progress import Log
from slimstream.stages.training import Study


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.train
    study = Study.open(params.extract, paths)
    torch.manual_seed(p.fit.seed)
    model = create_model(p.model, len(study.classes), **p.model_args)
    scores = study.fit("original", model, study.cross_entropy(p.fit), p.fit, log, settings=[p])
    args = with_pretrained(p.model, p.model_args)
    size = study.save("original", model, base=p.model, args=args)
    return scores | size
