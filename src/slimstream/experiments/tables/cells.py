"""A row on one fold: the stages that make its model, each in a folder named after all that it depends on.

The name holds the clips, the fold, the settings of the stage and the names of the folders it goes on from. So
rows that begin alike share their beginning: a network is trained once for the row that judges it, for those
that prune it and for those that it teaches; and what is finished is never run again. Our own code is no part
of the name, or a new word in a message would cost a day: delete `.slimstream/tables` after a change that
counts. Every row says which code it was judged by.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from slimstream.catalog.manifest import group_columns
from slimstream.core.errors import UserError
from slimstream.core.paths import TEACHERS, Paths
from slimstream.core.progress import null_log
from slimstream.experiments.folds import done, lay_out, run_stage, validated
from slimstream.experiments.tables.results import Done
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.splits.columns import effective_group_by
from slimstream.splits.groups import components, folds

MAKERS = {model: stage.name for stage in STAGES.values() for model in stage.models}
"""The stage that leaves a model. `refit` is none of them: its head would not be what the row is about."""

LATER: dict[str, dict[str, Any]] = {
    "prune": {"restore_clips": None, "frozen": False},
    "split": {"given": None},
}
"""Settings that came after the first tables: with these values a stage does what it did without them, and its
folder keeps the name it had."""


def maker(model: str) -> str:
    return "teachers" if model.startswith(TEACHERS) else MAKERS[model]


def needs(stage: str, params: Params) -> list[str]:
    """The stages that `stage` goes on from. Each reads its own section of params.yaml, and `extract`."""
    if stage == "prune":
        return ["train"]
    if stage == "distill":
        start = "prune" if params.distill.student == "pruned" else "train"
        return [start, *["teachers"] * bool(params.teachers)]
    return [] if stage == "split" else ["split"]


def chain(stage: str, params: Params) -> list[str]:
    """`stage` and all that it goes on from, each once, in an order in which they can be run."""
    before = (name for earlier in needs(stage, params) for name in chain(earlier, params))
    return list(dict.fromkeys([*before, stage]))


@dataclass(frozen=True)
class Data:
    """Accepted clips: those of the checkout, or of a source, then in a home of their own."""

    home: Paths
    checkout: Paths
    at_most: int
    """Folds, where there are more groups."""

    @classmethod
    def open(cls, params: Params, paths: Paths, source: str | None, at_most: int) -> "Data":
        """With a `source`, scan, fetch and validate it first, once and apart from the checkout's clips."""
        if source is None:
            if not paths.clips.exists():
                raise UserError(f"{paths.clips} is missing: name your clips with --source.")
            return cls(paths, paths, at_most)
        settings = params.model_dump(mode="json", by_alias=True)
        settings["ingest"]["source"] = source
        name = key(settings["ingest"], settings["validate"], named_by("split", settings["split"]))
        data = cls(Paths(paths.cache / "tables" / name), paths, at_most)
        validated(params, data.home, source, paths)
        return data

    def folder(self, name: str) -> Paths:
        return Paths(self.checkout.cache / "tables" / name)

    @cached_property
    def clips(self) -> pd.DataFrame:
        # The fold decides who is tested, not history.
        return pd.read_parquet(self.home.clips).assign(held_out=False)

    @cached_property
    def name(self) -> str:
        return key(sorted(self.clips["id"] + self.clips["sha256"]))

    def cells(self, model: str, params: Params) -> Iterator["Cell"]:
        """One a fold; nothing is run yet."""
        group_by = effective_group_by(group_columns(self.clips), params.split)
        fold, several = _folded(self, tuple(group_by))
        names = sorted(set(fold))
        for test, following in zip(names, [*names[1:], *names[:1]], strict=True):
            # Groups that are folds are parted as anywhere; of folds of many groups the next one chooses the
            # epoch, or it would be the same one every time.
            parts = fold.where(fold.isin((test, following)), "learning") if several else fold
            split = params.split.model_copy(update={"group_by": ["fold"], "test_group": test, "given": None})
            clips = self.clips.assign(fold=parts)
            yield Cell(model, test, params.model_copy(update={"split": split}), clips, self)


@cache
def _folded(data: Data, group_by: tuple[str, ...]) -> tuple[pd.Series, bool]:
    """Every clip's fold, and whether a fold is several groups."""
    fold = folds(data.clips, group_by, data.at_most)
    return fold, components(data.clips, group_by).nunique() > fold.nunique()


@dataclass(frozen=True)
class Cell:
    """One model on one fold."""

    model: str
    fold: str
    params: Params
    clips: pd.DataFrame
    data: Data

    @cached_property
    def settings(self) -> dict[str, Any]:
        return self.params.model_dump(mode="json", by_alias=True)

    @cached_property
    def packs(self) -> Paths:
        """Where `extract` is run, once for all rows that see the same."""
        return self.data.folder(key(self.settings["extract"], self.data.name))

    @cached_property
    def folders(self) -> dict[str, Paths]:
        """Of every stage that the model takes, in an order in which they can be run."""
        found: dict[str, Paths] = {}
        for stage in chain(maker(self.model), self.params):
            from_: list[object] = [found[earlier].root.name for earlier in needs(stage, self.params)]
            if stage == "split":
                from_ = [self.packs.root.name, sorted(self.clips["id"] + self.clips["fold"])]
            found[stage] = self.data.folder(key(stage, named_by(stage, self.settings[stage]), from_))
        return found

    @property
    def last(self) -> Paths:
        return self.folders[maker(self.model)]

    @property
    def scores(self) -> Path:
        return self.last.root / "scores" / f"{self.model.replace('/', '-')}.json"

    def done(self) -> Done | None:
        """The scores, or None when this has not been run."""
        if not self.scores.exists():
            return None
        scores = json.loads(self.scores.read_text())
        if (timing := self.scores.with_suffix(".speed.json")).exists():
            scores |= json.loads(timing.read_text())
        spent = {stage: float(done(folder, stage).read_text()) for stage, folder in self.folders.items()}
        curves = self.last.curves(self.model)
        return Done(self.fold, scores, sum(spent.values()), self._training(spent), curves)

    def _training(self, spent: Mapping[str, float]) -> float:
        """Seconds of the model's own training and of those that it goes on from, of all stages' `spent` ones.

        Unknown (nan) of several models' stage whose metrics stayed on another machine.
        """
        stage = maker(self.model)
        if stage not in ("teachers", "distill"):
            return sum(spent.values())
        metrics, own = self.last.metrics(stage), f"{self.model.removeprefix(TEACHERS)}.seconds"
        alone = float(json.loads(metrics.read_text())[own]) if metrics.exists() else nan
        scratch = stage == "teachers" or self.params.distill.student == "scratch"
        return alone if scratch else alone + spent["train"] + spent["prune"]

    def steps(self) -> Iterator["Step"]:
        """What has to be made, in an order in which it can be. Cells that begin alike share steps."""
        packs = done(self.packs, "extract")
        yield Step(packs, (), self, "extract")
        for stage, folder in self.folders.items():
            before = [done(self.folders[earlier], earlier) for earlier in needs(stage, self.params)]
            yield Step(done(folder, stage), (packs, *before), self, stage)
        yield Step(self.scores, (done(self.last, maker(self.model)),), self, "score")

    def make(self, step: str, quietly: bool) -> None:
        """Carry out one step. A training is a process of its own: one that dies takes its row along, not the
        table. `quietly`, what it says goes to a file in its folder.
        """
        from slimstream.experiments.tables.score import score

        checkout = self.data.checkout
        if step == "score":
            score(self.model, self.last, checkout.cache, self.scores)
        elif step == "extract":
            raw = {self.packs.ingested: self.data.home.ingested}
            lay_out(self.packs, self.settings, self.data.clips, raw, checkout)
            run_stage(self.packs, step, checkout, quietly)
        else:
            self._begin(step, self.folders[step])
            self._stage(step, self.folders[step], quietly)

    def time(self) -> None:
        """Time the exported form of the finished model."""
        from slimstream.experiments.tables.score import speed

        if not (file := self.scores.with_suffix(".speed.json")).exists():
            speed(self.model, self.last, self.params.evaluate.latency_runs, file)

    def _begin(self, stage: str, folder: Paths) -> None:
        """Lay out the folder of `stage` and link what the stages before it made."""
        shared = {folder.packs: self.packs.packs, folder.ingested: self.data.home.ingested}
        lay_out(folder, self.settings, self.clips, shared, self.data.checkout)
        for before in (self.folders[name] for name in needs(stage, self.params)):
            for file in (before.split, before.split_info, *before.model(".").glob("**/*.*")):
                linked = folder.root / file.relative_to(before.root)
                linked.parent.mkdir(parents=True, exist_ok=True)
                if not linked.exists() and file.is_file():
                    os.link(file, linked)

    def _stage(self, stage: str, folder: Paths, quietly: bool) -> None:
        if stage != "split":
            run_stage(folder, stage, self.data.checkout, quietly)
            return
        STAGES["split"].run(self.params, folder, null_log)  # a moment's work, not worth a process
        done(folder, stage).write_text("0")


@dataclass(frozen=True)
class Step:
    """A file that a cell takes, and what must be there before."""

    makes: Path
    needs: tuple[Path, ...]
    cell: Cell
    name: str
    """A stage, or `score`."""

    def run(self, quietly: bool = False) -> None:
        self.cell.make(self.name, quietly)


def named_by(stage: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What of a stage's settings its folder is named after."""
    later = LATER.get(stage, {})
    return {name: value for name, value in settings.items() if name not in later or value != later[name]}


def key(*parts: object) -> str:
    """16 hex digits over `parts` as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
