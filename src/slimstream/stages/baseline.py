"""baseline: frozen ImageNet features with logistic regression (P2's "CNN features" row), the bar to clear.

On a few hundred clips most of a two-stream model's strength is pretraining. This model costs a minute, learns
nothing but its last layer, and stands in every table, so that nobody pays for training that brings nothing.
"""

import time

import numpy as np
import torch

from slimstream.data.clips import evaluation_batches
from slimstream.models import create_model
from slimstream.models.two_stream import TwoStream
from slimstream.params import Params
from slimstream.paths import Paths
from slimstream.progress import Log, bar
from slimstream.stages.training import EVALUATION_BATCH, Study

MODEL = "frozen_efficientnet_lite0"


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.baseline
    start = time.perf_counter()
    study = Study.open(params.extract, paths)
    model = create_model(MODEL, len(study.classes), **p.model_args)
    assert isinstance(model, TwoStream)
    fit_head(model, study, p.strength)
    scores = study.validate(model) | {"seconds": time.perf_counter() - start}
    return scores | study.save("baseline", model, base=MODEL, args=p.model_args)


@torch.inference_mode()
def fit_head(model: TwoStream, study: Study, strength: float) -> None:
    """Fit standardisation and head of `model` to the training clips: balanced logistic regression.

    `strength` is the inverse of the L2 penalty (scikit-learn's C).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    model.eval()
    features, labels = [], []
    total = -(-len(study.train) // EVALUATION_BATCH)
    for batch in bar(evaluation_batches(study.train, batch_size=EVALUATION_BATCH), "features", total):
        features.append(model.features(batch.clip).numpy())
        labels.append(batch.labels.numpy())
    x, y = np.concatenate(features), np.concatenate(labels)

    scaler = StandardScaler().fit(x)
    regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    regression.fit(scaler.transform(x), y)
    weight = np.zeros((len(study.classes), x.shape[1]))
    bias = np.full(len(study.classes), -1e4)  # a class without a training clip is never the answer
    if len(regression.classes_) == 2:
        weight[regression.classes_] = np.concatenate([-regression.coef_, regression.coef_]) / 2
        bias[regression.classes_] = np.concatenate([-regression.intercept_, regression.intercept_]) / 2
    else:
        weight[regression.classes_], bias[regression.classes_] = regression.coef_, regression.intercept_
    model.set_head(*(torch.from_numpy(a) for a in (weight, bias, scaler.mean_, scaler.scale_)))
