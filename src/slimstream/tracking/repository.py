"""The git repository that holds the project, if any."""

import subprocess

from slimstream.core.paths import Paths


def git(paths: Paths, *arguments: str) -> str | None:
    """The output of `git` in the project's root; None without git or a repository, or when it fails."""
    return _git(paths, *arguments) if in_git(paths) else None


def in_git(paths: Paths) -> bool:
    """Whether the project is in a git repository: its own, or a larger one that tracks its dvc.yaml.

    A copy of the project that was unpacked inside an unrelated repository is not in it.
    """
    if (paths.root / ".git").exists():
        return True
    return _git(paths, "ls-files", "--error-unmatch", "dvc.yaml") is not None


def _git(paths: Paths, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=paths.root,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # of a file in another encoding that `git diff` shows
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout
