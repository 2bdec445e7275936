"""Which code made this: the one key for trainings half done, finished packs and the results of experiments.

The code of a stage is what dvc.yaml lists for it under `deps`, the same that makes DVC run it again. So a
change of `evaluate` leaves a training alone, and a change of the training loop is seen by all that trains.
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
"""The dvc.yaml of the checkout that this code is run from, wherever the project's data lie."""


def fingerprint(stage: str, texts: Iterable[str], files: Iterable[Path]) -> str:
    """16 hex digits over the code of `stage`, `texts`, and names and contents of `files`.

    A file that is missing counts as empty.
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
    """`code_key` of the code that `stage` depends on, as it was when this process first asked.

    Raises UserError when dvc.yaml cannot be read.
    """
    return code_key(declared_code(stage))


def declared_code(stage: str) -> list[Path]:
    """The files and folders of this package that dvc.yaml lists for `stage`.

    Where there is no dvc.yaml beside the package, or none that knows `stage`, it is the whole package.
    """
    deps = stages_of_graph().get(stage, {}).get("deps", [])
    return [path for dep in deps if (path := GRAPH.parent / dep).is_relative_to(PACKAGE)] or [PACKAGE]


@cache
def stages_of_graph() -> dict[str, dict[str, Any]]:
    """The stages of dvc.yaml, in its order; empty where the package was installed without it."""
    try:
        return dict(YAML(typ="safe").load(GRAPH.read_text())["stages"])
    except FileNotFoundError:
        return {}
    except (YAMLError, TypeError, KeyError) as error:
        raise UserError(f"{GRAPH} is not a dvc.yaml with stages: {' '.join(str(error).split())}") from error


def code_key(code: Iterable[Path]) -> str:
    """16 hex digits over the files in `code`, files or folders of this package: their names and contents.

    Compiled files, hidden ones and what editors leave beside a file do not count.
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
