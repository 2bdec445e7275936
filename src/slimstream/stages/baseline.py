"""baseline: frozen ImageNet features with logistic regression (P2's "CNN features" row), the bar to clear.

On a few hundred clips most of a two-stream model's strength is pretraining. This model costs a minute, learns
nothing but its last layer, and stands in every table, so that nobody pays for training that brings nothing.
"""

import time

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from slimstream.data.clips import ClipSet, evaluation_batches
from slimstream.models import create_model
from slimstream.params import Params
from slimstream.paths import Paths
from slimstream.progress import Log, bar
from slimstream.stages.training import EVALUATION_BATCH, Study

MODEL = "frozen_efficientnet_lite0"


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    start = time.perf_counter()
    study = Study.open(params.extract, paths)
    args = params.baseline.model_args
    model = create_model(MODEL, len(study.classes), **args).eval()
    fit_head(model, study.train, len(study.classes), params.baseline.strength)
    scores = study.validate(model) | {"seconds": time.perf_counter() - start}
    return scores | study.save("baseline", model, base=MODEL, args=args)
