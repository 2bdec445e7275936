"""A checkout of its own for a run that is tried a second time."""

from pathlib import Path

from flows.worktree import worktree
from tests.flows.mini import git, repository


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
