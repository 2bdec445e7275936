"""A checkout of its own for a run that is tried a second time."""

import subprocess
import sys
from pathlib import Path

import pytest

from flows import dvc_runner
from flows.worktree import commit as keep
from flows.worktree import worktree
from slimstream.core.errors import UserError
from tests.flows.mini_project import commit, git, repository


@pytest.fixture
def without_dvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkout asks DVC for nothing: there is nothing, and DVC takes seconds to find that out."""
    monkeypatch.setattr("flows.worktree._dvc", lambda *_: True)


@pytest.mark.usefixtures("without_dvc")
def test_what_a_killed_attempt_left_makes_way(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    folder = root / ".slimstream/worktrees/x"
    git(root, "worktree", "add", "-q", "--lock", "-b", "runs/x", str(folder), "HEAD")
    (folder / "half").write_text("done")
    (folder / "params.yaml").write_text("recipe: other\n")
    git(folder, "commit", "-qam", "half done")
    with worktree(root, "x") as (found, _):
        assert found == folder and not (folder / "half").exists()
        assert git(folder, "rev-parse", "HEAD") == git(root, "rev-parse", "HEAD")
    assert git(root, "branch", "--list", "runs/*") == ""


@pytest.mark.usefixtures("without_dvc")
def test_a_run_without_news_leaves_no_branch_while_somebody_commits(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    with worktree(root, "x"):
        (root / "notes.txt").write_text("meanwhile")
        commit(root)
    assert git(root, "branch", "--list", "runs/*") == ""


@pytest.mark.usefixtures("without_dvc")
def test_a_run_signs_nothing_since_nobody_is_there_to_ask(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    git(root, "config", "commit.gpgsign", "true")
    git(root, "config", "gpg.program", "false")
    with worktree(root, "x") as (folder, _):
        (folder / "params.yaml").write_text("recipe: other\n")
        assert keep(folder, "new") != git(root, "rev-parse", "HEAD")


@pytest.mark.usefixtures("without_dvc")
def test_a_remote_beside_the_project_is_found_from_there_too(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    (root / ".dvc/config").write_text("[core]\n    remote = nas\n['remote \"nas\"']\n    url = ../../nas\n")
    commit(root)
    with worktree(root, "x") as (folder, env):
        (folder / "clip").write_text("moving")
        subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "clip"], cwd=folder, check=True)
        assert dvc_runner.push(folder, lambda _: None, env) == "nas"
    assert [path.read_text() for path in (tmp_path / "nas").rglob("*") if path.is_file()] == ["moving"]


def test_clips_that_were_ingested_are_there_and_ingest_has_nothing_to_do(tmp_path: Path) -> None:
    """DVC's run cache knows no outs that persist, and a run without news should leave no branch."""
    root = repository(tmp_path / "project")
    stage = (
        "cmd: mkdir -p clips && date +%N > clips/a\n    deps: [wish.txt]\n    outs: [clips: {persist: true}]"
    )
    (root / "dvc.yaml").write_text(f"stages:\n  ingest:\n    {stage}\n")
    (root / ".gitignore").write_text("/clips\n/.slimstream/\n")
    assert dvc_runner.repro("ingest", root, print) == "ran"
    commit(root)
    with worktree(root, "x") as (folder, env):
        assert dvc_runner.repro("ingest", folder, print, **env) == "unchanged"
        assert (folder / "clips/a").read_text() == (root / "clips/a").read_text()


@pytest.mark.usefixtures("without_dvc")
def test_a_project_that_is_part_of_a_repository_is_checked_out_as_such(tmp_path: Path) -> None:
    root = repository(tmp_path / "plant/diagnosis #1")
    (root / ".git").rename(tmp_path / "plant/.git")
    commit(tmp_path / "plant")
    with worktree(root, "x") as (found, _):
        assert (found / "params.yaml").read_text() == (root / "params.yaml").read_text()
        (found / "source.lock.json").write_text("{}")
        keep(found, "a run")
    assert git(root, "show", "runs/x:./source.lock.json") == "{}"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("no git", "No git repository holds .*project, and a scheduled or isolated run works in a checkout"),
        ("another's", "No git repository holds .*project"),
        ("no commit", "Nothing is committed in .*project yet"),
        ("broken", "`git rev-list` failed in .*project: fatal: not a git repository"),
        ("not installed", "git is not installed"),
    ],
)
def test_without_a_commit_it_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, said: str
) -> None:
    root = repository(tmp_path / "project")
    if state == "not installed":
        monkeypatch.setenv("PATH", "")
    else:
        (root / ".git").rename(tmp_path / "gone")
    if state == "another's":
        git(tmp_path, "init", "-q")
        git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "x")
    if state == "no commit":
        git(root, "init", "-q")
    if state == "broken":
        (root / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(UserError, match=said), worktree(root, "x"):
        pass
