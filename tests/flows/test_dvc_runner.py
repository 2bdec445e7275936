"""Stages as subprocesses: their order, what they say, and that nothing survives them."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows import dvc_runner
from slimstream.core.paths import Paths
from slimstream.tracking.repository import git as git_of
from tests.flows.conftest import importing
from tests.flows.mini_project import git, repository

CHECKOUT = Path(__file__).parents[2]
# A stage that ignores SIGTERM and starts another process, like a training with its loaders.
STUBBORN = """
import json
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path("pids").write_text(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


@pytest.fixture
def told() -> list[str]:
    return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: object, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_lines_arrive_as_they_are_written(tmp_path: Path, told: list[str]) -> None:
    program = "import sys; print('a'); print('10%\\r20%\\r', end='', file=sys.stderr); print('b', flush=True)"
    assert dvc_runner.run([sys.executable, "-c", program], tmp_path, told.append, "x") == told
    assert sorted(told) == ["10%", "20%", "a", "b"]


@pytest.mark.parametrize(
    ("status", "error"),
    [(1, dvc_runner.StageFailed), (2, dvc_runner.UserMistake), (3, dvc_runner.StageUnavailable)],
)
def test_a_failure_ends_in_its_last_sentence(
    tmp_path: Path, told: list[str], status: int, error: type[Exception]
) -> None:
    program = f"import sys; print('clips.csv: bad.'); sys.exit({status})"
    with pytest.raises(error, match=r"clips\.csv: bad\.$") as caught:
        dvc_runner.run([sys.executable, "-c", program], tmp_path, told.append, "x")
    assert type(caught.value) is error


def test_leaving_by_an_exception_ends_the_whole_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc_runner, "GRACE", 0.5)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    program = STUBBORN.replace("time.sleep(60)\n", "print('go', flush=True); time.sleep(60)\n")
    with pytest.raises(KeyboardInterrupt):
        dvc_runner.run([sys.executable, "-c", program], tmp_path, interrupt, "x")
    assert wait_until(lambda: not any(map(alive, map(int, (tmp_path / "pids").read_text().split()))))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_orphan_when_the_flow_is_killed(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "stage.py").write_text(STUBBORN)
    program = (
        "import pathlib, sys; from flows import dvc_runner;"
        "dvc_runner.run([sys.executable, 'stage.py'], pathlib.Path(sys.argv[1]), print, 'x')"
    )
    flow = subprocess.Popen([sys.executable, "-c", program, tmp_path], env=importing())
    pids = tmp_path / "pids"
    assert wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    stage = [int(pid) for pid in pids.read_text().split()]
    assert all(map(alive, stage))
    flow.send_signal(how)
    flow.wait()
    assert wait_until(lambda: not any(map(alive, stage)))


@pytest.mark.parametrize(
    ("status", "error"),
    [(1, dvc_runner.StageFailed), (2, dvc_runner.UserMistake), (3, dvc_runner.StageUnavailable)],
)
def test_the_status_of_a_stage_comes_through_dvc(
    tmp_path: Path, told: list[str], status: int, error: type[Exception]
) -> None:
    """`dvc repro` itself ends with another."""
    root = repository(tmp_path)
    (root / "source.lock.json").write_text("{}")
    (root / "wish.txt").write_text(f"zeta fail {status}\n")
    with pytest.raises(error, match=r"choose less\.$") as caught:
        dvc_runner.repro("zeta", root, told.append)
    assert type(caught.value) is error


def test_a_push_that_fails_says_why_by_its_kind(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[str]:
        raise dvc_runner.StageUnavailable("the bucket is away.")

    monkeypatch.setattr(dvc_runner, "_dvc_output", lambda *_: "plant\n")
    monkeypatch.setattr(dvc_runner, "run", away)
    with pytest.raises(dvc_runner.StageUnavailable, match="nothing is lost: mend the remote 'plant'"):
        dvc_runner.push(tmp_path, told.append, {})


def test_order_comes_from_the_graph_and_dvc_skips(tmp_path: Path, told: list[str]) -> None:
    root = repository(tmp_path)
    (root / "source.lock.json").write_text("{}")
    assert dvc_runner.stages(root) == ["zeta", "alpha", "evaluate"]
    assert dvc_runner.repro("zeta", root, told.append) == "ran"
    assert told == ["Running stage 'zeta':", "working on zeta"], "of DVC itself one line is enough"
    assert dvc_runner.repro("zeta", root, told.append) == "unchanged"
    (root / "zeta").unlink()
    (root / "dvc.lock").unlink()
    assert dvc_runner.repro("zeta", root, told.append) == "cached"


def test_what_dvc_says_of_a_run_that_was_killed_is_left_out(tmp_path: Path, told: list[str]) -> None:
    root = repository(tmp_path)
    (root / "source.lock.json").write_text("{}")
    lock = root / ".dvc/tmp/rwlock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    dead = {"pid": 2**22 + 1, "cmd": "dvc repro zeta"}
    lock.write_text(json.dumps({"read": {}, "write": {str(root / "zeta"): dead}}))
    assert dvc_runner.repro("zeta", root, told.append) == "ran"
    assert told == ["Running stage 'zeta':", "working on zeta"]


def test_clips_of_a_users_where_ingest_writes_outlive_a_plain_repro(tmp_path: Path) -> None:
    """`dvc repro` asks nobody before it empties the outs of a stage, so this one `ingest` empties itself."""
    root = repository(tmp_path)
    graph = YAML(typ="safe").load(CHECKOUT / "dvc.yaml")["stages"]["ingest"]
    mine = root / "data/ingested/leak/mine.mp4"
    mine.parent.mkdir(parents=True)
    mine.write_text("the only copy")
    stage = {"cmd": "exit 2", "deps": ["wish.txt"], "outs": graph["outs"]}
    YAML().dump({"stages": {"ingest": stage}}, root / "dvc.yaml")
    with pytest.raises(dvc_runner.StageFailed):
        dvc_runner.repro("ingest", root, print)
    assert mine.read_text() == "the only copy"


def without_git(root: Path) -> Path:
    """As a ZIP of the project is unpacked."""
    shutil.rmtree(repository(root) / ".git")
    return root


def test_without_git_the_stages_run_and_with_git_it_is_used_again(tmp_path: Path, told: list[str]) -> None:
    root = without_git(tmp_path / "places zip #1? 50% Bob's")
    (root / "source.lock.json").write_text("{}")
    dvc_runner.configure_scm(root, told.append)
    assert "DVC works without" in told[-1]
    assert dvc_runner.stages(root) == ["zeta", "alpha", "evaluate"]
    assert dvc_runner.repro("zeta", root, told.append) == "ran" and (root / "zeta").exists()
    assert dvc_runner.repro("zeta", root, told.append) == "unchanged"
    said = len(told)
    dvc_runner.configure_scm(root, told.append)
    assert len(told) == said
    git(root, "init", "-q")
    dvc_runner.configure_scm(root, told.append)
    assert "works with it" in told[-1]
    assert dvc_runner.repro("zeta", root, told.append) == "unchanged"


@pytest.mark.parametrize("ignored", [False, True])
def test_below_a_repository_of_other_things_it_is_in_none(
    tmp_path: Path, told: list[str], ignored: bool
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("/project/\n" if ignored else "")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "not ours")
    root = without_git(tmp_path / "project")
    (root / "source.lock.json").write_text("{}")
    assert git_of(Paths(root), "rev-parse", "HEAD") is None
    dvc_runner.configure_scm(root, told.append)
    assert dvc_runner.repro("zeta", root, told.append) == "ran"
    if not ignored:  # a part of a larger repository is: once that tracks it
        git(tmp_path, "add", "project")
        assert git_of(Paths(root), "rev-parse", "HEAD") == git(tmp_path, "rev-parse", "HEAD") + "\n"
        dvc_runner.configure_scm(root, told.append)
        assert "works with it" in told[-1]
