"""What starts a retraining, and the champion by hand: on a real Prefect server, no worker."""

from pathlib import Path

import pytest
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Completed, Crashed

from flows import dvc_runner, registry, watch
from tests.flows.conftest import api
from tests.flows.mini_project import git


@pytest.fixture(autouse=True)
def here(root: Path, deployed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "ROOT", root)
    monkeypatch.setattr(registry, "ROOT", root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def asked() -> set[str]:
    """Why retrainings were asked for, those of the schedule apart."""
    deployment = api("read_deployment_by_name", "retrain/weekly")
    runs = api(
        "read_flow_runs",
        flow_run_filter=FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment.id]}}),
    )
    keys = [run.idempotency_key for run in runs if not run.auto_scheduled]
    assert len(keys) == len(set(keys))
    return {key.rsplit("-", 1)[0] for key in keys}


def test_enough_new_clips_start_one_retraining(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "new.txt").write_text("a.mp4 b.mp4")
    watch.ingest_watch(enough=3)
    assert asked() == set()
    # DVC has nothing to check out here, and takes seconds to find that out.
    monkeypatch.setattr("flows.worktree._dvc", lambda *_: True)
    (root / "new.txt").write_text("a.mp4 b.mp4 c.mp4")
    watch.ingest_watch(enough=3)
    watch.ingest_watch(enough=3)
    assert asked() == {"ingest-watch"}
    assert not git(root, "for-each-ref", "refs/heads/runs") and not git(root, "status", "--porcelain")
    told = {str(a.data) for a in api("read_artifacts") if a.key == "source"}
    assert {
        "plant: 3 new or changed clips, 3 start a retraining. Started.",
        "plant: 3 new or changed clips, 3 start a retraining. One was asked for already.",
    } <= told


def test_a_retraining_that_came_to_its_end_does_not_hold_up_the_next() -> None:
    assert watch.request_retraining("reason", "a") and not watch.request_retraining("reason", "a")
    for state in (Crashed(), Completed()):
        (run,) = (
            run
            for run in api("read_flow_runs")
            if (run.idempotency_key or "").startswith("reason-") and not run.state.is_final()
        )
        api("set_flow_run_state", run.id, state, force=True)
        assert watch.request_retraining("reason", "a") and not watch.request_retraining("reason", "a")


def test_a_champion_that_drops_starts_a_retraining() -> None:
    before = asked()
    watch.evaluate_champion("summer")
    watch.evaluate_champion("winter", retrain=False)
    assert asked() == before
    watch.evaluate_champion("winter")
    assert asked() == before | {"evaluate-champion"}


def test_the_champion_by_hand() -> None:
    registry.promote(3, force=True)
    registry.rollback(name="tank")
    told = {artifact.data for artifact in api("read_artifacts") if artifact.key == "champion"}
    assert {"promote 3 --force", "rollback --name tank"} <= told


def test_what_was_away_is_tried_again_and_a_mistake_is_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = watch.run_command.with_options(retry_delay_seconds=0)
    for module in (watch, registry):
        monkeypatch.setattr(module, "run_command", at_once)
    (root / "wish.txt").write_text("evaluate-champion fail 3 2\npromote fail 3 1\nrollback fail 2\n")
    watch.evaluate_champion("autumn")
    registry.promote(4)
    with pytest.raises(dvc_runner.UserMistake):
        registry.rollback()
    counted = {file.name: len(file.read_text()) for file in root.glob("tries-*")}
    assert counted == {"tries-evaluate-champion": 3, "tries-promote": 2, "tries-rollback": 1}
    git(root, "checkout", "-q", "wish.txt")


@pytest.mark.parametrize(
    "name", ["ingest-watch/daily", "evaluate-champion/check-champion", "promote/promote-version"]
)
def test_the_form_in_the_ui_is_typed(name: str) -> None:
    deployment = api("read_deployment_by_name", name)
    fields = deployment.parameter_openapi_schema["properties"]
    assert fields and all("type" in field or "anyOf" in field for field in fields.values())
    assert all(field["description"].endswith(".") for field in fields.values())
    assert "slimstream" in deployment.tags and deployment.description


def test_recipes_are_a_choice(deployed: None) -> None:
    deployment = api("read_deployment_by_name", "retrain/weekly")
    recipe = deployment.parameter_openapi_schema["properties"]["recipe"]
    assert recipe["default"] == recipe["enum"][0] == "params.yaml"
    assert {"rig", "tank", "casting"} <= set(recipe["enum"]) and "params.yaml" in recipe["description"]
