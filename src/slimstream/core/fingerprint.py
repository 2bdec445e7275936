"""The hash of the code of a stage: part of the key of resumable trainings, packs and results of experiments.

The code of a stage is what dvc.yaml lists for it under `deps`; a change of it also makes DVC run the stage
again. So a change of `evaluate` does not affect a training, and a change of the training loop affects all
stages that train.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slimstream.core.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
GRAPH = PACKAGE.parents[1] / "dvc.yaml"
"""The dvc.yaml of the checkout that this code belongs to; the project's data may be elsewhere."""


def fingerprint(stage: str, texts: Iterable[str], files: Iterable[Path]) -> str:
    """Hash (16 hex digits) of the code of `stage`, of `texts`, and of names and contents of `files`.

    A missing file counts as empty. Raises UserError when dvc.yaml cannot be read.
    """
    digest = hashlib.sha256(stage_code(stage).encode())
    for text in texts:
        digest.update(text.encode())
    for path in files:
        digest.update(path.name.encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()[:16]


@cache
def stage_code(stage: str) -> str:
    """`code_key` of the code that `stage` depends on, computed at the first call in this process.

    Raises UserError when dvc.yaml cannot be read.
    """
    return code_key(declared_code(stage))


def declared_code(stage: str) -> list[Path]:
    """The files and folders of this package that dvc.yaml lists for `stage`.

    Without a dvc.yaml beside the package, or if it does not list `stage`, this is the whole package.
    """
    deps = stages_of_graph().get(stage, {}).get("deps", [])
    return [path for dep in deps if (path := GRAPH.parent / dep).is_relative_to(PACKAGE)] or [PACKAGE]


@cache
def stages_of_graph() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, in its order; empty where the package was installed without it.

    Raises UserError when the file cannot be read.
    """
    try:
        return dict(YAML(typ="safe").load(GRAPH.read_text())["stages"])
    except FileNotFoundError:
        return {}
    except (YAMLError, TypeError, KeyError) as error:
        raise UserError(f"{GRAPH} is not a dvc.yaml with stages: {' '.join(str(error).split())}") from error


def code_key(code: Iterable[Path]) -> str:
    """Hash (16 hex digits) of names and contents of all files in `code`: files and folders of this package.

    Compiled files, hidden files and backup files of editors are ignored.
    """
    digest = hashlib.sha256()
    for file in sorted({file for path in code for file in _files(path)}):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(PACKAGE).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for file in path.rglob("*"):
        names = file.relative_to(path).parts
        hidden = any(name == "__pycache__" or name.startswith(".") for name in names)
        if not hidden and not file.name.endswith("~") and file.is_file():
            yield file
