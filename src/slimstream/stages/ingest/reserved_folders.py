"""Folders of the pipeline and of the project itself: none of them may be a source of clips.

The outputs of a stage are emptied before it runs, so clips in them would be lost. DVC empties them, except
data/ingested (`persist` in dvc.yaml), which `ingest` empties itself after `check_ingested`.
"""

import configparser
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.simulated import SIMULATED

PROJECT = (
    *(".ci", ".dvc", ".git", ".prefect", ".services", ".slimstream", ".venv"),
    *("benchmarks", "docs", "flows", "infra", "recipes", "src", "tests"),
    *("mlartifacts", "mlruns"),
)
"""Folders of a checkout that are not outputs of stages."""
_EMPTIES = "which the pipeline makes and empties"
_KEEPS = "in which the pipeline keeps its own copies and states"
_BELONGS = "which belongs to the project itself"


def check_source(uri: str, paths: Paths) -> None:
    """Refuse a source folder that is, lies in or contains a folder of the project, before anything changes.

    Links are resolved on both sides, and folders are also compared by inode (bind mounts, other spellings).
    Sources that are no folder on this machine (a simulated plant, s3://…) are accepted. Raises UserError.
    """
    if uri in SIMULATED or "://" in uri:
        return
    source = source_folder(uri, paths.source_root)
    above = _inodes(source)
    for own, why in _reserved(source, paths):
        place = own.resolve()
        if source.is_relative_to(place) or _inode(place) in above:
            how = "is" if source == place or _inode(source) == _inode(place) else "lies in"
        elif place.is_relative_to(source) or _inode(source) in _inodes(place):
            how = "contains"
        else:
            continue
        raise UserError(
            f"{uri or source} cannot be the source: it {how} {own}, {why}; "
            "keep your clips in a folder of their own and name that."
        )


def source_folder(uri: str, root: Path) -> Path:
    """The folder `uri` with links resolved; a relative path is below `root`.

    Raises UserError when it cannot be resolved.
    """
    try:
        return (root / Path(uri).expanduser()).resolve()
    except (RuntimeError, ValueError, OSError) as error:  # ~nobody, a loop of links
        raise UserError(f"{uri!r} cannot be the source: {error}.") from error


def check_ingested(paths: Paths) -> None:
    """Raise UserError when data/ingested, which will be emptied, holds files that `ingest` did not put there.

    Files of `ingest` are recognised by their names, made by `manifest.clip_id`.
    """
    if not paths.ingested.is_dir():
        return
    with os.scandir(paths.ingested) as entries:
        ours = re.compile(r"\..*|.+-[0-9a-f]{8}(\.\w+)?")  # or hidden files, such as those of file managers
        strange = sorted(e.name for e in entries if not ours.fullmatch(e.name) or e.is_dir())
    if strange:
        raise UserError(
            f"{paths.ingested} holds {strange[0]!r}, which the pipeline did not make, and every run empties "
            "this folder: move what is yours to a folder of its own."
        )


def stage_outputs(root: Path) -> list[Path]:
    """Files and folders that the stages of `root`'s dvc.yaml write: outs, metrics and plots.

    Empty without a dvc.yaml. Raises UserError when it cannot be read.
    """
    found: list[Path] = []
    for stage in stages(root / "dvc.yaml"):
        stage = stage.get("do", stage)  # a foreach or matrix
        for entry in (e for kind in ("outs", "metrics", "plots") for e in stage.get(kind) or ()):
            (name,) = entry if isinstance(entry, dict) else [entry]
            found.append(root / stage.get("wdir", "") / str(name))
    return found


def stages(file: Path) -> list[dict[str, Any]]:
    """The stages of a dvc.yaml or dvc.lock; empty without the file. Raises UserError when it is not YAML."""
    from ruamel.yaml import YAML, YAMLError

    if not file.is_file():
        return []
    try:
        content = YAML(typ="safe").load(file.read_text(encoding="utf-8")) or {}
        return [stage for stage in content.get("stages", {}).values() if isinstance(stage, dict)]
    except (YAMLError, AttributeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read (a merge gone wrong?): mend it first.") from error


def dvc_cache(root: Path) -> Path:
    """Folder of DVC's cache for the project `root`: `cache.dir` of its configuration."""
    place, folder = "cache", root / ".dvc"
    for file in (_dvc_home() / "config", folder / "config", folder / "config.local"):
        config = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            config.read(file)
        except (configparser.Error, UnicodeDecodeError):  # DVC reports it
            continue
        place = config.get("cache", "dir", fallback=place)
    return Path(os.path.normpath(folder / Path(place).expanduser()))


def _dvc_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "dvc"


def _reserved(source: Path, paths: Paths) -> Iterator[tuple[Path, str]]:
    """Every folder of the project with its purpose, for all checkouts that the source may lie in."""
    if not (paths.root / "dvc.yaml").is_file():  # a folder of `folds` or `tables`
        made = (paths.ingested, paths.packs, paths.validation, paths.exports)
        named = (paths.root / name for name in ("models", "metrics", "plots", "runs"))
        yield from ((path, _EMPTIES) for path in (*made, *named))
    yield paths.cache, _KEEPS
    roots = [paths.root, paths.source_root]
    # An isolated run works in its own checkout, and the user may have further checkouts.
    roots += [above for above in (source, *source.parents) if (above / "src/slimstream").is_dir()]
    for root in dict.fromkeys(root.resolve() for root in roots):
        if not (root / "dvc.yaml").is_file():
            continue
        yield from ((out, _EMPTIES) for out in stage_outputs(root))
        yield dvc_cache(root), _KEEPS
        yield from ((root / name, _BELONGS) for name in PROJECT)


def _inodes(path: Path) -> set[tuple[int, int]]:
    """Inodes of the folder and of all folders above it."""
    return {found for folder in (path, *path.parents) if (found := _inode(folder))}


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
