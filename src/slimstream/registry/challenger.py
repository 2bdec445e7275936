"""The model of a pipeline that is to be published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.registry.lineage import build_lineage
from slimstream.tracking.run import read_json
from slimstream.training.metrics.classification import preferred_model


@dataclass(frozen=True)
class Challenger:
    """A model that `evaluate` has measured, and all that the gate and the registry want to know of it."""

    params: Params
    paths: Paths
    model: str
    """Its name in the pipeline, such as `distilled`."""
    scores: Mapping[str, float]
    """Measurements of all models, by "<model>.<metric>"."""
    lineage: Mapping[str, Any]


def find_challenger(params: Params, paths: Paths, flow_run_id: str | None) -> Challenger:
    """The one of publish.models with the best validation score. Raises UserError when none has a score."""
    file = paths.metrics("evaluate")
    scores = {key: float(value) for key, value in read_json(file).items()}
    model = preferred_model(scores, params.publish.models)
    if model is None:
        wanted = " or ".join(params.publish.models)
        raise UserError(f"{file} scores no model {wanted} (publish.models); run `dvc repro` first.")
    return Challenger(params, paths, model, scores, build_lineage(params, paths, model, flow_run_id))
