"""baseline: frozen ImageNet features (P2's "CNN features" row), the head fitted in closed form: the bar.

On a few hundred clips most of a two-stream model's strength is pretraining. This model costs a minute, learns
nothing but its last layer, and stands in every table, so that nobody pays for training that brings nothing.
"""

import time

from slimstream.models import create_model, with_pretrained
from slimstream.params import Params
from slimstream.paths import Paths
from slimstream.progress import Log
from slimstream.stages.training import Study


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.baseline
    start = time.perf_counter()
    study = Study.open(params.extract, paths)
    model = create_model(p.model, len(study.classes), **p.model_args).eval()
    study.fit_head(model, p.strength)
    scores = study.validate(model) | {"seconds": time.perf_counter() - start}
    args = with_pretrained(p.model, p.model_args)
    return scores | study.save("baseline", model, base=p.model, args=args)
