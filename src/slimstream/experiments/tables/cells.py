"""Cells: a row of a table on one fold, replicate or split. Each stage of its model runs in its own folder.

A folder is named after everything that its stage depends on (`experiments.stage_runs`), so rows with the same
first stages share them. For example a network is trained once for its own row, for rows that prune it and for
rows that it teaches. A finished stage is not run again unless its code has changed.

A finished cell is a line of a CSV in docs/results (`record`) and is found there by its `key`. So the clips
and the networks of finished cells may be gone, and a new clone goes on where the last machine stopped.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
    clips_key,
    hash_key,
    locked,
    prepare_source,
    settings_of,
)
from slimstream.experiments.tables.record import read_curves
from slimstream.experiments.tables.results import FinishedCell
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.tracking.repository import git

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

    @classmethod
    def of_checkout(cls, paths: Paths) -> "DataSource":
        """The clips of the checkout. Raises UserError when there are none."""
        if not paths.clips.exists():
            raise UserError(f"{paths.clips} is missing: name your clips with --source.")
        return cls(paths, Home(paths, "tables"))

    @classmethod
    def planned(cls, params: Params, paths: Paths) -> "DataSource":
        """The clips of `ingest.source`, in a folder of their own, which may not be there yet (`ready`)."""
        home = Home(paths, "tables")
        # Rows may have different settings of extract; only `bits` affects which clips are accepted.
        read = settings_of("validate", params) | {"extract": params.extract.bits}
        name = hash_key(params.ingest.source, settings_of("ingest", params), read)
        code = hash_key(stage_code("ingest"), stage_code("validate"))
        return cls(Paths(home.folder / name / code), home)

    @property
    def ready(self) -> bool:
        """Whether its clips are there."""
        finished = self.source is self.home.checkout or (self.source.root / "validate.seconds").exists()
        return self.source.clips.exists() and finished

    def prepare(self, params: Params) -> None:
        """Scan, fetch or render, and validate the clips, unless that was done. Raises UserError."""
        prepare_source(params, self.source, params.ingest.source, self.home.checkout)

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
    number: int
    """Of the seed, replicate or split."""
    seed: int
    """Of the plant that renders its clips, otherwise of its training."""
    params: Params
    data: DataSource
    columns: Mapping[str, pd.Series] = field(default_factory=dict)
    """Columns of the clips that the protocol adds, which say who is judged."""
    rendered: str = ""
    """Hash of the clips of a replicate, which need not be there; "" for clips that are."""

    @cached_property
    def clips(self) -> pd.DataFrame:
        return self.data.clips.assign(**self.columns)

    @cached_property
    def key(self) -> str:
        """Hash of all that the scores depend on but the code: model, settings, clips and who is judged.

        Settings with default values are not part of it: defaults are part of the code.
        """
        settings: dict[str, object] = {}
        for stage in ("validate", *self.stages):
            changed = settings_of(stage, self.params)
            settings |= {name: value for name, value in changed.items() if value != {}}
        return hash_key(self.model, settings, self.rendered or clips_key(self.clips))

    @cached_property
    def code(self) -> str:
        """Hash of the present code of the stages that make the model, and of the score."""
        return hash_key(_planned_score_code(), self._stages_code)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages from the accepted clips to the model, in the order in which they are run."""
        return ("extract", *chain(stage_of_model(self.model), self.params))

    @property
    def _stages_code(self) -> str:
        return hash_key(*(stage_code(stage) for stage in self.stages))

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
        mark = f"{self.model.replace('/', '-')}.json"
        file = self.last.folder / "scores" / self.code / mark
        return Score(self.model, self.last, file, self._stages_code, self.code, self.data.home.variables)

    @property
    def scores(self) -> Path:
        return self.score.makes

    @property
    def here(self) -> bool:
        """Whether it was finished on this machine, and its packs are there still."""
        return self.data.ready and self.scores.exists() and self.packs.makes.exists()

    def done(self) -> FinishedCell | None:
        """What the present code has made of it on this machine; None when it is not finished."""
        if not self.data.ready or not self.scores.exists():
            return None
        scores = json.loads(self.scores.read_text())
        if (timing := self.scores.with_suffix(".speed.json")).exists():
            scores |= json.loads(timing.read_text())
        spent = {stage: run.seconds() or 0.0 for stage, run in self.runs.items()}
        training, curves = self._training(spent), read_curves(self.last.paths.curves(self.model))
        return FinishedCell(self.fold, self.number, self.seed, self.key, scores, training, curves)

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
    stages: str
    """Hash of the code of the stages that make the model, at the time of planning."""
    code: str
    """Hash of the code of the score and of these stages."""
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
            if hash_key(score_code(), self.stages) != self.code:
                raise UserError(
                    "the code that scores has changed since this was started; run again to go on."
                )
            command = [sys.executable, "-m", f"{__package__}.score", self.model, str(self.of.folder)]
            command += [self.variables["SLIMSTREAM_CACHE"], str(self.makes), self.code, code_version()]
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


@cache
def code_version() -> str:
    """The last commit that changed the code, with a + where files differ from it; "" without git."""
    here = Paths(PACKAGE.parents[1])
    what = ("--", "src", "requirements.lock")
    commit = (git(here, "log", "-1", "--format=%h", *what) or "").strip()
    return commit + "+" * bool(commit and git(here, "status", "--porcelain", *what))
