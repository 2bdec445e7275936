"""Stages of an experiment, each a step of its own in a folder named after all that its outs depend on.

The folder is `<home>/<key>/<code>`. The key stands for the settings that dvc.yaml lists for the stage, the
clips, and the keys of the stages it goes on from; the code for the code that dvc.yaml lists for the stage,
and that of those it goes on from. So stages that begin alike are run once for all experiments of a home, and
nothing is made by one code and taken for the work of another. Settings at their defaults are not in the key:
defaults are code, and a new setting does not make other names.

With `keep`, what was finished by other code is used where today's has nothing; it is not `current` then.
"""

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from slimstream.catalog.manifest import group_columns
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.fingerprint import code_key, declared_code, stage_code, stages_of_graph
from slimstream.core.paths import Paths
from slimstream.experiments.runner import run_command
from slimstream.pipeline.params import Params
from slimstream.stages.ingest.reserved_folders import check_source

LINKED = ("data/split.parquet", "data/split.json", "models", "exports", "plots")
"""What a stage finds in its folder of what the stages before it have made."""
IN_NO_KEY = {"publish", "sweep"}
"""Sections that no stage of an experiment reads."""


def hash_key(*parts: object) -> str:
    """16 hex digits over `parts` as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def clips_key(clips: pd.DataFrame) -> str:
    """Of all that a split may go by: the clips, their contents, labels, near twins and group columns."""
    columns = ["id", "sha256", "label", "twin", *group_columns(clips)]
    return hash_key(clips[columns].astype(str).sort_values("id").to_numpy().tolist(), columns)


def settings_of(stage: str, params: Params) -> dict[str, Any]:
    """What dvc.yaml lists for `stage` of the settings in `params` that differ from their defaults."""
    changed = params.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if stage not in (graph := stages_of_graph()):
        return {name: value for name, value in changed.items() if name not in IN_NO_KEY}

    def look_up(found: Any, name: str) -> Any:
        return found.get(name, {}) if isinstance(found, dict) else {}

    return {name: reduce(look_up, name.split("."), changed) for name in graph[stage]["params"]}


def needed(stage: str, among: Sequence[str]) -> list[str]:
    """The stages of `among`, in their order, whose outs dvc.yaml lists among the deps of `stage`."""
    graph = stages_of_graph()
    if stage not in graph:
        return list(among[: among.index(stage)])
    deps = set(graph[stage]["deps"])
    return [name for name in among if name != stage and _outs(graph[name]) & deps]


def _outs(stage: Mapping[str, Any]) -> set[str]:
    """Paths of all that a stage of dvc.yaml makes; those with options are mappings of one key."""
    listed = [out for kind in ("outs", "plots", "metrics") for out in stage.get(kind, [])]
    return {out if isinstance(out, str) else next(iter(out)) for out in listed}


def choose(home: Path, name: str, code: str, mark: str, keep: bool) -> Path:
    """The folder below `home` for what is called `name` and made by `code`; it has the file `mark` when done.

    With `keep`, what is not done by this code but by another is taken from there, the newest of several.
    """
    folder = home / name / code
    if keep and not (folder / mark).exists() and (others := _marks(home / name, mark)):
        return others[-1].parent
    return folder


def _marks(folder: Path, mark: str) -> list[Path]:
    return sorted(folder.glob(f"*/{mark}"), key=lambda file: file.stat().st_mtime)


@dataclass(frozen=True, eq=False)
class StageRun:
    """A stage in its folder: a step of the runner."""

    stage: str
    folder: Path
    code: str
    """`stage_code` of the stage when this was planned."""
    current: bool
    """Made by today's code, and so is all that it goes on from."""
    before: tuple["StageRun", ...]
    settings: Mapping[str, Any] = field(repr=False)
    """All of params.yaml."""
    clips: pd.DataFrame = field(repr=False)
    links: Mapping[str, Path]
    """What it shares with others: names in its folder, and where they lead."""
    variables: Mapping[str, str]
    """Environment of its process."""

    @property
    def paths(self) -> Paths:
        return Paths(self.folder)

    @property
    def makes(self) -> Path:
        return self.folder / _mark(self.stage)

    @property
    def needs(self) -> tuple[Path, ...]:
        return tuple(run.makes for run in self.before)

    @property
    def alike(self) -> str:
        return self.stage

    @property
    def made_by_other_code(self) -> bool:
        """It is to be made although other code has made it."""
        return not self.makes.exists() and bool(_marks(self.folder.parent, self.makes.name))

    def seconds(self) -> float | None:
        return float(self.makes.read_text()) if self.makes.exists() else None

    def run(self, quietly: bool, cores: int | None) -> None:
        with locked(self.folder) as lock:
            if not self.makes.exists():  # another process may have made it meanwhile
                self._prepare_folder()
                run_stage(self.paths, self.stage, self.code, self.variables, quietly, cores, lock)

    def _prepare_folder(self) -> None:
        """Write params.yaml and the clips, and link what is shared and what the stages before have made."""
        self.paths.clips.parent.mkdir(parents=True, exist_ok=True)
        write_settings(self.paths, self.settings)
        self.clips.to_parquet(self.paths.clips)
        for name, source in self.links.items():
            link = self.folder / name
            if source.exists() and not link.exists():
                link.unlink(missing_ok=True)  # it led to where the project was before it was moved
                link.symlink_to(source.resolve())
        for run in self.before:
            for top in (run.folder / name for name in LINKED):
                for file in [top, *top.rglob("*")]:
                    linked = self.folder / file.relative_to(run.folder)
                    if file.is_file() and not linked.exists():
                        linked.parent.mkdir(parents=True, exist_ok=True)
                        os.link(file, linked)


@dataclass(frozen=True)
class Home:
    """Where the experiments of one kind keep their folders."""

    checkout: Paths
    kind: str
    """`tables` or `folds`."""
    keep: bool = False

    @property
    def folder(self) -> Path:
        return self.checkout.cache.absolute() / self.kind

    @cached_property
    def variables(self) -> dict[str, str]:
        """Environment of a stage's process: the table is what counts, not its runs in MLflow; and what frozen
        layers make of a clip is the same for all."""
        return {
            "SLIMSTREAM_TRACKING": "off",
            "SLIMSTREAM_CACHE": str(self.checkout.cache.resolve()),
            "SLIMSTREAM_SOURCE_ROOT": str(self.checkout.source_root.resolve()),
        }

    def plan(
        self,
        stage: str,
        params: Params,
        clips: pd.DataFrame,
        *,
        before: Sequence[StageRun] = (),
        inputs: object = None,
        links: Mapping[str, Path],
    ) -> StageRun:
        """The run of `stage` after those of `before`; nothing is made yet.

        `inputs` stands for what it reads besides, such as the clips.
        """
        made_from = [run.folder.parent.name for run in before]
        name = hash_key(stage, settings_of(stage, params), inputs, made_from)
        code = hash_key(stage_code(stage), [run.folder.name for run in before])
        folder = choose(self.folder, name, code, _mark(stage), self.keep)
        current = folder.name == code and all(run.current for run in before)
        lock = self.checkout.root.absolute() / "requirements.lock"
        settings = params.model_dump(mode="json", by_alias=True)
        return StageRun(
            stage,
            folder,
            stage_code(stage),
            current,
            tuple(before),
            settings,
            clips,
            {**links, lock.name: lock},
            self.variables,
        )


def report_stale_stages(who: str, runs: Iterable[StageRun]) -> None:
    """Say on stderr how many of `runs` are to be made although other code has made them."""
    again = {run.makes for run in runs if run.made_by_other_code}
    if again:
        print(
            f"{who}: finished stages made by other code, which are run again: {len(again)} (--keep uses "
            "them as they are; nothing is deleted).",
            file=sys.stderr,
            flush=True,
        )


def run_stage(
    paths: Paths,
    stage: str,
    code: str | None,
    variables: Mapping[str, str],
    quietly: bool,
    cores: int | None,
    lock: int,
) -> None:
    """Run `stage` as a process in the folder of `paths`, and note there the seconds that it took.

    `code` is the `stage_code` that the folder is named after: UserError when the files have another by now.
    """
    check_code(stage, code)
    command = [sys.executable, "-m", "slimstream", "--root", str(paths.root), stage]
    log = paths.root / f"{stage}.log" if quietly else None
    try:
        seconds = run_command(command, log, cores, lock, **variables)
    except UserError as error:
        raise UserError(f"stage {stage} failed in {paths.root}: {error}") from error
    check_code(stage, code)
    with atomic_write(paths.root / _mark(stage)) as file:
        file.write_text(str(seconds))


def prepare_source(params: Params, home: Paths, source: str, paths: Paths) -> None:
    """Scan, fetch and validate `source` in the folder of `home`, apart from the checkout's own clips.

    Stages that were finished there are not run again: remove their `.seconds` to look at the source anew.
    """
    check_source(source, paths)
    variables = Home(paths, "").variables
    with locked(home.root) as lock:
        write_settings(home, with_source(params, source).model_dump(mode="json", by_alias=True))
        for stage in ("scan", "ingest", "validate"):
            if not (home.root / _mark(stage)).exists():
                code = stage_code(stage) if stage in stages_of_graph() else None
                run_stage(home, stage, code, variables, False, None, lock)


def with_source(params: Params, source: str) -> Params:
    return params.model_copy(update={"ingest": params.ingest.model_copy(update={"source": source})})


def check_code(stage: str, code: str | None) -> None:
    """Raise UserError when the files of `stage` are not those of the key `code` (None: they may be any)."""
    if code not in (None, code_key(declared_code(stage))):
        raise UserError(
            f"the code of the stage {stage} has changed since this was started; run again to go on with it."
        )


def _mark(stage: str) -> str:
    """The file that is there when a stage is done: the seconds that it took."""
    return f"{stage}.seconds"


def write_settings(paths: Paths, settings: Mapping[str, Any]) -> None:
    with paths.params.open("w") as file:
        YAML(typ="safe").dump(dict(settings), file)


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Be the only one at work in `folder`; yields the lock's file descriptor.

    A process that gets it holds the lock until it ends, even when the one that started it is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
