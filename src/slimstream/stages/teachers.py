"""teachers: train networks on the same clips that serve as teachers for `distill` only (P3, section 2)."""

import shutil

from slimstream.clips.params import ExtractParams
from slimstream.core.paths import TEACHERS, Paths
from slimstream.core.progress import Log
from slimstream.training.params import TrainParams


def run(teachers: dict[str, TrainParams], extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Train and save all teachers; returns their validation scores and sizes, by teacher.

    Raises UserError when a teacher does not fit the clips.
    """
    if not teachers:  # torch takes seconds to import
        for folder in (paths.teachers, paths.teacher_curves):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True, exist_ok=True)
        return {}

    import torch

    from slimstream.models import create_model
    from slimstream.training import distributed
    from slimstream.training.study import Study, prefixed_log, with_prefix

    for folder in (paths.teachers, paths.teacher_curves) if distributed.rank() == 0 else ():
        # Removes teachers that the recipe no longer has.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    study = Study.open(extract, paths)
    for name, p in teachers.items():  # all before any training: a mistake is found at once
        study.check(create_model(p.model, len(study.classes), **p.model_args), p.fit, f"teachers.{name}")
    metrics: dict[str, float] = {}
    for name, p in teachers.items():
        row = TEACHERS + name
        torch.manual_seed(p.fit.seed)
        model = create_model(p.model, len(study.classes), **p.model_args)
        objective = study.build_objective(model, p.fit)
        scores = study.fit(
            row, model, objective, p.fit, prefixed_log(log, name), stage="teachers", settings=[p]
        )
        metrics |= with_prefix(name, scores | study.save(row, model, base=p.model, args=p.model_args))
    study.remove_finished()
    return metrics


def preflight(teachers: dict[str, TrainParams], extract: ExtractParams) -> None:
    """Raise UserError when the settings of a teacher do not fit its network or the clips."""
    from slimstream.models import build_on_meta
    from slimstream.training.objectives import check_training

    for name, p in teachers.items():
        check_training(build_on_meta(p.model, p.model_args), p.fit, extract.channels, f"teachers.{name}")
