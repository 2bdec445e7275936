"""The MLflow run of a pipeline: the runs of its stages are nested in it, and its version comes from it.

Stages are processes of their own, started by a flow or by `dvc repro`. One of them joins the pipeline that
runs/pipeline.json names, if that has the same settings and the stage has not finished in it; otherwise it
begins a new pipeline. So a failed or interrupted pipeline goes on as the same one, and what runs a second
time, because of other settings, clips or code, is another. A stage that DVC skips stays in the pipeline that
it ran in. `publish` belongs to the pipeline whose evaluation it publishes.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.recipes import AUTO, load_recipe
from slimstream.pipeline.stages import following
from slimstream.stages.evaluate.headline import headline
from slimstream.tracking.entities import dataset, dataset_name, flatten, log_settings, metric
from slimstream.tracking.repository import git
from slimstream.tracking.store import experiment_id
from slimstream.training.metrics.classification import preferred_model

FILE = "pipeline"
"""runs/pipeline.json names the pipeline that the next stage may join."""
PARENT_TAG = "mlflow.parentRunId"
"""MLflow's tag of a nested run: the id of the run that it belongs to."""
NOTE_TAG = "mlflow.note.content"
"""MLflow's tag of a description, in Markdown."""
SETTINGS_TAG = "settings_hash"
FLOW_VARIABLE = "SLIMSTREAM_FLOW_RUN_ID"
AFTER_SPLIT = {stage.name for stage in following("split")[1:]} | {"publish"}
"""Stages that use the split. For stages before it, data/split.json is that of an earlier run."""
IN_NAME = 3
"""Differing settings that the name of a pipeline tells."""


@dataclass(frozen=True)
class Pipeline:
    """The run of a pipeline in the store of `client`."""

    client: Any
    run_id: str
    started: int
    """Time of its start in ms since 1970, and of the headline's metrics: logged twice they are one point."""

    def end(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED, until the next stage joins it."""
        self.client.set_terminated(self.run_id, status)

    def record_evaluation(self, params: Params, scores: Mapping[str, float]) -> None:
        """Record the headline of the model that would be published; `scores` is what evaluate returned."""
        if model := preferred_model(scores, params.publish.models):
            values = [metric(name, value, self.started) for name, value in headline(scores, model).items()]
            self.client.log_batch(self.run_id, metrics=values)
            self.client.set_tag(self.run_id, "model", model)


def join(client: Any, stage: str, params: Params, paths: Paths) -> Pipeline:
    """The pipeline of the run of `stage` that begins now, or of publish; see the text above."""
    known = _of_evaluation(client, paths) if stage == "publish" else _last(client, paths)
    if known and known.data.tags.get(SETTINGS_TAG) == settings_hash(params):
        pipeline = _pipeline(client, known)
        if stage == "publish" or not _has_finished(client, known, stage):
            client.update_run(pipeline.run_id, status="RUNNING")
            _add_split(client, known, stage, params, paths)
            return pipeline
    created = _create(client, params, paths)
    _add_split(client, created, stage, params, paths)
    if stage != "publish":
        with atomic_write(paths.run(FILE)) as file:
            file.write_text(json.dumps({"run_id": created.info.run_id}) + "\n")
    return _pipeline(client, created)


def settings_hash(params: Params) -> str:
    """Hash of all settings, 16 hex digits."""
    text = json.dumps(params.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def run_name(params: Params, paths: Paths, now: datetime) -> str:
    """Recipe, settings that differ from it, and the date: "tank · extract.frames 8 · 2026-05-02 14:30"."""
    changed = [f"{name} {value:.30}" for name, value in differing(params, paths).items()]
    more = [f"{len(changed) - IN_NAME} more"] if len(changed) > IN_NAME else []
    settings = ", ".join(changed[:IN_NAME] + more)
    return " · ".join(filter(None, [params.recipe, settings, f"{now:%Y-%m-%d %H:%M}"]))


def differing(params: Params, paths: Paths) -> dict[str, str]:
    """The settings that differ from those of their recipe, or from the defaults where it is not there.

    Those of the recipe `auto` are compared with what it last made here; where that is not there, none differ.
    """
    usual = _of_auto(params, paths) if params.recipe == AUTO else _of_recipe(params.recipe, paths)
    before, now = (dict(flatten(one.model_dump(mode="json", by_alias=True))) for one in (usual, params))
    changed = {
        name: now.get(name, "none")
        for name in {**before, **now}
        if name != "recipe" and now.get(name) != before.get(name)
    }
    if "ingest.source" in changed:
        changed["ingest.source"] = dataset_name(params)
    return changed


def _of_auto(params: Params, paths: Paths) -> Params:
    with suppress(UserError):
        made = load_params(paths.made_params)
        if made.recipe == AUTO:
            return made
    return params


def _of_recipe(name: str, paths: Paths) -> Params:
    with suppress(UserError):
        return load_recipe(paths.root / "recipes" / f"{name}.yaml")
    return Params()


def _create(client: Any, params: Params, paths: Paths) -> Any:
    """Begin a pipeline: a run with all settings."""
    flow = os.environ.get(FLOW_VARIABLE, "")
    tags = {
        "recipe": params.recipe,
        "source": params.ingest.source,
        SETTINGS_TAG: settings_hash(params),
        "flow_run_id": flow,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "flow retrain" if flow else "dvc repro",
        "mlflow.source.git.commit": (git(paths, "rev-parse", "HEAD") or "").strip(),
    }
    run = client.create_run(
        experiment_id(client),
        run_name=run_name(params, paths, datetime.now()),
        tags={name: value for name, value in tags.items() if value},
    )
    with failed_on_error(client, run.info.run_id):
        log_settings(client, run.info.run_id, params.model_dump(mode="json", by_alias=True))
    return run


@contextmanager
def failed_on_error(client: Any, run_id: str) -> Iterator[None]:
    """After an error end the run as FAILED: the next try makes another one."""
    try:
        yield
    except Exception:
        with suppress(Exception):  # the store may be away
            client.set_terminated(run_id, "FAILED")
        raise


def _add_split(client: Any, run: Any, stage: str, params: Params, paths: Paths) -> None:
    """Record the split with a pipeline, once a stage uses it."""
    if stage in AFTER_SPLIT and "split_hash" not in run.data.tags and paths.split_info.exists():
        split = json.loads(paths.split_info.read_text())
        client.set_tag(run.info.run_id, "split_hash", split["hash"])
        client.log_inputs(run.info.run_id, [dataset(params, split)])


def _last(client: Any, paths: Paths) -> Any:
    """The run that runs/pipeline.json names; None where this store has none."""
    return _find(client, paths, FILE)


def _of_evaluation(client: Any, paths: Paths) -> Any:
    """The pipeline of the run in runs/evaluate.json; None where this store has none."""
    evaluation = _find(client, paths, "evaluate")
    parent = evaluation.data.tags.get(PARENT_TAG) if evaluation else None
    return _run(client, parent) if parent else None


def _find(client: Any, paths: Paths, name: str) -> Any:
    file = paths.run(name)
    run_id = json.loads(file.read_text()).get("run_id") if file.is_file() else None
    return _run(client, run_id) if run_id else None


def _run(client: Any, run_id: str) -> Any:
    """The run `run_id`; None when the store has none, or it was deleted."""
    found = client.search_runs([experiment_id(client)], f"attributes.run_id = '{run_id}'")
    return found[0] if found else None


def _has_finished(client: Any, pipeline: Any, stage: str) -> bool:
    inside = f"tags.`{PARENT_TAG}` = '{pipeline.info.run_id}' and tags.stage = '{stage}'"
    ended = f"{inside} and attributes.status = 'FINISHED'"
    return bool(client.search_runs([pipeline.info.experiment_id], ended, max_results=1))


def _pipeline(client: Any, run: Any) -> Pipeline:
    return Pipeline(client, str(run.info.run_id), int(run.info.start_time))
