"""refit: fit the heads of all networks again, to training and validation clips together.

With a handful of cameras, the validation clips are a large part of all labelled clips. Once everything is
chosen, the head of every network, original and compressed, is fitted to train and val clips together.
The card keeps the validation scores from before: afterwards they would be measured on training data.
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
    """Write all final models; returns their validation scores from before, by model."""
    study = Study.open(extract, paths)
    shutil.rmtree(paths.final, ignore_errors=True)  # removes models that the recipe no longer has
    metrics: dict[str, float] = {}
    for name in paths.trained_models():
        model, card = load_model(paths.model(name), create_model)
        seen = study.seen_with(card.network_input)
        judged = seen.validate(model)
        if refit.strength is not None:
            seen.fit_head(model, seen.both, refit.strength)
        save_model(paths.final_model(name), model, card.model_copy(update={"validation": judged}))
        metrics |= with_prefix(name, judged)
    return metrics


def preflight(refit: RefitParams, train: TrainParams, teachers: dict[str, TrainParams]) -> None:
    """Raise UserError when the head of the network of `train` or of a teacher cannot be fitted.

    The baseline's head always can; those of pruned and distilled networks are like the head of `train`.
    """
    for p in (train, *teachers.values()) if refit.strength is not None else ():
        require_head(build_on_meta(p.model, p.model_args))
