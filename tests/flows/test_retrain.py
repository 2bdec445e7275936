"""The flow on a real Prefect server: names, states, artifacts, failures, isolation, the schedule."""

import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import TaskRun

from flows import dvc_runner
from flows import retrain as module
from flows.retries import DELAYS
from tests.flows.conftest import api, importing
from tests.flows.mini_project import commit, git, outcome, repository


@pytest.fixture(autouse=True)
def here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for file in root.glob("tries-*"):
        file.unlink()


def task_runs(flow_run: str) -> list[TaskRun]:
    wanted = FlowRunFilter.model_validate({"id": {"any_": [flow_run]}})
    return list(api("read_task_runs", flow_run_filter=wanted))


def task_states(flow_run: str) -> dict[str, str]:
    return {run.name: run.state_name for run in task_runs(flow_run)}


def tries(flow_run: str) -> dict[str, int]:
    """How often each task was started."""
    return {run.name: run.run_count for run in task_runs(flow_run)}


def test_one_task_a_stage_then_nothing_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["--recipe", "rig"]) == 0
    first = str(outcome(root)["flow"])
    done = dict.fromkeys(["scan", "zeta", "alpha", "evaluate", "publish"], "Completed")
    assert task_states(first) == done
    shown = capsys.readouterr().out
    assert "distilled    0.500" in shown and "m version 1 (distilled) is champion: good." in shown
    for line in ("Report ", "MLflow UI ", "Prefect UI "):
        assert line in shown
    found = {artifact.key: artifact.data for artifact in api("read_artifacts")}
    assert {"models", "report"} <= set(found) and "| distilled | 0.500 |" in str(found["models"])
    assert str(found["front"]).startswith("data:image/png;base64,")
    assert api("read_flow_run", first).name == "rig on rig"
    changed = {line.split()[-1] for line in git(root, "status", "--porcelain").splitlines()}
    assert changed <= {"params.yaml", "source.lock.json", "dvc.lock"}

    # A stage that breaks: DVC skips what is up to date, the flow fails with the stage's own sentence.
    commit(root)
    (root / "wish.txt").write_text("alpha fail 2\n")
    before = {run.id for run in api("read_flow_runs")}
    assert module.main([]) == 2
    said = capsys.readouterr().err
    assert "\nretrain: params.yaml: 'alpha' is too large; choose less." in said and "Traceback" not in said
    (run,) = (r for r in api("read_flow_runs") if r.id not in before and not r.auto_scheduled)
    assert run.state_name == "Failed" and "alpha' is too large" in run.state.message
    assert task_states(str(run.id)) == {"scan": "Completed", "zeta": "Unchanged", "alpha": "Failed"}
    assert tries(str(run.id)) == {"scan": 1, "zeta": 1, "alpha": 1}
    git(root, "checkout", "-q", "wish.txt")


def test_a_second_run_in_a_folder_is_refused_before_it_changes_anything(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (root / "params.yaml").read_bytes()
    with module._only_run():
        assert module.main(["--recipe", "rig", "--source", "elsewhere"]) == 2
    assert "retrain: Another run is under way in this folder" in capsys.readouterr().err
    assert (root / "params.yaml").read_bytes() == before


def test_settings_that_change_meanwhile_end_a_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is published of stages of which some had the former settings."""
    (root / "wish.txt").write_text("alpha edit\n")
    published = outcome(root)["flow"] if (root / "runs/publish.json").exists() else None
    assert module.main([]) == 2
    assert "params.yaml was changed while this run was under way" in capsys.readouterr().err
    assert (outcome(root)["flow"] if published else None) == published
    git(root, "checkout", "-q", "wish.txt", "params.yaml")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try does not wait."""
    monkeypatch.setattr(module, "run_stage", module.run_stage.with_options(retry_delay_seconds=0))


def test_what_was_away_is_tried_again(root: Path, soon: None) -> None:
    """Status 3 of a stage comes through `dvc repro`, that of publish directly."""
    (root / "wish.txt").write_text("alpha fail 3 2\npublish fail 3 2\n")
    assert module.main([]) == 0
    counted = tries(str(outcome(root)["flow"]))
    assert counted == {"scan": 1, "zeta": 1, "alpha": 3, "evaluate": 1, "publish": 3}
    git(root, "checkout", "-q", "wish.txt")


@pytest.fixture
def first_stage_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between scan and publish there is one stage: DVC takes two seconds for each."""
    monkeypatch.setattr(dvc_runner, "stages", lambda root: ["zeta"])


@pytest.mark.usefixtures("soon", "first_stage_alone")
def test_what_stays_away_ends_the_run_with_its_status(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "wish.txt").write_text("publish fail 3\n")
    assert module.main([]) == 3
    assert "retrain: params.yaml: 'alpha' is too large" in capsys.readouterr().err
    assert len((root / "tries-publish").read_text()) == 1 + len(DELAYS)
    git(root, "checkout", "-q", "wish.txt")


def test_a_server_that_does_not_start_is_one_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy(*_: object) -> None:
        """As the flow."""
        raise RuntimeError("Timed out while attempting to connect to ephemeral Prefect API server.")

    monkeypatch.setattr(module, "retrain", busy)
    assert module.main([]) == 3
    assert "did not start within 4 minutes" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "mistake"), [("print('listed')", False), ("exit('no; mend it')", True)])
def test_the_scan_that_runs_while_the_server_starts_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, mistake: bool
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(module, "_line_logger", lambda: lines.append)
    with dvc_runner.started([sys.executable, "-c", code], tmp_path) as process:
        monkeypatch.setitem(module._started_ahead, "scan", process)
        with pytest.raises(dvc_runner.StageFailed, match="mend it") if mistake else nullcontext():
            module.run_stage.fn("scan", tmp_path, {})
    assert lines == ["no; mend it" if mistake else "listed"]
    assert not module._started_ahead  # a second try runs it anew


@pytest.mark.box  # a Prefect server of its own takes half a minute to come and to go
@pytest.mark.parametrize("company_proxy", ["is silent"], indirect=True)
def test_asked_to_stop_it_leaves_no_process(tmp_path: Path, company_proxy: str) -> None:
    """Nor is anything of its own machine asked of a proxy, or it would not come as far."""
    root = repository(tmp_path / "project")
    (root / "wish.txt").write_text("zeta wait\n")
    program = "import sys, pathlib; from flows import retrain; retrain.ROOT = pathlib.Path(sys.argv.pop())"
    own = {"PREFECT_HOME": str(tmp_path), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    flow = subprocess.Popen(
        [sys.executable, "-c", f"{program}; sys.exit(retrain.main())", str(root)],
        env=importing() | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert flow.stderr
    said = []
    for line in flow.stderr:
        said.append(line)
        if "working on zeta" in line:
            break
    else:
        pytest.fail("".join(said))
    started = psutil.Process(flow.pid).children(recursive=True)
    assert any("uvicorn" in process.cmdline() for process in started)  # its temporary Prefect server
    flow.send_signal(signal.SIGTERM)
    status = flow.wait(timeout=60)
    left = psutil.wait_procs(started, timeout=10)[1]
    for process in left:
        process.kill()
    assert not left
    told, mistakes = flow.communicate()
    assert status == 130 and "retrain: interrupted; run it again to go on" in mistakes
    assert told.startswith("Starting a Prefect server for this run")


@pytest.mark.usefixtures("first_stage_alone")
def test_a_deployed_run_leaves_a_branch_and_the_checkout_alone(root: Path) -> None:
    (root / "params.yaml").write_text("recipe: rig  # edited, not committed\n")
    (root / "zeta").unlink(missing_ok=True)
    before = git(root, "status", "--porcelain")
    state = module.retrain(isolated=True, return_state=True)
    assert task_states(str(state.state_details.flow_run_id))["push"] == "Skipped"  # there is no remote
    (branch,) = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads/runs").split()
    changed = git(root, "diff", "--name-only", "main", branch).split()
    assert set(changed) <= {"dvc.lock", "source.lock.json"} and "source.lock.json" in changed
    assert str(root) in git(root, "show", f"{branch}:source.lock.json")
    assert git(root, "status", "--porcelain") == before
    assert len(git(root, "worktree", "list").splitlines()) == 1
    git(root, "checkout", "-q", "params.yaml")


@pytest.mark.usefixtures("first_stage_alone")
def test_a_failed_deployed_run_leaves_nothing(root: Path) -> None:
    (root / "wish.txt").write_text("zeta fail 1\n")
    commit(root)
    before = git(root, "for-each-ref", "refs/heads")
    with pytest.raises(dvc_runner.StageFailed, match="zeta ended with status 1"):
        module.retrain(isolated=True, force=True)  # or DVC takes zeta from its cache
    assert git(root, "for-each-ref", "refs/heads") == before
    assert len(git(root, "worktree", "list").splitlines()) == 1


def test_the_weekly_deployment_is_scheduled(deployed: None) -> None:
    """With unlucky versions below it Prefect looks healthy and no schedule ever fires."""
    deployment = api("read_deployment_by_name", "retrain/weekly")
    assert deployment.parameters == {"isolated": True} and deployment.global_concurrency_limit.limit == 1
    scheduled = FlowRunFilter.model_validate(
        {"deployment_id": {"any_": [deployment.id]}, "state": {"name": {"any_": ["Scheduled"]}}}
    )
    for _ in range(150):
        if runs := api("read_flow_runs", flow_run_filter=scheduled):
            break
        time.sleep(0.2)
    assert runs, "no schedule fired"
    assert {run.expected_start_time.astimezone().weekday() for run in runs} == {0}
