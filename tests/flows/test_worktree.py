"""A checkout of its own for a run that is tried a second time."""

import subprocess
import sys
from pathlib import Path

from flows import dvc
from flows.worktree import worktree
from tests.flows.mini import commit, git, repository


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


def test_a_remote_beside_the_project_is_found_from_there_too(tmp_path: Path) -> None:
    root = repository(tmp_path / "project")
    (root / ".dvc/config").write_text("[core]\n    remote = nas\n['remote \"nas\"']\n    url = ../../nas\n")
    commit(root)
    with worktree(root, "x") as (folder, env):
        (folder / "clip").write_text("moving")
        subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "clip"], cwd=folder, check=True)
        assert dvc.push(folder, lambda _: None, env) == "nas"
    assert [path.read_text() for path in (tmp_path / "nas").rglob("*") if path.is_file()] == ["moving"]
