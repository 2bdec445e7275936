"""refit: what validation has judged learns from the validation clips too.

With a handful of cameras, the one that chooses is a large part of all there is to learn from. Once everything
is chosen, the head of every network, original and compressed alike, is fitted to train and val clips at once.
What validation said before stays on the network's card: afterwards it would only praise its own pupil.
"""

import shutil

from slimstream.clips.params import ExtractParams
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import build_on_meta, create_model
from slimstream.models.checkpoint import load_model, save_model
from slimstream.stages.refit.params import RefitParams
from slimstream.training.closed_form import require_head
from slimstream.training.params import TrainParams
from slimstream.training.study import Study, with_prefix


def run(refit: RefitParams, extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    study = Study.open(extract, paths)
    shutil.rmtree(paths.final, ignore_errors=True)  # or a model that the recipe has dropped would stay
    metrics: dict[str, float] = {}
    for name in paths.trained_models():
        model, card = load_model(paths.model(name), create_model)
        judged = study.validate(model)
        if refit.strength is not None:
            study.fit_head(model, study.both, refit.strength)
        save_model(paths.final_model(name), model, card.model_copy(update={"validation": judged}))
        metrics |= with_prefix(name, judged)
    return metrics


def preflight(refit: RefitParams, train: TrainParams, teachers: dict[str, TrainParams]) -> None:
    """The baseline's head can always be fitted; those of pruned and distilled networks are like `train`'s."""
    for p in (train, *teachers.values()) if refit.strength is not None else ():
        require_head(build_on_meta(p.model, p.model_args))
