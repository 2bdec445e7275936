"""What git says, whatever the files hold."""

from pathlib import Path

from slimstream.core.paths import Paths
from slimstream.tracking.repository import git
from tests.flows import mini_project


def test_a_change_in_a_file_of_another_encoding_can_be_shown(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    mini_project.git(root, "init", "-q")
    mini_project.git(root, "config", "user.name", "t")
    mini_project.git(root, "config", "user.email", "t@localhost")
    (root / "a.csv").write_text("x")
    mini_project.commit(root)
    (root / "a.csv").write_bytes("f\u00fcr".encode("latin-1"))
    assert "+f\ufffdr" in (git(Paths(root), "diff", "HEAD") or "")
