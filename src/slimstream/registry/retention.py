"""What a project that runs for years may throw away: `python -m slimstream gc`.

A registered version keeps its branch, its MLflow runs and its clips. So does whatever the checkout, a branch
or a tag of git names. Of the rest goes what is older than so many days. DVC, MLflow and Prefect free their
own disk by commands of their own (docs/operations.md, "Retention").
"""

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from slimstream.catalog.listing import Stat
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.registry import artifacts
from slimstream.stages.ingest.scan import parse_lock
from slimstream.stages.ingest.store import Store
from slimstream.tracking import run as tracking
from slimstream.tracking.database import ARTIFACTS, EXPERIMENT, database
from slimstream.tracking.run import git, read_json
from slimstream.tracking.store import open_store

DAYS = 30
KEY = r"[0-9a-f]{16}([0-9a-f]{48})?"
"""What folders in the cache are called. SLIMSTREAM_CACHE may name a folder that holds others, too."""
RUN = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""What a flow run, and so its checkout, is called."""
HALF = r"tmp\w{8}"
"""What `tempfile` calls a folder: a fetch that was killed."""


@dataclass(frozen=True)
class Kind:
    """Things of one kind that may go."""

    name: str
    why: str
    items: list[str]
    bytes: int
    """What deleting them frees here: of a file with another name elsewhere, nothing."""
    delete: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.name:10}{len(self.items):7}{self.bytes / 1e6:12,.1f} MB  {self.why}"


@dataclass(frozen=True)
class Branch:
    """A branch `runs/<id>` that an isolated run left."""

    name: str
    committed: float
    worktree: str
    commits: frozenset[str]


def collect(paths: Paths, days: float = DAYS, also: Iterable[str] = ()) -> list[Kind]:
    """All that may go, in the order in which it must: nothing is deleted before `Kind.delete` is called.

    Raises UserError when it cannot be known what the registered versions need.
    """
    before = time.time() - days * 86_400
    uris = _registries(paths)
    with _answering():
        stores = [open_store(uri) for uri in uris]
        needed = _needed(paths, stores)
        runs = _runs(stores, needed, before)
    worktrees = [w for w in _folders(paths.cache / "worktrees", RUN) if _idle(w, before) and not _in_use(w)]
    branches = _branches(paths)
    gone = [branch for branch in branches[1:] if _may_go(branch, needed, worktrees, before)]
    kinds = [
        _folder_kind("worktrees", "checkouts that killed runs left", worktrees),
        Kind(
            "branches",
            "runs/… that no registered version came from (the newest stays)",
            [branch.name for branch in gone],
            0,
            partial(_delete_branches, paths, gone),
        ),
        runs,
        _clips(paths, [branch.name for branch in gone], needed, before),
    ]
    # Extract tidies up after itself.
    stages = [stage for stage in _folders(paths.cache / "work", r"\w+") if stage.name != "extract"]
    stages += _folders(paths.cache / "work/teachers", r"[\w-]+")
    for name, why, folders in (
        (
            "work",
            "states of trainings that nobody went on with",
            [f for s in stages for f in _folders(s, KEY)],
        ),
        (
            "trunk",
            "what frozen layers made of frames; made again when needed",
            _folders(paths.cache / "trunk", KEY),
        ),
        (
            "served",
            "versions that predict has fetched; fetched again when needed",
            _folders(paths.cache / "served", f"{KEY}|{HALF}"),
        ),
    ):
        kinds.append(_folder_kind(name, why, [folder for folder in folders if _idle(folder, before)]))
    for name in also:
        kinds.append(_folder_kind(name, "asked for", _folders(paths.cache / name, KEY)))
    return kinds


def _registries(paths: Paths) -> list[str]:
    """Every store that may hold versions of this checkout: the one in use, and the one in its own folder."""
    if (paths.root / ".services/settings.json").exists() and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UserError(
            "the servers of `make up` hold the registry, and MLFLOW_TRACKING_URI does not name it: "
            "`python -m infra.services exec python -m slimstream gc`."
        )
    own = database(tracking.own_uri(paths))
    files = paths.root / ARTIFACTS
    if own and not (own.is_file() and own.stat().st_size) and files.is_dir() and any(files.iterdir()):
        raise UserError(
            f"{own} is missing or empty, and {files} holds files of its versions, so nothing may go: put a "
            f"backup of it there, or move {ARTIFACTS} away, too."
        )
    uris = dict.fromkeys([tracking.tracking_uri(paths), tracking.own_uri(paths)])
    return [uri for uri in uris if (file := database(uri)) is None or file.exists()]


@contextmanager
def _answering() -> Iterator[None]:
    """A registry that does not answer is no registry without versions."""
    try:
        yield
    except (UserError, OSError) as error:
        said = str(error).removesuffix(".")
        raise UserError(
            f"the registry does not say what its versions need, so nothing may go: {said}."
        ) from error


def _needed(paths: Paths, stores: list[Any]) -> set[str]:
    """Commits and MLflow runs that registered versions came from, and runs behind the checkout's files."""
    needed: set[Any] = {read_json(file).get("run_id") for file in paths.run("x").parent.glob("*.json")}
    for client in stores:
        for version in _pages(client.search_model_versions):
            needed |= {version.tags.get("git_commit"), version.run_id}
            if "network_sha256" in version.tags:  # one of ours
                model = f"models:/{version.name}/{version.version}"
                lineage = artifacts.read_artifact(client.tracking_uri, model, "lineage.json")
                needed |= set(lineage["mlflow_runs"].values())
    return needed - {None, ""}


def _branches(paths: Paths) -> list[Branch]:
    """All branches of isolated runs, the newest first."""
    form = "--format=%(refname:short)%09%(committerdate:unix)%09%(worktreepath)"
    listed = git(paths, "for-each-ref", "--sort=-committerdate", form, "refs/heads/runs") or ""
    found = []
    for name, when, worktree in (line.split("\t") for line in listed.splitlines()):
        commits = (git(paths, "rev-list", name, "^HEAD") or "").split()
        found.append(Branch(name, float(when), worktree, frozenset(commits)))
    return found


def _may_go(branch: Branch, needed: set[str], worktrees: list[Path], before: float) -> bool:
    # A worktree that is gone, or lies where the project was before it was moved, holds nothing back.
    checkout = Path(branch.worktree).resolve() if branch.worktree else None
    free = checkout is None or not checkout.exists() or checkout in [w.resolve() for w in worktrees]
    return free and branch.committed < before and not branch.commits & needed


def _delete_branches(paths: Paths, branches: list[Branch]) -> None:
    git(paths, "worktree", "prune")
    for branch in branches:
        if git(paths, "branch", "-D", branch.name) is None:
            raise UserError(f"git does not delete the branch {branch.name}; `git branch -D` says why.")


def _runs(stores: list[Any], needed: set[str], before: float) -> Kind:
    """Runs in MLflow; deleted ones lie in its bin until `mlflow gc` empties it."""
    found: list[tuple[Any, str]] = []
    for client in stores:
        if experiment := client.get_experiment_by_name(EXPERIMENT):
            old = partial(
                client.search_runs,
                [experiment.experiment_id],
                f"attributes.start_time < {int(before * 1000)}",
                max_results=1000,
            )
            found += [(client, run.info.run_id) for run in _pages(old) if run.info.run_id not in needed]

    def delete() -> None:
        for client, run in found:
            client.delete_run(run)

    why = "MLflow runs of no registered version (into MLflow's bin; `mlflow gc` empties it)"
    return Kind("runs", why, [run for _, run in found], 0, delete)


def _clips(paths: Paths, gone: list[str], needed: set[str], before: float) -> Kind:
    """Clips of the store that no source.lock.json names: here, on a branch or tag, or behind a version."""
    name = "clips"
    why = "fetched clips that no source.lock.json names any more"
    if not paths.store.exists():
        return Kind(name, why, [], 0, lambda: None)
    store = Store(paths.store)
    clips = store.unnamed(_named(paths, gone, needed), before)

    def delete() -> None:
        store.forget(clips)

    return Kind(name, why, [str(clip) for clip in clips], sum(map(_freed, clips)), delete)


def _named(paths: Paths, gone: list[str], needed: set[str]) -> Iterator[tuple[str, Stat]]:
    here = [
        paths.source_lock,
        *paths.cache.glob("*/source.lock.json"),
        *paths.cache.glob("*/*/source.lock.json"),
    ]
    texts = {str(file): file.read_text(encoding="utf-8") for file in here if file.exists()}
    refs = (git(paths, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") or "").split()
    for revision in ["HEAD", *(ref for ref in refs if ref not in gone), *needed]:
        texts[f"{revision}:source.lock.json"] = git(paths, "show", f"{revision}:./source.lock.json") or ""
    for name, text in texts.items():
        if text:
            yield from ((item.key, item.stat) for item in parse_lock(text, name).listing.items)


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    """All that a search of MLflow's client finds."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        if not (token := page.token):
            return


def _folder_kind(name: str, why: str, folders: list[Path]) -> Kind:
    def delete() -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    sizes = (_freed(file) for folder in folders for file in folder.rglob("*"))
    return Kind(name, why, [str(folder) for folder in folders], sum(sizes), delete)


def _folders(folder: Path, names: str) -> list[Path]:
    """The folders in `folder` whose whole name is as the pattern `names` says; a link is none."""
    found = (entry for entry in folder.glob("*") if re.fullmatch(names, entry.name))
    return sorted(entry for entry in found if entry.is_dir() and not entry.is_symlink())


def _idle(folder: Path, before: float) -> bool:
    """Whether nothing in it was written since."""
    return all(file.lstat().st_mtime < before for file in (folder, *folder.rglob("*")))


def _in_use(folder: Path) -> bool:
    """Whether a process works there: a run may train for longer than it takes to seem old."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder.resolve()):
                return True
    return False


def _freed(file: Path) -> int:
    found = file.lstat()
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0
