"""The whole story, as a plant sees it: `make up`, a schedule fires, models come and go, a browser looks."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter

from infra.services import process
from infra.services.control import SIGNALS
from slimstream.pipeline.stages import STAGES
from tests.faults.box import RETRAINING, Box, box
from tests.flows.browser import Browser, browser

# Three retrainings in a row: ten minutes are little on a box where other work runs.
pytestmark = [pytest.mark.box, pytest.mark.timeout(1800)]


def poor(plant: Box) -> str:
    """The plant's recipe with heads so restrained that they always say the same.

    Its networks are the plant's up to their heads, so DVC has them already when either recipe runs again.
    """
    recipe = (plant.home.root / "recipes" / "plant.yaml").read_text()
    return recipe.replace("refit: {strength: 0.01}", "refit: {strength: 1.0e-30}")


@pytest.fixture(scope="module")
def plant() -> Iterator[Box]:
    """In a folder that the user postgres may enter. Its schedule fires every minute, with the poor recipe."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name, box(Path(name) / "box") as made:
        Path(name).chmod(0o711)
        (made.home.root / "recipes" / "poor.yaml").write_text(poor(made))
        deployments = made.home.root / "prefect.yaml"
        every_minute = deployments.read_text().replace('"0 3 * * 1"  # Mondays at three', '"* * * * *"')
        every_minute = every_minute.replace("isolated: true", "isolated: true\n      recipe: poor", 1)
        deployments.write_text(every_minute)
        made.commit("Every minute")
        said = made.services("up")
        assert "PostgreSQL is found and used." in said, said
        yield made


@pytest.fixture(scope="module")
def page(plant: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(plant, tmp_path_factory.mktemp("pictures")) as found:
        yield found


def done(plant: Box, run: UUID) -> None:
    state = plant.until(run)
    assert state.is_completed(), f"{state}\n{plant.home.log('worker').read_text()[-5000:]}"


def champion(plant: Box) -> int:
    (found,) = (n for n, tags in enumerate(plant.registry(), 1) if tags["champion"])
    return found


def test_a_scheduled_run_makes_the_first_champion(plant: Box, page: Browser) -> None:
    deployment = plant.ask("read_deployment_by_name", RETRAINING)
    ours = FlowRunFilter.model_validate({"deployment_id": {"any_": [deployment.id]}})
    deadline = time.monotonic() + 200
    begun: list[UUID] = []
    while not begun and time.monotonic() < deadline:
        runs = plant.ask("read_flow_runs", flow_run_filter=ours)
        begun = [run.id for run in runs if run.state.is_running() and run.auto_scheduled]
        time.sleep(2)
    # One is enough, and those that wait for their turn are not wanted.
    plant.ask("pause_deployment", deployment.id)
    (run,) = begun
    done(plant, run)
    assert plant.clips() == (30, 0)
    (first,) = plant.registry()
    assert first["gate"] == "passed" and first["champion"] and first["flow_run_id"] == str(run)

    seen = page.prefect(f"/runs/flow-run/{run}", "Completed", "Task runs")
    count = len(STAGES) + 3  # scan, publish and push
    assert all(word in seen for word in ("retrain", "weekly", "slimstream", f"{count} Task runs"))
    tasks = page.prefect(f"/runs/flow-run/{run}", "publish", tab="Task Runs")
    assert all(stage in tasks for stage in ("scan", "ingest", "train", "prune", "distill", "evaluate"))
    # The look waits for each of them, and fails after a minute without.
    page.prefect(f"/runs/flow-run/{run}", "confusion", "models", "mlflow", tab="Artifacts")


def test_better_replaces_worse_is_refused_and_back(plant: Box, page: Browser) -> None:
    done(plant, plant.request())
    better = plant.registry()
    assert len(better) == 2 and champion(plant) == 2, better
    assert float(better[1]["macro_f1"]) > float(better[0]["macro_f1"]) + 0.1

    worse = plant.home.root / "recipes" / "poor.yaml"
    worse.write_text(poor(plant).replace("target_params: 0.8", "target_params: 0.7"))
    plant.commit("Still poor")
    done(plant, plant.request(recipe="poor"))
    refused = plant.registry()
    assert len(refused) == 3 and champion(plant) == 2
    assert refused[2]["gate"] == "refused" and "champion" in refused[2]["gate_reasons"]

    done(plant, plant.request("rollback/roll-back-champion", name="plant"))
    assert champion(plant) == 1
    done(plant, plant.request("promote/promote-version", version=2, force=True, name="plant"))
    assert champion(plant) == 2

    models = page.mlflow("/models/plant", "@ champion")
    assert "Version 3" in models and "refused" in models
    # MLflow's list shows the beginning of each description.
    assert models.count("Not champion, ") == 2 and models.count("Champion, ") == 1
    # The experiment's note is there before the rows are.
    path = "/experiments/1/runs?workflowType=machine_learning"
    runs = page.mlflow(path, "Open the table of pipelines", "plant · ")
    assert runs.count("plant · ") == 3  # a row a pipeline, its stages folded


def test_down_leaves_no_process(plant: Box) -> None:
    members = [member for name in SIGNALS for member in process.family(plant.home.folder, name)]
    assert len(members) > 5
    plant.services("down")
    assert not [member for member in members if member.is_running() and member.status() != "zombie"]
    mark = os.fsencode(plant.home.folder)
    for found in psutil.process_iter():
        with_it = mark in b" ".join(map(os.fsencode, _line(found)))
        assert not with_it, found


def _line(found: psutil.Process) -> list[str]:
    try:
        return found.cmdline()
    except psutil.Error:
        return []
