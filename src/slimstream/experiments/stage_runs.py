"""Stages of an experiment: each is a step in a folder that is named after everything its outputs depend on.

The folder is `<home>/<key>/<code>`. `<key>` is a hash of the settings that dvc.yaml lists for the stage, the
clips, and the keys of the stages before it. `<code>` is a hash of the code that dvc.yaml lists for the stage
and for the stages before it. So experiments with the same first stages share them, and results of different
code are never mixed. Settings with default values are not part of the key: defaults are part of the code, and
so a new setting does not change the keys.

With `keep`, results of other code are used where there are none of the present code; they are not `current`.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from slimstream.catalog.manifest import group_columns
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write, locked
from slimstream.core.fingerprint import code_key, declared_code, stage_code, stages_of_graph
from slimstream.core.paths import Paths
from slimstream.core.schema import look_up
from slimstream.core.simulated import SIMULATED
from slimstream.experiments.runner import run_command
from slimstream.pipeline.params import Params
from slimstream.stages.ingest.reserved_folders import check_source

LINKED = ("data/split.parquet", "data/split.json", "data/search.json", "models", "exports", "plots")
"""Outputs of the stages before it that a stage finds in its folder."""
IN_NO_KEY = {"publish", "search"}
"""Sections that no stage of an experiment reads."""


def hash_key(*parts: object) -> str:
    """Hash (16 hex digits) of `parts` as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def clips_key(clips: pd.DataFrame) -> str:
    """Hash of everything that a split depends on: ids, contents, labels, near twins and group columns."""
    columns = ["id", "sha256", "label", "twin", *group_columns(clips)]
    return hash_key(clips[columns].astype(str).sort_values("id").to_numpy().tolist(), columns)


def settings_of(stage: str, params: Params) -> dict[str, Any]:
    """The settings that dvc.yaml lists for `stage`, as far as `params` differs from the defaults."""
    changed = params.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if stage not in (graph := stages_of_graph()):
        return {name: value for name, value in changed.items() if name not in IN_NO_KEY}
    found: dict[str, Any] = {name: {} for name in graph[stage]["params"]}
    for name in found:
        with suppress(KeyError):  # all of it has the default values
            found[name] = look_up(changed, name)
    return found


def needed(stage: str, among: Sequence[str]) -> list[str]:
    """The stages of `among`, in their order, with outputs that dvc.yaml lists among the deps of `stage`."""
    graph = stages_of_graph()
    if stage not in graph:
        return list(among[: among.index(stage)])
    deps = set(graph[stage]["deps"])
    return [name for name in among if name != stage and _outs(graph[name]) & deps]


def _outs(stage: Mapping[str, Any]) -> set[str]:
    """Paths of all outputs of a stage of dvc.yaml; entries with options are mappings with one key."""
    listed = [out for kind in ("outs", "plots", "metrics") for out in stage.get(kind, [])]
    return {out if isinstance(out, str) else next(iter(out)) for out in listed}


def choose(home: Path, name: str, code: str, mark: str, keep: bool) -> Path:
    """The folder `home`/`name`/`code`; a result is finished when it contains the file `mark`.

    With `keep`, if this one is not finished, the newest finished folder of another code is returned.
    """
    folder = home / name / code
    if keep and not (folder / mark).exists() and (others := _marks(home / name, mark)):
        return others[-1].parent
    return folder


def _marks(folder: Path, mark: str) -> list[Path]:
    return sorted(folder.glob(f"*/{mark}"), key=lambda file: file.stat().st_mtime)


@dataclass(frozen=True, eq=False)
class StageRun:
    """A stage in its own folder, as a step of the runner."""

    stage: str
    folder: Path
    code: str
    """`stage_code` of the stage at the time of planning."""
    current: bool
    """Whether this run and all runs before it are of the present code."""
    before: tuple["StageRun", ...]
    settings: Mapping[str, Any] = field(repr=False)
    """The whole content of params.yaml."""
    clips: pd.DataFrame = field(repr=False)
    links: Mapping[str, Path]
    """Shared files and folders: name of the link in its folder → target."""
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
        """Whether it is not finished by the present code but by other code."""
        return not self.makes.exists() and bool(_marks(self.folder.parent, self.makes.name))

    def seconds(self) -> float | None:
        return float(self.makes.read_text()) if self.makes.exists() else None

    def run(self, quietly: bool, cores: int | None) -> None:
        with locked(self.folder) as lock:
            if not self.makes.exists():  # another process may have made it meanwhile
                self._prepare_folder()
                run_stage(self.paths, self.stage, self.code, self.variables, quietly, cores, lock)

    def delete(self) -> None:
        """Delete its folder; the stage is then run again when a later one needs it."""
        if self.folder.exists():
            with locked(self.folder):
                self.makes.unlink(missing_ok=True)  # first: what is half deleted is not finished
                shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare_folder(self) -> None:
        """Write params.yaml and the clips; link shared files and the outputs of the stages before."""
        self.paths.clips.parent.mkdir(parents=True, exist_ok=True)
        write_settings(self.paths, self.settings)
        self.clips.to_parquet(self.paths.clips)
        for name, source in self.links.items():
            link = self.folder / name
            if source.exists() and not link.exists():
                link.unlink(missing_ok=True)  # a broken link: the project was moved
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
    """The parent folder of all experiments of one kind."""

    checkout: Paths
    kind: str
    """`tables` or `folds`."""
    keep: bool = False

    @property
    def folder(self) -> Path:
        return self.checkout.cache.absolute() / self.kind

    @cached_property
    def variables(self) -> dict[str, str]:
        """Environment of a stage's process: no tracking by MLflow, and the checkout's cache, so that features
        of frozen layers are computed once for all."""
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
        """Plan the run of `stage` after the runs `before`; nothing is run yet.

        `inputs` becomes part of the key, for everything else that the stage reads, such as the clips.
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
    """Print to stderr how many of `runs` are run again because only other code has finished them."""
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
    """Run `stage` as a process in the folder of `paths`, and write the seconds it took to a file there.

    `code` is the `stage_code` at the time of planning. Raises UserError when the code has changed since then,
    or when the stage fails.
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
    """Scan, fetch and validate `source` in the folder of `home`, separate from the checkout's clips.

    Finished stages are not run again: when the source was scanned is printed, and how to scan it again.
    Raises UserError when `source` is a folder of the project or a stage fails.
    """
    check_source(source, paths)
    variables = Home(paths, "").variables
    if source not in SIMULATED and (scanned := home.root / _mark("scan")).exists():
        when = datetime.fromtimestamp(scanned.stat().st_mtime)
        print(
            f"The clips are those that {source} had on {when:%Y-%m-%d %H:%M}. To take later ones, too, "
            f"delete {home.root.parent} and run again.",
            file=sys.stderr,
        )
    with locked(home.root) as lock:
        write_settings(home, with_source(params, source).model_dump(mode="json", by_alias=True))
        for stage in ("scan", "ingest", "validate"):
            if not (home.root / _mark(stage)).exists():
                code = stage_code(stage) if stage in stages_of_graph() else None
                run_stage(home, stage, code, variables, False, None, lock)


def with_source(params: Params, source: str) -> Params:
    """`params` with another ingest.source, which no clips labelled in `watch` join."""
    ingest = params.ingest.model_copy(update={"source": source, "labelled": None})
    return params.model_copy(update={"ingest": ingest})


def check_code(stage: str, code: str | None) -> None:
    """Raise UserError when the code of `stage` has another hash than `code` (None: no check)."""
    if code not in (None, code_key(declared_code(stage))):
        raise UserError(
            f"the code of the stage {stage} has changed since this was started; run again to go on with it."
        )


def _mark(stage: str) -> str:
    """Name of the file that marks a finished stage; it holds the seconds that the stage took."""
    return f"{stage}.seconds"


def write_settings(paths: Paths, settings: Mapping[str, Any]) -> None:
    """Write `settings` to params.yaml."""
    with paths.params.open("w") as file:
        YAML(typ="safe").dump(dict(settings), file)
