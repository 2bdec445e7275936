"""A separate checkout for a deployed run, so that the user's checkout is not changed.

It shares the DVC cache, the clip store and the registry with the main checkout. The run leaves a branch
`runs/<id>` with its params.yaml, source.lock.json and dvc.lock.
"""

import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.tracking.address import found_servers, tracking_uri
from slimstream.tracking.repository import in_git

KEPT = ("params.yaml", "source.lock.json", "dvc.lock")
STATE = ("source.lock.json", "dvc.lock")
"""State of the last run: without it a clip that was in a test part might be trained on."""
SPLIT = ("data/split.parquet", "data/split.json", "data/manifest.parquet")
"""Outputs of the last run that give its test clips with their contents and groups."""


@contextmanager
def worktree(main: Path, run_id: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the folder and the environment of an isolated run; its branch is kept only if it has a commit.

    Raises UserError without a git repository or a commit, and when git fails.
    """
    main = main.resolve()
    if not in_git(Paths(main)):
        raise UserError(f"No git repository holds {main}, and {_WANTED}, or run without --isolated.")
    if not _git(main, "rev-list", "-n", "1", "--all"):
        raise UserError(f"Nothing is committed in {main} yet, and {_WANTED}, or run without --isolated.")
    folder, branch = Paths(main).cache.resolve() / "worktrees" / run_id, f"runs/{run_id}"
    _remove_leftovers(main, folder, branch)
    last, start = _last_run(main), _git(main, "rev-parse", "HEAD")
    _git(main, "worktree", "add", "--quiet", "-b", branch, str(folder), start)
    root = folder / _git(main, "rev-parse", "--show-prefix")  # the project may be a folder of its repository
    try:
        if last:
            for file in STATE:
                subprocess.run(["git", "checkout", "-q", last, "--", file], cwd=root, capture_output=True)
        _share_cache(main, root)
        # DVC's run cache does not contain outputs with `persist`. Without this checkout, `ingest` would run
        # without need and leave a branch.
        _dvc(root, "checkout", "--quiet", "ingest")
        # The scan needs the last split, because its test clips must stay test; a new machine has it in the
        # remote only.
        for command in ("checkout", "pull"):
            if _dvc(root, command, "--quiet", *SPLIT):
                break
        yield (
            root,
            {
                "SLIMSTREAM_CACHE": str(Paths(main).cache.resolve()),
                "SLIMSTREAM_SOURCE_ROOT": str(main),
                **found_servers(Paths(main)),
                "MLFLOW_TRACKING_URI": tracking_uri(Paths(main)),
            },
        )
    finally:
        _git(main, "worktree", "remove", "--force", str(folder))
        if _git(main, "rev-parse", branch) == start:
            _git(main, "branch", "-q", "-D", branch)


def commit(folder: Path, message: str) -> str:
    """Commit the files KEPT of a run, if any has changed; returns the hash of the last commit."""
    _git(folder, "add", *(name for name in KEPT if (folder / name).exists()))
    if _git(folder, "diff", "--cached", "--name-only"):
        who = [] if _git(folder, "config", "--default", "", "user.email") else _SOMEBODY
        _git(folder, *who, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "-m", message)
    return _git(folder, "rev-parse", "HEAD")


_SOMEBODY = ["-c", "user.name=slimstream", "-c", "user.email=slimstream@localhost"]


def _remove_leftovers(main: Path, folder: Path, branch: str) -> None:
    """Remove the checkout and the branch of an earlier attempt at the same run that was killed."""
    if folder.exists():
        subprocess.run(
            ["git", "worktree", "remove", "--force", "--force", str(folder)], cwd=main, capture_output=True
        )
        shutil.rmtree(folder, ignore_errors=True)
    _git(main, "worktree", "prune")
    subprocess.run(["git", "branch", "-q", "-D", branch], cwd=main, capture_output=True)


def _last_run(main: Path) -> str:
    """The branch of the last run; "" without one, or if the user has since committed source.lock.json."""
    newest = _git(
        main,
        "for-each-ref",
        "--sort=-committerdate",
        "--count=1",
        "--format=%(committerdate:unix) %(refname)",
        "refs/heads/runs",
    )
    ours = _git(main, "log", "-1", "--format=%ct", "--", "source.lock.json") or "0"
    when, _, branch = newest.partition(" ")
    return branch if branch and int(when) >= int(ours) else ""


def _share_cache(main: Path, folder: Path) -> None:
    """Configure DVC in the worktree with the main checkout's cache, remotes and credentials."""
    local = main / ".dvc" / "config.local"
    target = folder / ".dvc" / "config.local"
    if local.exists():
        shutil.copy(local, target)  # keeps its mode, because it may contain credentials
    known = configparser.ConfigParser(interpolation=None)
    known.read([main / ".dvc" / "config", target])
    known.read_dict({"cache": {"dir": known.get("cache", "dir", fallback="cache")}})
    config = configparser.ConfigParser(interpolation=None)
    config.read(target)
    for section in known.sections():
        # Paths are relative to the folder of the configuration file, which is another one here.
        for key in ("dir", "url", "credentialpath", "configpath"):
            if (place := known.get(section, key, fallback="")) and "://" not in place:
                config.read_dict({section: {key: os.path.normpath(main / ".dvc" / place)}})
    with target.open("w") as out:
        config.write(out)


def _dvc(root: Path, *arguments: str) -> bool:
    """Run DVC; returns whether it succeeded."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return not subprocess.run(command, cwd=root, capture_output=True).returncode


def _git(folder: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError as error:
        raise UserError("git is not installed, and a scheduled or isolated run needs it.") from error
    if answer.returncode:
        raise UserError(f"`git {arguments[0]}` failed in {folder}: {answer.stderr.strip()}")
    return answer.stdout.strip()


_WANTED = (
    "a scheduled or isolated run works in a checkout of a commit: "
    "`git init && git add -A && git commit -m start`"
)
