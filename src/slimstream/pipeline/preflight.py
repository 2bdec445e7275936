"""Checks of all stages before the first one runs, so that no later stage refuses the settings or the clips.

A stage may have a function `preflight` beside its `run`. Its parameters are the sections of params.yaml that
it checks (also those of other stages) and facts about the clips, as named in FACTS. It raises UserError, or
returns sentences for the user.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from slimstream.core.files import atomic_write
from slimstream.core.fingerprint import PACKAGE, code_key, fingerprint
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES, Stage, call

FACTS = ("items", "keys", "classes", "split_hash")
"""Facts about the clips: listed items and their keys, names of the classes, hash of the split."""


def preflight(
    params: Params, paths: Paths, stages: Iterable[Stage] = STAGES.values(), **facts: Any
) -> list[str]:
    """Call the checks of `stages`; return sentences for the user. Raises UserError when a check fails.

    Without `facts` the checks that need settings only are called. With some of FACTS the checks are called
    that have one of them as a parameter, and for which no parameter without a default is missing.
    """
    told: list[str] = []
    for stage in stages:
        ask = getattr(stage.module, "preflight", None)
        named = {} if ask is None else {n: p for n, p in signature(ask).parameters.items() if n in FACTS}
        lacking = any(p.default is Parameter.empty and name not in facts for name, p in named.items())
        if ask is None or lacking or (facts and not named.keys() & facts.keys()):
            continue
        told += call(ask, params, paths=paths, **facts) or []
    return told


def before_training(params: Params, paths: Paths) -> None:
    """Check the settings and, where there is a split, its classes and hash. Raises UserError."""
    check_settings(params, paths)
    if paths.split_info.exists():
        info = json.loads(paths.split_info.read_text())
        _check_once("split", params, paths, classes=info["classes"], split_hash=info["hash"])


def check_settings(params: Params, paths: Paths) -> None:
    """Check what needs the settings only. Raises UserError."""
    _check_once("settings", params, paths)


def _check_once(name: str, params: Params, paths: Paths, **facts: Any) -> None:
    """Call `preflight` unless it has passed before for the same settings, facts, code, libraries and files.

    The checks build and trace networks, which takes seconds in every stage that trains. `name` is the file
    in the cache that holds the hash of what has passed.
    """
    settings = params.model_dump(mode="json", by_alias=True)
    files = {str(file): _state(file) for file in _named_files(settings, paths)}
    lock = paths.root / "requirements.lock"
    key = fingerprint(name, [code_key([PACKAGE]), json.dumps([settings, facts, files])], [lock])
    passed = paths.cache / "preflight" / name
    if passed.is_file() and passed.read_text() == key:
        return
    preflight(params, paths, **facts)
    with atomic_write(passed) as half:
        half.write_text(key)


def _named_files(settings: Any, paths: Paths) -> Iterator[Path]:
    """The files and folders that settings name, such as weights and teachers, but not the source."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name != "ingest":
                yield from _named_files(value, paths)
    elif isinstance(settings, list):
        for value in settings:
            yield from _named_files(value, paths)
    elif isinstance(settings, str) and settings:
        for file in (Path(settings), paths.source_root / settings):
            with suppress(OSError):  # a text too long for a path, or a file that may not be seen
                if file.exists():
                    yield file


def _state(file: Path) -> list[Any]:
    """Size and time of change of a file, or of the files in a folder."""
    if file.is_dir():
        return sorted([child.name, *_state(child)] for child in file.iterdir() if child.is_file())
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]
