"""One list of stages: dvc.yaml, which is DVC's, says the same."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slimstream.core.paths import MODELS
from slimstream.pipeline.stages import STAGES, Stage, following

ROOT = Path(__file__).parents[3]
GRAPH = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
stages = pytest.mark.parametrize("stage", STAGES.values(), ids=list(STAGES))


def outs(stage: str) -> set[str]:
    """The folders and files that dvc.yaml has `stage` make."""
    listed = [*GRAPH[stage]["outs"], *GRAPH[stage].get("metrics", ()), *GRAPH[stage].get("plots", ())]
    return {name for out in listed for name in ([out] if isinstance(out, str) else out)}


def test_dvc_has_the_same_stages_each_after_those_it_takes_from() -> None:
    """The order of dvc.yaml settles that of `dvc dag` where stages do not depend on one another."""
    assert list(GRAPH) == list(STAGES)
    made: set[str] = set()
    later = {out for stage in STAGES for out in outs(stage)}
    for stage in STAGES:
        assert not set(GRAPH[stage]["deps"]) & (later - made), f"{stage} takes what a later stage makes"
        made |= outs(stage)


@stages
def test_dvc_describes_and_calls_it_alike(stage: Stage) -> None:
    assert GRAPH[stage.name]["desc"] == f"{stage.help[0].upper()}{stage.help[1:]}."
    assert GRAPH[stage.name]["cmd"] == f"python -m slimstream {stage.name}"


@stages
def test_it_leaves_the_models_that_dvc_keeps(stage: Stage) -> None:
    assert {f"models/{model}" for model in stage.models} == {
        out for out in outs(stage.name) if out.removeprefix("models/") in MODELS
    }


def test_following_begins_with_the_stage_itself() -> None:
    assert [stage.name for stage in following("export")] == ["export", "evaluate"]
