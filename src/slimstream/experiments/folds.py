"""Leave one group out at a time: with a handful of cameras the only honest number.

Every fold is the whole of the graph after `extract`, run as its own processes in a folder of its own that
shares the packs. A fold that was finished with the same settings, code and data is not run again, so a killed
table goes on where it stopped.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from slimstream.catalog.manifest import group_columns
from slimstream.core.errors import UserError
from slimstream.core.fingerprint import fingerprint
from slimstream.core.params import Params
from slimstream.core.paths import Paths, models_in
from slimstream.splits.columns import effective_group_by
from slimstream.splits.groups import group_names
from slimstream.stages.ingest.own_folders import check_source

STAGES = ("split", "baseline", "train", "teachers", "prune", "distill", "refit", "export", "evaluate")


def run_folds(params: Params, paths: Paths, *, inner: bool = False, only: str | None = None) -> str:
    """Run every fold, write `reports/folds.csv` (one row a fold and model) and return the table in words.

    With `inner`, each fold's own group is put aside altogether and the groups that remain are left out in
    turn: settings are chosen on these numbers, and the outer folds are opened once for the settings frozen.
    Raises UserError when the pipeline has not been run up to `extract`, or without a group column.
    """
    for needed in (paths.clips, paths.packs / "index.parquet", paths.manifest):
        if not needed.exists():
            raise UserError(f"{needed} is missing: run `dvc repro extract` before the folds.")
    clips = pd.read_parquet(paths.clips)
    group_by = effective_group_by(group_columns(clips), params.split)
    if not group_by:
        raise UserError(
            "params.yaml: folds leave out groups, so split.group_by must name a column of the clips (in a "
            "metadata.csv)."
        )
    if params.split.given:
        print("folds: every group is left out in turn; split.given is set aside.", file=sys.stderr)
    groups = sorted(set(group_names(clips, group_by)))
    outer = [group for group in groups if only in (None, group)]
    if not outer:
        raise UserError(f"--only {only}: no such group; there are {', '.join(groups)}.")
    folds = [(o, t) for o in outer for t in groups if o != t] if inner else [(None, o) for o in outer]

    rows = []
    for number, (aside, test) in enumerate(folds, 1):
        name = f"{test} (without {aside})" if aside else test
        print(f"fold {number}/{len(folds)}: {name}", file=sys.stderr, flush=True)
        rows += _fold(params, paths, clips, aside, test)
    table = pd.DataFrame(rows)
    target = paths.root / "reports" / ("folds-inner.csv" if inner else "folds.csv")
    target.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(target, index=False)
    return f"{summary(table)}\n\nwritten to {target}"


def summary(table: pd.DataFrame) -> str:
    """Macro-F1 by fold and model, the mean, and the paired differences that the project is about."""
    wide = table.pivot_table(index=["aside", "test"], columns="model", values="macro_f1", dropna=False)
    wide = wide.dropna(axis=0, how="all")[list(dict.fromkeys(table["model"]))]
    lines = [
        wide.round(3).to_string(),
        "",
        f"mean over {len(wide)} folds",
        wide.mean().round(3).to_string(),
        "",
    ]
    for one, other in (("original", "baseline"), ("pruned", "original"), ("distilled", "control")):
        if one in wide and other in wide:
            difference = wide[one] - wide[other]
            lines.append(
                f"{one} - {other}: mean {difference.mean():+.3f}, by fold {difference.round(3).tolist()}"
            )
    minutes = table.drop_duplicates(["aside", "test"])["seconds"].sum() / 60
    return "\n".join([*lines, "", f"cost: {minutes:.0f} minutes"])


def _fold(
    params: Params, paths: Paths, clips: pd.DataFrame, aside: str | None, test: str
) -> list[dict[str, object]]:
    settings = params.model_dump(mode="json", by_alias=True)
    settings["split"]["test_group"] = test
    del settings["split"]["given"]
    group_by = effective_group_by(group_columns(clips), params.split)
    kept = clips if aside is None else clips[group_names(clips, group_by) != aside]
    kept = kept.assign(held_out=False)  # the fold decides who is tested, not history
    root = paths.cache / "folds" / _key(settings, kept, paths)
    fold = Paths(root)
    lay_out(fold, settings, kept, {fold.packs: paths.packs, fold.ingested: paths.ingested}, paths)
    seconds = sum(run_stage(fold, stage, paths) for stage in STAGES)
    scores = json.loads(fold.metrics("evaluate").read_text())
    facts = {"aside": aside or "", "test": test, "seconds": seconds, "folder": str(root)}
    return [
        facts
        | {"model": name}
        | {k.split(".", 1)[1]: v for k, v in scores.items() if k.startswith(f"{name}.") and k.count(".") == 1}
        for name in models_in(scores)
    ]


def lay_out(
    fold: Paths, settings: Mapping[str, Any], clips: pd.DataFrame, links: Mapping[Path, Path], paths: Paths
) -> None:
    """Make the folder of `fold`: params.yaml, the accepted clips and, linked, what it shares with others."""
    fold.clips.parent.mkdir(parents=True, exist_ok=True)
    write_settings(fold, settings)
    clips.to_parquet(fold.clips)
    lock = paths.root / "requirements.lock"
    for target, source in {**links, fold.root / lock.name: lock}.items():
        if source.exists() and not target.exists():
            target.symlink_to(source.resolve())


def validated(params: Params, home: Paths, source: str, paths: Paths) -> None:
    """Scan, fetch and validate `source` in the folder of `home`, apart from the checkout's own clips.

    Stages that were finished there are not run again: remove their `.seconds` to look at the source anew.
    """
    check_source(source, paths)
    settings = params.model_dump(mode="json", by_alias=True)
    settings["ingest"]["source"] = source
    home.root.mkdir(parents=True, exist_ok=True)
    write_settings(home, settings)
    for stage in ("scan", "ingest", "validate"):
        run_stage(home, stage, paths)


def write_settings(fold: Paths, settings: Mapping[str, Any]) -> None:
    with fold.params.open("w") as file:
        YAML(typ="safe").dump(settings, file)


def done(folder: Paths, stage: str) -> Path:
    """What is there when `stage` was run in `folder`: the seconds that it took."""
    return folder.root / f"{stage}.seconds"


def run_stage(fold: Paths, stage: str, paths: Paths, quietly: bool = False) -> float:
    """Run one stage in the fold's folder, or not if it is done; return the seconds it took.

    `quietly`, what it says goes to `<stage>.log` there.
    """
    mark = done(fold, stage)
    if not mark.exists():
        start = time.perf_counter()
        command = [sys.executable, "-m", "slimstream", "--root", str(fold.root), stage]
        # The table is what counts, not its runs; what frozen layers make of a clip is the same in all folds.
        quiet = {
            **os.environ,
            "SLIMSTREAM_TRACKING": "off",
            "SLIMSTREAM_CACHE": str(paths.cache.resolve()),
            "SLIMSTREAM_SOURCE_ROOT": str(paths.source_root.resolve()),
        }
        log = fold.root / f"{stage}.log"
        with log.open("w") if quietly else nullcontext() as out:
            code = subprocess.run(command, env=quiet, stdout=out, stderr=out).returncode
        if code:
            why = f", see {log}" if quietly else ""
            raise UserError(
                f"stage {stage} failed in {fold.root} (exit status {code}{why}); run again to go on."
            )
        mark.write_text(str(time.perf_counter() - start))
    return float(mark.read_text())


def _key(settings: dict[str, object], clips: pd.DataFrame, paths: Paths) -> str:
    learnt_by = {name: section for name, section in settings.items() if name not in ("publish", "sweep")}
    texts = (json.dumps(learnt_by, sort_keys=True), *sorted(clips["id"] + clips["sha256"]))
    return fingerprint("evaluate", texts, [paths.packs / "index.parquet"])
