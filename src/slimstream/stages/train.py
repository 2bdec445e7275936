"""train: train the network of params.yaml on the training clips, and the one that `search` chose."""

import shutil

import torch

from slimstream.clips.params import ExtractParams
from slimstream.core.paths import BEST, Paths
from slimstream.core.progress import Log
from slimstream.models import build_on_meta, create_model
from slimstream.training import distributed
from slimstream.training.choice import Choice, read_choices
from slimstream.training.objectives import check_training
from slimstream.training.params import TrainParams
from slimstream.training.study import Study, prefixed_log, with_prefix, write_curves


def run(train: TrainParams, extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Train and save the model `original` and, where `search` chose another network, the model `slim`.

    A best candidate that is neither of them is trained too, as a teacher for `distill`. Returns validation
    scores and sizes; those of the further networks as "slim.<metric>" and "best.<metric>".
    """
    study = Study.open(extract, paths)
    found = further(train, extract, paths)
    for name in ("slim", BEST) if distributed.rank() == 0 else ():
        shutil.rmtree(paths.model(name), ignore_errors=True)  # of an earlier search
        paths.model(name).mkdir(parents=True)
    if distributed.rank() == 0:
        write_curves(paths.curves("slim"), [])
    metrics = _train("original", train, study, log)
    for name, choice in found.items():
        seen = study.seen_with(choice.input(extract))
        settings = TrainParams(model=choice.model, model_args=choice.model_args, fit=train.fit)
        metrics |= with_prefix(name, _train(name, settings, seen, prefixed_log(log, name)))
    if BEST in found and distributed.rank() == 0:  # it is in no plot of dvc.yaml
        paths.curves(BEST).replace(paths.model(BEST) / "curves.csv")
    study.remove_finished()
    return metrics


def further(train: TrainParams, extract: ExtractParams, paths: Paths) -> dict[str, Choice]:
    """The networks of the search to be trained beside that of `train`: `slim`, and BEST where it is another.

    Raises UserError when data/search.json does not fit the packs.
    """
    choices = read_choices(paths)
    chosen, best = choices.get("chosen"), choices.get("best")
    named = {"slim": chosen, BEST: None if best == chosen else best}
    return {
        name: one for name, one in named.items() if one is not None and not one.is_that_of(train, extract)
    }


def _train(name: str, train: TrainParams, study: Study, log: Log) -> dict[str, float]:
    torch.manual_seed(train.fit.seed)
    model = create_model(train.model, len(study.classes), **train.model_args)
    study.check(model, train.fit)
    objective = study.build_objective(model, train.fit)
    scores = study.fit(name, model, objective, train.fit, log, stage="train", settings=[train])
    return scores | study.save(name, model, base=train.model, args=train.model_args)


def preflight(train: TrainParams, extract: ExtractParams) -> None:
    """Raise UserError when the settings do not fit the network or the clips."""
    check_training(build_on_meta(train.model, train.model_args), train.fit, extract.channels)
