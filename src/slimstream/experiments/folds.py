"""Leave-one-group-out cross-validation: with a handful of cameras, a single split is not reliable.

Of hundreds of groups, as of parts, whole groups are put together into a given number of folds.

Every fold runs all stages after `extract` on the checkout's packs. Each stage of a fold is a step of the
runner, in its own folder. A step that was finished with the same settings, code and data is not run again,
so a killed run continues.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import pandas as pd

from slimstream.catalog.manifest import group_columns
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths, models_scored
from slimstream.experiments.runner import check_jobs, run_steps
from slimstream.experiments.stage_runs import (
    Home,
    StageRun,
    clips_key,
    needed,
    report_stale_stages,
)
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import following
from slimstream.splits.columns import effective_group_by
from slimstream.splits.groups import components, group_names
from slimstream.splits.groups import folds as folds_of_groups

FOLD = "_fold"
"""Column of the clips that names their fold, where a fold has several groups."""
STAGES = [stage.name for stage in following("split") if stage.in_folds]


def run_folds(
    params: Params,
    paths: Paths,
    *,
    inner: bool = False,
    only: str | None = None,
    jobs: int | None = None,
    keep: bool = False,
    count: int | None = None,
) -> str:
    """Run every fold, write `reports/folds.csv` (one row per fold and model) and return the table as text.

    With `inner` (nested cross-validation), each fold's own group is set aside and the remaining groups are
    left out in turn, which gives `reports/folds-inner.csv`. Choose settings by these numbers, and run the
    outer folds once for the chosen settings. `only` runs the fold of one group. `jobs` stages run at once.
    With more than `count` groups, whole groups are put together into `count` folds, `fold0` and so on, with
    the classes spread evenly; val is then one fold or one group, whichever is nearest to its share.
    Results of other code are made again or, with `keep`, used and marked as `other_code`.

    Raises UserError when the pipeline has not been run up to `extract`, when there is no group column, for
    fewer than three folds, and when a fold failed; then the other folds are finished, but no table is
    written.
    """
    check_jobs(jobs)
    for needed_file in (paths.clips, paths.packs / "index.parquet", paths.manifest):
        if not needed_file.exists():
            raise UserError(f"{needed_file} is missing: run `dvc repro extract` before the folds.")
    clips = pd.read_parquet(paths.clips)
    group_by = effective_group_by(group_columns(clips), params.split)
    if not group_by:
        raise UserError(
            "params.yaml: folds leave out groups, so split.group_by must name a column of the clips (in a "
            "metadata.csv)."
        )
    if params.split.given:
        print("folds: every group is left out in turn; split.given is set aside.", file=sys.stderr)
    if count is not None:
        clips = with_folds(clips, group_by, count)
    groups = sorted(set(clips[FOLD] if FOLD in clips else group_names(clips, group_by)))
    outer = [group for group in groups if only in (None, group)]
    if not outer:
        raise UserError(f"--only {only}: no such group; there are {', '.join(groups)}.")
    folds = [(o, t) for o in outer for t in groups if o != t] if inner else [(None, o) for o in outer]

    home = Home(paths, "folds", keep)
    plans = [(aside, test, _plan(params, home, clips, group_by, aside, test)) for aside, test in folds]
    report_stale_stages("folds", [run for _, _, runs in plans for run in runs])
    names = {run.makes: fold_name(aside, test) for aside, test, runs in plans for run in runs}
    broken: dict[str, str] = {}
    for ended in run_steps((run for _, _, runs in plans for run in runs), jobs):
        name = names[ended.step.makes]
        said = ended.error or ended.left
        print(f"fold {name}, {ended.step.stage}: {said}", file=sys.stderr, flush=True)
        if ended.error:
            broken.setdefault(name, ended.error)
    if broken:
        first, why = next(iter(broken.items()))
        raise UserError(
            f"{len(broken)} of {len(plans)} folds failed ({', '.join(broken)}); what the others have made is "
            f"kept. The first, {first}: {why}"
        )
    table = pd.DataFrame([row for aside, test, runs in plans for row in _rows(aside, test, runs)])
    name = "folds" + "-inner" * inner + "-only" * (only is not None)  # not over the table of all folds
    target = paths.root / "reports" / f"{name}.csv"
    target.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(target, index=False)
    return f"{summary(table)}\n\nwritten to {target}"


def fold_name(aside: str | None, test: str) -> str:
    """Name of the fold that tests on `test`, with the group `aside` set aside."""
    return f"{test} (without {aside})" if aside else test


def summary(table: pd.DataFrame) -> str:
    """Macro-F1 by fold and model, the mean over folds, and paired differences of models, as text."""
    wide = table.pivot_table(index=["aside", "test"], columns="model", values="macro_f1", dropna=False)
    wide = wide.dropna(axis=0, how="all")[list(dict.fromkeys(table["model"]))]
    lines = [
        wide.round(3).to_string(),
        "",
        f"mean over {len(wide)} folds",
        wide.mean().round(3).to_string(),
        "",
    ]
    pairs = (
        ("original", "baseline"),
        ("slim", "original"),
        ("pruned", "original"),
        ("distilled", "control"),
    )
    for one, other in pairs:
        if one in wide and other in wide:
            difference = wide[one] - wide[other]
            lines.append(
                f"{one} - {other}: mean {difference.mean():+.3f}, by fold {difference.round(3).tolist()}"
            )
    minutes = table.drop_duplicates(["aside", "test"])["seconds"].sum() / 60
    kept = table[table["other_code"] == "yes"].drop_duplicates(["aside", "test"])
    if len(kept):
        names = ", ".join(fold_name(*where) for where in kept[["aside", "test"]].to_numpy().tolist())
        lines += ["", f"made by other code than today's: {names}"]
    return "\n".join([*lines, "", f"cost: {minutes:.0f} minutes"])


def with_folds(clips: pd.DataFrame, group_by: Sequence[str], count: int) -> pd.DataFrame:
    """`clips` with their fold as the column FOLD, or as they are with no more groups than `count`.

    Raises UserError for fewer than three folds.
    """
    if count < 3:
        raise UserError(f"--count {count}: train, val and test need three folds at least.")
    if components(clips, group_by).nunique() <= count:
        return clips
    return clips.assign(**{FOLD: folds_of_groups(clips, group_by, count)})


def clips_of_fold(
    clips: pd.DataFrame, group_by: Sequence[str], aside: str | None, test: str
) -> tuple[pd.DataFrame, list[str]]:
    """The clips of the fold that tests on `test`, without those of `aside`, and the columns that group them.

    Where folds have several groups, FOLD names the fold of test and val clips, and the group of the others:
    inner folds and bootstraps are made of these.
    """
    if FOLD not in clips:
        return (clips if aside is None else clips[group_names(clips, group_by) != aside]), [*group_by]
    kept = clips[clips[FOLD] != aside]
    names = sorted(set(kept[FOLD]))
    following = names[(names.index(test) + 1) % len(names)]
    whole = kept[FOLD].where(kept[FOLD].isin((test, following)), components(kept, group_by))
    return kept.assign(**{FOLD: whole}), [FOLD]


def _plan(
    params: Params,
    home: Home,
    clips: pd.DataFrame,
    group_by: Sequence[str],
    aside: str | None,
    test: str,
) -> list[StageRun]:
    """The runs of all stages of a fold, in an order that respects their dependencies."""
    kept, columns = clips_of_fold(clips, group_by, aside, test)
    changed: dict[str, Any] = {"test_group": test, "given": None}
    if FOLD in columns:
        changed["group_by"] = columns
    split = params.split.model_copy(update=changed)
    kept = kept.assign(held_out=False)  # the fold decides which clips are test, not earlier runs
    paths = home.checkout
    packs = hashlib.sha256((paths.packs / "index.parquet").read_bytes()).hexdigest()
    links = {"data/packs": paths.packs.absolute(), "data/ingested": paths.ingested.absolute()}
    runs: dict[str, StageRun] = {}
    for stage in STAGES:
        runs[stage] = home.plan(
            stage,
            params.model_copy(update={"split": split}),
            kept,
            before=[runs[earlier] for earlier in needed(stage, STAGES)],
            inputs=[clips_key(kept), packs] if stage == "split" else None,
            links=links,
        )
    return list(runs.values())


def _rows(aside: str | None, test: str, runs: Sequence[StageRun]) -> list[dict[str, object]]:
    """One row per model with all its metrics of `evaluate`; `seconds` is the sum over all stages."""
    last = runs[-1]
    scores = json.loads(last.paths.metrics("evaluate").read_text())
    facts = {
        "aside": aside or "",
        "test": test,
        "seconds": sum(run.seconds() or 0.0 for run in runs),
        "folder": str(last.folder),
        "code": last.folder.name,
        "other_code": "no" if all(run.current for run in runs) else "yes",
    }
    return [
        facts
        | {"model": name}
        | {k.split(".", 1)[1]: v for k, v in scores.items() if k.startswith(f"{name}.") and k.count(".") == 1}
        for name in models_scored(scores)
    ]
