"""Garbage collection, `python -m slimstream gc`: find and delete data that nothing refers to any more.

Kept are the branch, the MLflow runs and the clips of every registered version, and everything that the
checkout, a git branch or a git tag refers to. The rest is deleted when it is older than a number of days.
DVC, MLflow and Prefect have their own commands for that (docs/operations.md, "Retention").
"""

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

from slimstream.catalog.listing import FileStat
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.registry import artifacts
from slimstream.stages.ingest.scan import parse_lock
from slimstream.stages.ingest.store import Store
from slimstream.tracking import address
from slimstream.tracking.database import ARTIFACTS, EXPERIMENT
from slimstream.tracking.pipeline import PARENT_TAG
from slimstream.tracking.repository import git
from slimstream.tracking.run import read_json
from slimstream.tracking.store import connect, own_login

DAYS = 30
KEY_PATTERN = r"[0-9a-f]{16}([0-9a-f]{48})?"
"""Names of our folders in the cache. SLIMSTREAM_CACHE may be a folder that holds other files too."""
RUN_PATTERN = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""Names of flow runs; their checkouts have the same names."""
TEMP_PATTERN = r"tmp\w{8}"
"""Names that `tempfile` gives to folders; one is left behind when a download is killed."""


@dataclass(frozen=True)
class Deletable:
    """Items of one kind that can be deleted."""

    name: str
    why: str
    items: list[str]
    bytes: int
    """Bytes that deletion frees. A file with several hard links counts as 0."""
    delete: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.name:10}{len(self.items):7}{self.bytes / 1e6:12,.1f} MB  {self.why}"


@dataclass(frozen=True)
class Branch:
    """A branch `runs/<id>` made by an isolated run. `committed` is a Unix time in seconds."""

    name: str
    committed: float
    worktree: str
    commits: frozenset[str]


def collect(paths: Paths, days: float = DAYS, also: Iterable[str] = ()) -> list[Deletable]:
    """Find everything that can be deleted, in the order of deletion. Only `Kind.delete` deletes.

    `days`: minimum age. `also`: further folders of the cache to empty. Raises UserError when a registry
    cannot be read, because its versions may still need the data.
    """
    before = time.time() - days * 86_400
    uris = _registries(paths)
    with _reachable():
        needed = _needed_by_versions(paths, uris)
        runs = _runs(paths, uris, needed, before)
    worktrees = [
        w for w in _folders(paths.cache / "worktrees", RUN_PATTERN) if _idle(w, before) and not _in_use(w)
    ]
    branches = _branches(paths)
    gone = [branch for branch in branches[1:] if _is_deletable(branch, needed, worktrees, before)]
    kinds = [
        _deletable_folders("worktrees", "checkouts that killed runs left", worktrees),
        Deletable(
            "branches",
            "runs/… that no registered version came from (the newest stays)",
            [branch.name for branch in gone],
            0,
            partial(_delete_branches, paths, gone),
        ),
        runs,
        _clips(paths, [branch.name for branch in gone], needed, before),
    ]
    # The extract stage removes its own old files.
    stages = [stage for stage in _folders(paths.cache / "work", r"\w+") if stage.name != "extract"]
    stages += _folders(paths.cache / "work/teachers", r"[\w-]+")
    for name, why, folders in (
        (
            "work",
            "states of trainings that nobody went on with",
            [f for s in stages for f in _folders(s, KEY_PATTERN)],
        ),
        (
            "trunk",
            "what frozen layers made of frames; made again when needed",
            _folders(paths.cache / "trunk", KEY_PATTERN),
        ),
        (
            "served",
            "versions that predict has fetched; fetched again when needed",
            _folders(paths.cache / "served", rf"([\w-]+-)?{KEY_PATTERN}|{TEMP_PATTERN}"),
        ),
    ):
        kinds.append(_deletable_folders(name, why, [folder for folder in folders if _idle(folder, before)]))
    for name in also:
        kinds.append(_deletable_folders(name, "asked for", _folders(paths.cache / name, KEY_PATTERN)))
    return kinds


def _registries(paths: Paths) -> list[str]:
    """URIs of all MLflow stores that may hold versions."""
    own = address.own_database(paths)
    files = paths.root / ARTIFACTS
    if not (own.is_file() and own.stat().st_size) and files.is_dir() and any(files.iterdir()):
        raise UserError(
            f"{own} is missing or empty, and {files} holds files of its versions, so nothing may go: put a "
            f"backup of it there, or move {ARTIFACTS} away, too."
        )
    return address.stores(paths)


@contextmanager
def _reachable() -> Iterator[None]:
    """Raise UserError when a registry cannot be read: without it nothing may be deleted."""
    try:
        yield
    except (UserError, OSError) as error:
        said = str(error).removesuffix(".")
        raise UserError(
            f"the registry does not say what its versions need, so nothing may go: {said}."
        ) from error


@contextmanager
def _client(paths: Paths, uri: str) -> Iterator[Any]:
    """A client of one of the registries, with its own login."""
    with own_login():
        yield connect(paths, uri)


def _needed_by_versions(paths: Paths, uris: list[str]) -> set[str]:
    """Return commits and MLflow run ids of the registered versions, and the run ids in runs/*.json."""
    needed: set[Any] = {read_json(file).get("run_id") for file in paths.run("x").parent.glob("*.json")}
    for uri in uris:
        with _client(paths, uri) as client:
            for version in _search_all(client.search_model_versions):
                needed |= {version.tags.get("git_commit"), version.run_id}
                if "form_sha256" in version.tags:  # published by slimstream
                    model = f"models:/{version.name}/{version.version}"
                    lineage = artifacts.read_artifact(uri, model, "lineage.json")
                    needed |= set(lineage["mlflow_runs"].values())
    return needed - {None, ""}


def _branches(paths: Paths) -> list[Branch]:
    """Return all branches of isolated runs, newest first."""
    form = "--format=%(refname:short)%09%(committerdate:unix)%09%(worktreepath)"
    listed = _asked(paths, "for-each-ref", "--sort=-committerdate", form, "refs/heads/runs")
    found = []
    for name, when, worktree in (line.split("\t") for line in listed.splitlines()):
        commits = _asked(paths, "rev-list", name, "^HEAD").split()
        found.append(Branch(name, float(when), worktree, frozenset(commits)))
    return found


def _asked(paths: Paths, *arguments: str) -> str:
    """What git says, "" where there is no repository. Raises UserError when it does not answer.

    Without its answer nothing would seem to be needed.
    """
    said = git(paths, *arguments)
    if said is None and any((folder / ".git").exists() for folder in (paths.root, *paths.root.parents)):
        raise UserError(
            f"git does not say what branches and versions need, so nothing may go: `git {arguments[0]}` in "
            f"{paths.root} says why."
        )
    return said or ""


def _is_deletable(branch: Branch, needed: set[str], worktrees: list[Path], before: float) -> bool:
    # A worktree may be deleted, or the project may have moved; then it does not protect its branch.
    checkout = Path(branch.worktree).resolve() if branch.worktree else None
    free = checkout is None or not checkout.exists() or checkout in [w.resolve() for w in worktrees]
    return free and branch.committed < before and not branch.commits & needed


def _delete_branches(paths: Paths, branches: list[Branch]) -> None:
    git(paths, "worktree", "prune")
    for branch in branches:
        if git(paths, "branch", "-D", branch.name) is None:
            raise UserError(f"git does not delete the branch {branch.name}; `git branch -D` says why.")


def _runs(paths: Paths, uris: list[str], needed: set[str], before: float) -> Deletable:
    """Return old MLflow runs of no registered version. Deleted runs stay on disk until `mlflow gc`.

    Runs that are nested in a needed run are needed too, and so is the run that a needed one is nested in.
    """
    found: dict[str, list[str]] = {}
    for uri in uris:
        with _client(paths, uri) as client:
            if experiment := client.get_experiment_by_name(EXPERIMENT):
                old = partial(
                    client.search_runs,
                    [experiment.experiment_id],
                    f"attributes.start_time < {int(before * 1000)}",
                    max_results=1000,
                )
                parents = {run.info.run_id: run.data.tags.get(PARENT_TAG) for run in _search_all(old)}
                kept = needed | ({parents[run] for run in needed & parents.keys()} - {None})
                found[uri] = [run for run, parent in parents.items() if not {run, parent} & kept]

    def delete() -> None:
        for uri, runs in found.items():
            with _client(paths, uri) as client:
                for run in runs:
                    client.delete_run(run)

    why = "MLflow runs of no registered version (into MLflow's bin; `mlflow gc` empties it)"
    return Deletable("runs", why, [run for runs in found.values() for run in runs], 0, delete)


def _clips(paths: Paths, gone: list[str], needed: set[str], before: float) -> Deletable:
    """Return stored clips that no source.lock.json lists: not here, on a branch or tag, nor of a version."""
    name = "clips"
    why = "fetched clips that no source.lock.json names any more"
    if not paths.store.exists():
        return Deletable(name, why, [], 0, lambda: None)
    store = Store(paths.store)
    clips = store.unnamed(_referenced_clips(paths, gone, needed), before)

    def delete() -> None:
        store.forget(clips)

    return Deletable(name, why, [str(clip) for clip in clips], sum(map(_freed_bytes, clips)), delete)


def _referenced_clips(paths: Paths, gone: list[str], needed: set[str]) -> Iterator[tuple[str, FileStat]]:
    here = [
        paths.source_lock,
        *paths.cache.glob("*/source.lock.json"),
        *paths.cache.glob("*/*/source.lock.json"),
    ]
    texts = {str(file): file.read_text(encoding="utf-8") for file in here if file.exists()}
    refs = _asked(paths, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").split()
    for revision in ["HEAD", *(ref for ref in refs if ref not in gone), *needed]:
        texts[f"{revision}:source.lock.json"] = git(paths, "show", f"{revision}:./source.lock.json") or ""
    for name, text in texts.items():
        if text:
            yield from ((item.key, item.stat) for item in parse_lock(text, name).listing.items)


def _search_all(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield the results of all pages of an MLflow search."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        if not (token := page.token):
            return


def _deletable_folders(name: str, why: str, folders: list[Path]) -> Deletable:
    def delete() -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    sizes = (_freed_bytes(file) for folder in folders for file in folder.rglob("*"))
    return Deletable(name, why, [str(folder) for folder in folders], sum(sizes), delete)


def _folders(folder: Path, names: str) -> list[Path]:
    """Return the folders in `folder` whose full name matches the pattern `names`, without symbolic links."""
    found = (entry for entry in folder.glob("*") if re.fullmatch(names, entry.name))
    return sorted(entry for entry in found if entry.is_dir() and not entry.is_symlink())


def _idle(folder: Path, before: float) -> bool:
    """Return True when no file in `folder` was modified after `before` (Unix time in seconds)."""
    return all(file.lstat().st_mtime < before for file in (folder, *folder.rglob("*")))


def _in_use(folder: Path) -> bool:
    """Return True when a process has its working directory there. A long training may look idle."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(folder.resolve()):
                return True
    return False


def _freed_bytes(file: Path) -> int:
    found = file.lstat()
    return found.st_size if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else 0
