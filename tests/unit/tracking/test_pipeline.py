"""Which pipeline a stage joins, on a real store, and what the run of a pipeline holds."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params, load_params
from slimstream.splits.params import SplitParams
from slimstream.stages.evaluate.headline import HEADLINE
from slimstream.stages.ingest.params import IngestParams
from slimstream.tracking.pipeline import PARENT_TAG, run_name
from slimstream.tracking.run import pipeline_run, stage_run
from slimstream.tracking.store import connect, experiment_id

PARAMS = Params(recipe="tiny", ingest=IngestParams(source="../clips/plant"))
OTHER = PARAMS.model_copy(update={"recipe": "other"})
SCORES = {
    "original.macro_f1": 0.8,
    "original.megabytes": 4.0,
    "slim.macro_f1": 0.75,
    "slim.val_macro_f1": 0.7,
    "slim.megabytes": 1.0,
    "slim.params": 2e6,
    "slim.ece": 0.1,
    "test.clips": 40.0,
}


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "SLIMSTREAM_TRACKING", "SLIMSTREAM_FLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.split_info.parent.mkdir()
    paths.split_info.write_text(json.dumps({"hash": "ab" * 32, "counts": {}}))
    return paths


def run_stage(paths: Paths, stage: str, params: Params = PARAMS, **results: float) -> Any:
    """What `python -m slimstream <stage>` records; returns the run of its pipeline."""
    with stage_run(stage, params, paths) as run:
        run.results({name.replace("__", "."): value for name, value in results.items()})
    paths.run(stage).parent.mkdir(exist_ok=True)
    paths.run(stage).write_text(json.dumps({"run_id": run.run_id}))
    client = connect(paths)
    return client.get_run(client.get_run(run.run_id).data.tags[PARENT_TAG])


def identity(run: Any) -> str:
    return str(run.info.run_id)


def test_stages_with_the_same_settings_share_a_pipeline_and_other_settings_begin_one(paths: Paths) -> None:
    first = run_stage(paths, "ingest")
    assert identity(run_stage(paths, "train")) == identity(first)
    second = run_stage(paths, "prune", OTHER)
    assert identity(second) != identity(first) and second.data.tags["recipe"] == "other"
    # A stage that runs a second time is part of a second pipeline: clips, code or a wish made it run again.
    assert identity(run_stage(paths, "prune", OTHER)) != identity(second)


def test_a_failed_pipeline_goes_on_as_the_same(paths: Paths) -> None:
    with pytest.raises(ValueError), stage_run("train", PARAMS, paths):
        raise ValueError
    client = connect(paths)
    (failed,) = client.search_runs([experiment_id(client)], f"attributes.run_name LIKE '{PARAMS.recipe} %'")
    assert failed.info.status == "FAILED"
    again = run_stage(paths, "train")
    assert identity(again) == identity(failed) and again.info.status == "FINISHED"


def test_a_pipeline_holds_all_settings_the_split_and_the_few_metrics(paths: Paths) -> None:
    run_stage(paths, "ingest")
    found = run_stage(paths, "evaluate", **{key.replace(".", "__"): value for key, value in SCORES.items()})
    assert found.data.params["prune.rate"] == "0.5" and found.data.params["extract.frames"] == "16"
    assert found.data.tags["split_hash"] == "ab" * 32 and found.data.tags["model"] == "slim"
    assert [each.dataset.name for each in found.inputs.dataset_inputs] == ["plant"]
    assert found.data.metrics == {
        "macro_f1": 0.75,
        "megabytes": 1.0,
        "parameters": 2e6,
        "original_macro_f1": 0.8,
        "judged_clips": 40.0,
    }


def test_publish_goes_on_with_the_pipeline_that_was_evaluated(paths: Paths) -> None:
    evaluated = run_stage(paths, "evaluate", slim__macro_f1=0.75, slim__val_macro_f1=0.7)
    run_stage(paths, "ingest", OTHER)  # begun since, and not evaluated
    with pipeline_run(PARAMS, paths, SCORES) as run:
        pass
    assert run.run_id == identity(evaluated)
    client = connect(paths)
    assert len(client.get_metric_history(run.run_id, "macro_f1")) == 1
    # Other settings of publish: DVC skips all stages, and the pipeline is another one with the same scores.
    with pipeline_run(OTHER, paths, SCORES) as run:
        pass
    assert run.run_id != identity(evaluated)
    assert client.get_run(run.run_id).data.metrics["macro_f1"] == 0.75


def test_another_store_knows_nothing_of_the_last_pipeline(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_stage(paths, "ingest")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{paths.root}/other.db")
    assert identity(run_stage(paths, "train")) != identity(first)


def test_the_experiment_opens_a_table_with_the_few_metrics_and_keeps_what_somebody_wrote(
    paths: Paths,
) -> None:
    client = connect(paths)
    number = experiment_id(client)
    tags = client.get_experiment(number).tags
    assert f"#/experiments/{number}/runs?viewStateShareKey=pipelines" in tags["mlflow.note.content"]
    view = json.loads(tags["mlflow.sharedViewState.pipelines"])
    shown, order, widths = (view[key] for key in ("selectedColumns", "columnOrder", "columnWidths"))
    assert {f"metrics.`{name}`" for name in HEADLINE} < set(shown) and len(shown) == len(set(shown))
    # Widths apply to columns of the order alone; what a pipeline sets otherwise is in its name.
    assert order[0] == "attributes.`Run Name`" and order[1:] == shown and widths.keys() == set(order)
    client.set_experiment_tag(number, "mlflow.note.content", "our own words")
    experiment_id(client)
    assert client.get_experiment(number).tags["mlflow.note.content"] == "our own words"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda p: p, "press · 2026-05-02 14:30"),
        (
            lambda p: p.model_copy(update={"ingest": IngestParams(source="/data/other")}),
            "press · ingest.source other · 2026-05-02 14:30",
        ),
    ],
)
def test_the_name_tells_what_differs_from_the_recipe(
    tmp_path: Path, change: Callable[[Params], Params], name: str
) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/press.yaml").write_text("ingest: {source: /data/press}\n")
    params = Params(recipe="press", ingest=IngestParams(source="/data/press"))
    assert run_name(change(params), Paths(tmp_path), datetime(2026, 5, 2, 14, 30)) == name


def test_what_auto_made_is_compared_with_what_it_made(tmp_path: Path) -> None:
    paths, now = Paths(tmp_path), datetime(2026, 5, 2, 14, 30)
    paths.params.write_text("recipe: auto\nextract: {frames: 7}\n")
    params = load_params(paths.params)
    assert run_name(params, paths, now) == "auto · 2026-05-02 14:30", "what it made is not known"
    paths.made_params.parent.mkdir()
    shutil.copy(paths.params, paths.made_params)
    edited = params.model_copy(update={"split": SplitParams(seed=3)})
    assert run_name(edited, paths, now) == "auto · split.seed 3 · 2026-05-02 14:30"
    paths.made_params.write_text("recipe: tank\n")  # made since
    assert run_name(edited, paths, now) == "auto · 2026-05-02 14:30"


def test_without_its_recipe_the_name_tells_what_differs_from_the_defaults(tmp_path: Path) -> None:
    changed = {"train.fit.epochs": "3", "train.fit.lr": "0.5", "split.seed": "7", "prune.rate": "0.2"}
    params = Params.model_validate(
        {
            "recipe": "mine",
            "split": {"seed": 7},
            "train": {"fit": {"epochs": 3, "lr": 0.5}},
            "prune": {"rate": 0.2},
        }
    )
    told = run_name(params, Paths(tmp_path), datetime(2026, 5, 2, 14, 30))
    recipe, settings, _ = told.split(" · ")
    assert recipe == "mine" and settings.endswith(", 1 more")
    assert sum(f"{name} {value}" in settings for name, value in changed.items()) == 3
