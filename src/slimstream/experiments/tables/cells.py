"""Cells: a row of a table on one fold, replicate or split. Each stage of its model runs in its own folder.

A folder is named after everything that its stage depends on (`experiments.stage_runs`), so rows with the same
first stages share them. For example a network is trained once for its own row, for rows that prune it and for
rows that it teaches. A finished stage is not run again unless its code has changed.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import nan
from pathlib import Path

import pandas as pd

from slimstream.core.errors import UserError
from slimstream.core.fingerprint import PACKAGE, code_key, stage_code
from slimstream.core.paths import TEACHERS, Paths
from slimstream.experiments.runner import Step, run_command
from slimstream.experiments.stage_runs import (
    Home,
    StageRun,
    choose,
    clips_key,
    hash_key,
    locked,
    prepare_source,
    settings_of,
)
from slimstream.experiments.tables.results import FinishedCell
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES

STAGE_OF_MODEL = {model: stage.name for stage in STAGES.values() for model in stage.models}
"""The stage that makes each model. `refit` is not used: it would change the head that the row evaluates."""


def stage_of_model(model: str) -> str:
    """The stage that makes `model`."""
    return "teachers" if model.startswith(TEACHERS) else STAGE_OF_MODEL[model]


def stages_before(stage: str, params: Params) -> list[str]:
    """The stages that `stage` directly depends on, with the settings `params`."""
    if stage == "prune":
        return ["train"]
    if stage == "distill":
        start = "prune" if params.distill.student == "pruned" else "train"
        return [start, *["teachers"] * bool(params.teachers)]
    return [] if stage == "split" else ["split"]


def chain(stage: str, params: Params) -> list[str]:
    """`stage` and all stages that it depends on, each once, in the order in which they are run."""
    before = (name for earlier in stages_before(stage, params) for name in chain(earlier, params))
    return list(dict.fromkeys([*before, stage]))


@dataclass(frozen=True)
class DataSource:
    """Accepted clips: those of the checkout, or those of a source, in a separate folder."""

    source: Paths
    home: Home
    current: bool = True
    """Whether the clips were fetched and validated by the present code; in the checkout DVC ensures it."""

    @classmethod
    def of_checkout(cls, paths: Paths, keep: bool = False) -> "DataSource":
        """The clips of the checkout. With `keep`, results of other code are used. Raises UserError."""
        if not paths.clips.exists():
            raise UserError(f"{paths.clips} is missing: name your clips with --source.")
        return cls(paths, Home(paths, "tables", keep))

    @classmethod
    def planned(cls, params: Params, paths: Paths, keep: bool = False) -> "DataSource":
        """The clips of `ingest.source`, in a folder of their own, which may not be there yet (`ready`)."""
        home = Home(paths, "tables", keep)
        # Rows may have different settings of extract; only `bits` affects which clips are accepted.
        read = settings_of("validate", params) | {"extract": params.extract.bits}
        name = hash_key(params.ingest.source, settings_of("ingest", params), read)
        code = hash_key(stage_code("ingest"), stage_code("validate"))
        folder = choose(home.folder, name, code, "validate.seconds", keep)
        return cls(Paths(folder), home, folder.name == code)

    @property
    def ready(self) -> bool:
        return self.source.clips.exists() and (self.source.root / "validate.seconds").exists()

    def prepare(self, params: Params) -> None:
        """Scan, fetch or render, and validate the clips, unless that was done. Raises UserError."""
        prepare_source(params, self.source, params.ingest.source, self.home.checkout)

    def keeping(self) -> "DataSource":
        """The same clips with `keep`: results of other code count as finished."""
        return replace(self, home=replace(self.home, keep=True))

    @cached_property
    def clips(self) -> pd.DataFrame:
        # The protocol decides which clips are test, not earlier runs.
        return pd.read_parquet(self.source.clips).assign(held_out=False)

    @cached_property
    def name(self) -> str:
        return hash_key(sorted(self.clips["id"] + self.clips["sha256"]))


@dataclass(frozen=True)
class Cell:
    """One model on one fold, replicate or split."""

    model: str
    fold: str
    """Name of the fold, replicate or split."""
    params: Params
    clips: pd.DataFrame
    data: DataSource

    @cached_property
    def packs(self) -> StageRun:
        """The run of `extract`, shared by all rows with the same settings of it."""
        raw = {"data/ingested": self.data.source.ingested.absolute()}
        whole = self.data.clips
        return self.data.home.plan("extract", self.params, whole, inputs=self.data.name, links=raw)

    @cached_property
    def runs(self) -> dict[str, StageRun]:
        """The runs of all stages that the model needs, in the order in which they are run."""
        found: dict[str, StageRun] = {}
        links = {
            "data/packs": self.packs.paths.packs,
            "data/ingested": self.data.source.ingested.absolute(),
        }
        for stage in chain(stage_of_model(self.model), self.params):
            found[stage] = self.data.home.plan(
                stage,
                self.params,
                self.clips,
                before=[found[earlier] for earlier in stages_before(stage, self.params)] or [self.packs],
                inputs=clips_key(self.clips) if stage == "split" else None,
                links=links,
            )
        return found

    @property
    def last(self) -> StageRun:
        return self.runs[stage_of_model(self.model)]

    @cached_property
    def score(self) -> "Score":
        code = hash_key(_planned_score_code(), self.last.folder.name)
        mark = f"{self.model.replace('/', '-')}.json"
        folder = choose(self.last.folder, "scores", code, mark, self.data.home.keep)
        return Score(self.model, self.last, folder / mark, code, self.data.home.variables)

    @property
    def scores(self) -> Path:
        return self.score.makes

    @property
    def current(self) -> bool:
        """Whether everything from the clips on was made by the present code, without `keep`."""
        score = self.score
        return self.data.current and self.last.current and score.makes.parent.name == score.code

    def done(self) -> FinishedCell | None:
        """The finished cell, or None when it has not been run."""
        if not self.scores.exists():
            return None
        scores = json.loads(self.scores.read_text())
        if (timing := self.scores.with_suffix(".speed.json")).exists():
            scores |= json.loads(timing.read_text())
        spent = {stage: run.seconds() or 0.0 for stage, run in self.runs.items()}
        curves = self.last.paths.curves(self.model)
        return FinishedCell(self.fold, scores, self._training(spent), curves, self.current)

    def _training(self, spent: Mapping[str, float]) -> float:
        """Seconds of the model's training and of the trainings before it; `spent` are seconds by stage.

        NaN when a stage trains several models and its metrics are on another machine.
        """
        stage = stage_of_model(self.model)
        if stage not in ("teachers", "distill"):
            return sum(spent.values())
        metrics, own = self.last.paths.metrics(stage), f"{self.model.removeprefix(TEACHERS)}.seconds"
        alone = float(json.loads(metrics.read_text())[own]) if metrics.exists() else nan
        scratch = stage == "teachers" or self.params.distill.student == "scratch"
        return alone if scratch else alone + spent["train"] + spent["prune"]

    def steps(self) -> Iterator[Step]:
        """All steps of the cell, in the order in which they are run. Cells may share steps.

        A finished cell needs no more of them, even if its packs were deleted meanwhile.
        """
        steps: tuple[Step, ...] = (self.packs, *self.runs.values(), self.score)
        yield from (step for step in steps if step.makes.exists()) if self.scores.exists() else steps

    def time(self) -> None:
        """Time the exported form of the finished model."""
        from slimstream.experiments.tables.score import speed

        if not (file := self.scores.with_suffix(".speed.json")).exists():
            speed(self.model, self.last.paths, self.params.evaluate.latency_runs, file)


@dataclass(frozen=True, eq=False)
class Score:
    """The step that evaluates a finished model on the test clips of its fold."""

    model: str
    of: StageRun
    makes: Path
    code: str
    """Hash of the code of the score and of all stages that made the model."""
    variables: Mapping[str, str] = field(repr=False)

    @property
    def needs(self) -> tuple[Path, ...]:
        return (self.of.makes,)

    @property
    def alike(self) -> str:
        return "score"

    def seconds(self) -> float | None:
        return None

    def run(self, quietly: bool, cores: int | None) -> None:
        with locked(self.makes.parent) as lock:
            if self.makes.exists():
                return
            if hash_key(score_code(), self.of.folder.name) != self.code:
                raise UserError(
                    "the code that scores has changed since this was started; run again to go on."
                )
            command = [sys.executable, "-m", f"{__package__}.score", self.model, str(self.of.folder)]
            command += [self.variables["SLIMSTREAM_CACHE"], str(self.makes), self.code]
            log = self.makes.with_suffix(".log") if quietly else None
            run_command(command, log, cores, lock, **self.variables)


SCORE_CODE = (
    "clips",
    "core",
    "datasets",
    "experiments/tables/score.py",
    "models",
    "runtimes",
    "training",
)
"""The code that a score depends on, in addition to that of the model's stages. The score is no stage of
dvc.yaml, so its code is listed here."""


def score_code() -> str:
    """`code_key` of SCORE_CODE."""
    return code_key(PACKAGE / name for name in SCORE_CODE)


_planned_score_code = cache(score_code)
"""`score_code`, computed once in this process, because there are many cells."""
