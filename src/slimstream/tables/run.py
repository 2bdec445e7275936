"""Fill a paper's tables: every row, seed and fold once; what is finished is never run again.

A cell is a chain of stages, each in a folder named after all it depends on, settings and clips, and holding
what the stages before it made. Rows that begin alike share the folders of their beginning: a network is
trained once for the row that judges it and for the rows that prune it or let it teach. Our own code is no
part of the name, or a new word in a message would cost a day: after a change that counts, delete
`.slimstream/tables`.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from slimstream.data.splits import folds
from slimstream.errors import UserError
from slimstream.folds import lay_out, run_stage, write_settings
from slimstream.params import Params
from slimstream.paths import Paths
from slimstream.tables.results import Done, write_results
from slimstream.tables.spec import TEACHERS, Row, Spec

SECTIONS = {
    "split": (),  # by the fold alone
    "baseline": ("baseline",),
    "train": ("train",),
    "prune": ("prune",),
    "teachers": ("teachers",),
    "distill": ("distill",),
}
"""The sections of params.yaml that a stage reads, beside `extract`, after which the packs are named."""


def run_tables(
    spec: Spec,
    paths: Paths,
    *,
    table: str | None = None,
    row: str | None = None,
    budget: str = "cpu",
    seeds: int | None = None,
    source: str | None = None,
) -> tuple[str, int]:
    """Run the cells that are asked for, write docs/results; the summary in words and how many rows failed.

    Raises UserError before any work starts when a name or a row's settings do not fit.
    """
    rows = [
        (name, r)
        for name, t in spec.tables.items()
        for r in t.rows
        if table in (None, name) and row in (None, r.name)
    ]
    if not rows:
        raise UserError(f"{spec.paper} has no such row; `tables {spec.paper} --list` names tables and rows.")
    for _, r in rows:
        spec.params(r, budget)
    data = Data.prepare(spec, paths, budget, source)
    wanted = max(r.seeds for _, r in rows) if seeds is None else seeds
    turns = [
        (name, r, seed)
        for seed in range(wanted)
        for name, r in rows
        if not r.count and seed < (seeds or r.seeds)
    ]
    broken: dict[str, str] = {}
    for number, (name, r, seed) in enumerate(turns, 1):
        where = f"{spec.paper} {name} ({number}/{len(turns)}): {r.name}, seed {seed}"
        left = _left(spec, budget, data, turns[number - 1 :])
        print(f"{where}{left}", file=sys.stderr, flush=True)
        try:
            for cell in data.cells(r, spec.params(r, budget, seed)):
                cell.run()
        except (UserError, RuntimeError) as error:  # the other rows are still worth their while
            broken[r.name] = str(error)
            print(f"{where}: {error}", file=sys.stderr, flush=True)
        # After each row, so that a killed table shows what it got.
        said = write_results(spec, paths, budget, lambda r: finished(spec, r, budget, data))
    if not turns:
        said = write_results(spec, paths, budget, lambda r: finished(spec, r, budget, data))
    failures = [f"failed: {name}: {why}" for name, why in broken.items()]
    return "\n".join([said, *failures]), len(broken)


@dataclass(frozen=True)
class Data:
    """Accepted clips, in the checkout or in a home of their own, and their packs by `extract`."""

    home: Paths
    paths: Paths
    at_most: int

    @classmethod
    def prepare(cls, spec: Spec, paths: Paths, budget: str, source: str | None) -> "Data":
        """With a `source`, scan, fetch and validate it first, apart from the checkout's own clips."""
        if source is None:
            if not paths.clips.exists():
                raise UserError(f"{paths.clips} is missing: name your clips with --source.")
            return cls(paths, paths, spec.folds)
        first = spec.params(next(r for t in spec.tables.values() for r in t.rows), budget)
        settings = first.model_dump(mode="json", by_alias=True)
        settings["ingest"]["source"] = source
        home = Paths(
            paths.cache / "tables" / _key(settings["ingest"], settings["validate"], settings["split"])
        )
        home.root.mkdir(parents=True, exist_ok=True)
        write_settings(home, settings)
        for stage in ("scan", "ingest", "validate"):
            run_stage(home, stage, paths)
        return cls(home, paths, spec.folds)

    @cached_property
    def clips(self) -> pd.DataFrame:
        return pd.read_parquet(self.home.clips)

    def packs(self, params: Params) -> Paths:
        """Where the clips lie as `params.extract` wants them."""
        settings = params.model_dump(mode="json", by_alias=True)
        clips = sorted(self.clips["id"] + self.clips["sha256"])
        return Paths(self.paths.cache / "tables" / _key(settings["extract"], clips))

    def cells(self, row: Row, params: Params) -> Iterator["Cell"]:
        """One a fold; packs are not made yet."""
        settings = params.model_dump(mode="json", by_alias=True)
        clips, named = _folded(self.home.clips, tuple(params.split.group_by), self.at_most)
        packs = self.packs(params)
        for test in sorted(set(clips["fold"])):
            split = settings["split"] | {"group_by": ["fold"], "test_group": test}
            start = _key(packs.root.name, split, named)
            stages = chain(row.model, params)
            yield Cell(row.model, test, stages, settings | {"split": split}, clips, packs, self, start)


@cache
def _folded(file: Path, group_by: tuple[str, ...], at_most: int) -> tuple[pd.DataFrame, str]:
    """The clips with their `fold`, and a name for both."""
    clips = pd.read_parquet(file)
    # The fold decides who is tested, not history.
    clips = clips.assign(fold=folds(clips, group_by, at_most), held_out=False)
    return clips, _key(sorted(clips["id"] + clips["sha256"] + clips["fold"]))


@dataclass(frozen=True)
class Cell:
    """One model on one fold."""

    model: str
    fold: str
    stages: Sequence[str]
    settings: dict[str, Any]
    clips: pd.DataFrame
    packs: Paths
    data: Data
    start: str

    @cached_property
    def folders(self) -> list[Paths]:
        """Of the fold as it is before any stage, and after each."""
        keys = [self.start]
        for stage in self.stages:
            keys.append(_key(keys[-1], stage, {name: self.settings.get(name) for name in SECTIONS[stage]}))
        return [Paths(self.data.paths.cache / "tables" / key) for key in keys]

    @property
    def scores(self) -> Path:
        return self.folders[-1].root / "scores" / f"{self.model.replace('/', '-')}.json"

    def done(self) -> Done | None:
        """The scores, or None when this has not been run."""
        if not (self.folders[-1].root / "score.seconds").exists() or not self.scores.exists():
            return None
        timing = self.scores.with_suffix(".speed.json")
        scores = json.loads(self.scores.read_text())
        scores |= json.loads(timing.read_text()) if timing.exists() else {}
        spent = [
            float((folder.root / f"{stage}.seconds").read_text())
            for folder, stage in zip(self.folders[1:], self.stages, strict=True)
        ]
        return Done(self.fold, scores, sum(spent))

    def run(self) -> None:
        """Run what is left of the chain, judge, and time the exported model once a row."""
        if self.done() is None:
            self._extract()
            first = self.folders[0]
            shared = {first.packs: self.packs.packs, first.raw: self.data.home.raw}
            lay_out(first, self.settings, self.clips, shared, self.data.paths)
            for before, folder, stage in zip(self.folders, self.folders[1:], self.stages, strict=False):
                self._step(before, folder, stage)
        if self.fold == min(self.clips["fold"]) and self.settings_seed() == 0:
            from slimstream.stages.score import speed

            speed(self.model, self.folders[-1], self.settings["evaluate"]["latency_runs"])

    def settings_seed(self) -> int:
        return int(self.settings["train"]["fit"]["seed"])

    def _extract(self) -> None:
        home, packs = self.data.home, self.packs
        if not (packs.root / "extract.seconds").exists():
            lay_out(packs, self.settings, self.data.clips, {packs.raw: home.raw}, self.data.paths)
            run_stage(packs, "extract", self.data.paths)

    def _step(self, before: Paths, folder: Paths, stage: str) -> None:
        """`stage` in a copy of the folder before it; files are linked, for stages write new ones only."""
        last = "split" if stage == "split" else "score"
        if (folder.root / f"{last}.seconds").exists():
            return
        if not (folder.root / f"{stage}.seconds").exists():
            shutil.rmtree(folder.root, ignore_errors=True)
            own = shutil.ignore_patterns("params.yaml", "*.seconds", "metrics", "runs", "*.half")
            shutil.copytree(before.root, folder.root, symlinks=True, copy_function=os.link, ignore=own)
            write_settings(folder, self.settings)
        run_stage(folder, stage, self.data.paths)
        if last == "score":
            run_stage(folder, "score", self.data.paths)


def chain(model: str, params: Params) -> list[str]:
    """The stages it takes to get `model`, in an order in which most rows begin alike."""
    if model == "baseline":
        return ["split", "baseline"]
    if model == "original":
        return ["split", "train"]
    if model == "pruned":
        return ["split", "train", "prune"]
    from_pruned = getattr(params.distill, "student", "pruned") == "pruned" and not model.startswith(TEACHERS)
    taught = bool(getattr(params, "teachers", {}))
    stages = ["split", "train", *["prune"] * from_pruned, *["teachers"] * taught]
    return stages if model.startswith(TEACHERS) else [*stages, "distill"]


def finished(spec: Spec, row: Row, budget: str, data: Data) -> list[list[Done]]:
    """The cells of every seed that all folds are finished of."""
    found = []
    for seed in range(max(row.seeds, 5)):
        cells = [cell.done() for cell in data.cells(row, spec.params(row, budget, seed))]
        if all(cells):
            found.append([cell for cell in cells if cell])
    return found


def _left(spec: Spec, budget: str, data: Data, turns: Sequence[tuple[str, Row, int]]) -> str:
    """Time left in words, from what finished cells of the same rows took, or of any row."""
    took: dict[str, list[float]] = {}
    open_ = {}
    for _, row, seed in turns:
        cells = [cell.done() for cell in data.cells(row, spec.params(row, budget, seed))]
        open_[row.name, seed] = sum(cell is None for cell in cells)
        took.setdefault(row.name, []).extend(cell.seconds for cell in cells if cell)
        if seed and not took[row.name]:
            before = data.cells(row, spec.params(row, budget, 0))
            took[row.name].extend(done.seconds for cell in before if (done := cell.done()))
    known = {name: sum(s) / len(s) for name, s in took.items() if s}
    if not known:
        return f", {sum(open_.values())} cells left"
    typical = sum(known.values()) / len(known)
    seconds = sum(known.get(name, typical) * cells for (name, _), cells in open_.items())
    return f", {sum(open_.values())} cells left, about {seconds / 60:.0f} minutes"


def _key(*parts: object) -> str:
    """16 hex digits over `parts` as JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
