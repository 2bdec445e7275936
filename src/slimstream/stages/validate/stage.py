"""validate: decode every clip, quarantine bad ones, find twins and shortcuts, write reports.

A problem of one clip excludes that clip. A problem of the data set stops the run, after the reports are
written.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.catalog.listing import LABELLED, Item
from slimstream.catalog.manifest import group_columns, read_manifest
from slimstream.clips import pictures
from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.parallel import parallel_map
from slimstream.core.paths import Paths
from slimstream.core.progress import Log, progress_bar
from slimstream.splits import columns
from slimstream.splits.columns import allowed_labels, check_labels, effective_group_by
from slimstream.splits.given import parts_of, split_as_given
from slimstream.splits.groups import components, group_names, missing_column
from slimstream.splits.params import SplitParams
from slimstream.stages.validate import checks, shortcuts, twins
from slimstream.stages.validate.params import ValidateParams
from slimstream.stages.validate.survey import Survey, survey


def run(
    validate: ValidateParams, split: SplitParams, extract: ExtractParams, paths: Paths, log: Log
) -> dict[str, float]:
    """Write data/clips.parquet and reports/validation; returns numbers of clips, twins and shortcuts.

    Raises UserError when the data set cannot be used.
    """
    video = split.video
    manifest = read_manifest(paths.manifest).reset_index(drop=True)
    group_by = effective_group_by(group_columns(manifest), split)
    usable = manifest[manifest["problem"] == ""]
    check_labels(usable["label"], usable["key"], validate.classes)
    reasons = _unusable(manifest, [*group_by, video] if video else group_by)
    part = _given(manifest, reasons, split)
    seen = _decoded(manifest, reasons, paths, extract)
    reasons |= pictures.nearly_black({row: look.peak for row, look in seen.items()}, extract.bits)
    copies = twins.identical_copies(manifest.loc[sorted(seen)], None if part is None else part[sorted(seen)])
    reasons |= copies
    across = {} if part is None else {"copies_across_parts": _count_across_parts(manifest, part, copies)}
    clips = _accepted(manifest, seen, reasons)
    clips["twin"] = _first(clips, twins.near_twins(_stack(clips, seen, "thumbs"), validate.twin_distance))
    if group_by:
        # Near twins in different parts of a given split are reported as leaks, not as a wrong group name.
        sets = clips["twin"] if part is None else clips["twin"] + " " + part[clips.index]
        # Nobody has written the groups of clips from `watch`: there near twins join groups, in the split.
        sets = sets.where(~clips["key"].str.startswith(LABELLED), clips["key"])
        strays = twins.straying_twins(sets.tolist(), group_names(clips, group_by).tolist())
        reasons |= dict.fromkeys(clips.index[strays], f"a near twin has another {' and '.join(group_by)}")
        clips = clips.drop(clips.index[strays])
        clips["twin"] = _first(clips, clips["twin"])
    near = clips["twin"]
    if video:
        _check_one_label(clips, video)
        clips["twin"] = _first(clips, components(clips, [video]))

    allowed = allowed_labels(usable["label"], usable["key"], validate.classes)
    classes = allowed or sorted(clips["label"].unique())
    paths.validation.mkdir(parents=True, exist_ok=True)
    failed = checks.run_expectations(manifest, clips, classes, paths.validation / "data_docs")
    found = _shortcuts(clips, seen, group_by, validate) if len(clips) else []
    summary = _summary(manifest, clips.assign(twin=near), classes, found) | across
    (paths.validation / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    bad = manifest.loc[sorted(reasons), ["id", "key", "label"]]
    bad = bad.assign(reason=[reasons[row] for row in bad.index])
    bad.to_csv(paths.validation / "quarantine.csv", index=False)

    _check_quarantine_share(
        list(reasons.values()), len(manifest), validate, paths.validation / "quarantine.csv"
    )
    if failed:
        more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
        raise UserError(
            f"{paths.manifest} does not meet what is expected: {'; '.join(failed[:3])}{more}; "
            f"{paths.validation / 'data_docs/index.html'} shows all."
        )
    _check_enough_clips(clips, classes, validate, group_by, split)
    for cue in found:
        if cue.flagged:
            print(
                f"validate: shortcut: the {cue.cue.replace('_', ' ')} alone tells the class {cue.label!r} in "
                f"other groups (AUC {cue.score:.2f}, p = {cue.p:.3f}): a model may learn it instead of the "
                "plant's state.",
                file=sys.stderr,
            )
    clips.to_parquet(paths.clips, index=False)
    return {
        **{name: float(summary[name]) for name in ("clips", "accepted", "quarantined", "twin_sets")},
        "twinned_clips": float(near.duplicated(keep=False).sum()),
        "shortcuts": float(sum(cue.flagged for cue in found)),
        **{name: float(count) for name, count in across.items()},
    }


def preflight(validate: ValidateParams, split: SplitParams, items: Sequence[Item]) -> list[str]:
    """Check the columns and labels of the listed items; returns sentences for the user. Raises UserError."""
    return columns.check_columns(items, split, validate.classes)


def _check_one_label(clips: pd.DataFrame, video: str) -> None:
    """Raise UserError when the clips of a video have several labels: their predictions are averaged."""
    labels = clips.groupby(video)["label"].unique()
    if (several := labels[labels.map(len) > 1]).size:
        raise UserError(
            f"the clips of {video} {several.index[0]} have several labels, {', '.join(several.iloc[0])}, and "
            "cannot vote: mend the labels, or name the column in split.group_by instead of split.video."
        )


def _unusable(manifest: pd.DataFrame, columns: list[str]) -> dict[int, str]:
    """Rows that need not be decoded, with the reason."""
    reasons: dict[int, str] = {}
    for column in columns:
        if column not in manifest:
            raise missing_column("split.video", column, group_columns(manifest))
        empty = manifest[column].isna() | (manifest[column].astype(str).str.strip() == "")
        reasons |= dict.fromkeys(manifest.index[empty], f"no value in the group column {column}")
    reasons |= dict.fromkeys(manifest.index[manifest["label"] == ""], "no label")
    outside = manifest.index[manifest["path"].map(checks.is_outside)]
    reasons |= dict.fromkeys(outside, "its path leaves data/ingested")
    return reasons | {row: text for row, text in enumerate(manifest["problem"]) if text}


def _given(manifest: pd.DataFrame, reasons: dict[int, str], settings: SplitParams) -> pd.Series | None:
    """The part in column split.given of each row without a reason; None without split.given."""
    if not settings.given:
        return None
    if settings.given not in manifest:
        raise missing_column("split.given", settings.given, group_columns(manifest))
    usable = manifest.drop(index=list(reasons)).set_index("key")[settings.given]
    parts = parts_of(usable, settings.given) if len(usable) else usable
    return pd.Series(parts.to_numpy(), index=manifest.index.drop(list(reasons)))


def _count_across_parts(manifest: pd.DataFrame, part: pd.Series, copies: Mapping[int, str]) -> int:
    """Number of `copies` that lie in another part than their original; prints a message if there are any."""
    left_out = manifest.loc[list(copies)]
    parts = part.groupby(manifest["sha256"]).nunique()
    across = int((left_out["sha256"].map(parts) > 1).sum())
    if across:
        print(
            f"validate: {across} clips are byte-identical to a clip of another given part and left out "
            "(test keeps its own, then val); quarantine.csv names them.",
            file=sys.stderr,
        )
    return across


def _decoded(
    manifest: pd.DataFrame, reasons: dict[int, str], paths: Paths, extract: ExtractParams
) -> dict[int, Survey]:
    """Decode every row without a reason. Returns usable clips by row; adds to `reasons` for the others."""
    rows = [row for row in range(len(manifest)) if row not in reasons]
    files = [paths.ingested / str(manifest["path"].iloc[row]) for row in rows]
    seen: dict[int, Survey] = {}
    for position, outcome in progress_bar(
        parallel_map(partial(survey, bits=extract.bits), files), "validate", len(files)
    ):
        row = rows[position]
        if isinstance(outcome, Exception):
            reasons[row] = str(outcome) or type(outcome).__name__
        elif wrong := checks.defect(outcome, extract):
            reasons[row] = wrong
        else:
            seen[row] = outcome
    return seen


def _accepted(manifest: pd.DataFrame, seen: dict[int, Survey], reasons: dict[int, str]) -> pd.DataFrame:
    """The rows without a reason, sorted by key, with decoded values instead of those in the headers.

    The index is the manifest's. A clip with the same bytes as a held-out clip is held out too.
    """
    clips = manifest.loc[[row for row in seen if row not in reasons]].sort_values("key")
    decoded = [seen[row] for row in clips.index]
    held_out = manifest["sha256"].isin(manifest["sha256"][manifest["held_out"].astype(bool)])
    return clips.assign(
        frames=np.array([len(clip.timeline.times) for clip in decoded], np.int64),
        seconds=np.array([clip.timeline.seconds for clip in decoded], np.float64),
        height=np.array([clip.size[0] for clip in decoded], np.int64),
        width=np.array([clip.size[1] for clip in decoded], np.int64),
        interlaced=np.array([clip.interlaced > 0 for clip in decoded], bool),
        held_out=held_out[clips.index],
    )


def _first(clips: pd.DataFrame, sets: npt.ArrayLike) -> pd.Series:
    """The id of the first clip of each clip's set."""
    return clips["id"].groupby(np.asarray(sets)).transform("first")


def _summary(
    manifest: pd.DataFrame, clips: pd.DataFrame, classes: list[str], found: list[shortcuts.Shortcut]
) -> dict[str, Any]:
    sets = clips.groupby("twin")["label"]
    return {
        "clips": len(manifest),
        "accepted": len(clips),
        "quarantined": len(manifest) - len(clips),
        "classes": {label: int((clips["label"] == label).sum()) for label in classes},
        "twin_sets": int((sets.size() > 1).sum()),
        "twin_sets_of_several_classes": int((sets.nunique() > 1).sum()),
        "shortcuts": [asdict(cue) | {"flagged": cue.flagged} for cue in found],
    }


def _shortcuts(
    clips: pd.DataFrame, seen: dict[int, Survey], group_by: list[str], settings: ValidateParams
) -> list[shortcuts.Shortcut]:
    mean = _stack(clips, seen, "mean").reshape(len(clips), -1)
    cues: dict[str, npt.ArrayLike] = {
        "border": _stack(clips, seen, "border"),
        "resolution": clips[["width", "height"]].to_numpy(float),
        "file_size": np.log(clips["bytes"].to_numpy(float)),
        "codec": pd.get_dummies(clips["codec"]).to_numpy(float),
    }
    if (clips["fps"] == 0).all():
        # The mean of a video's frames shows the background; that of a picture is the picture itself.
        cues["exposure"] = np.column_stack([mean.mean(axis=1), mean.std(axis=1)])
    else:
        cues["mean_frame"] = mean
        cues["duration"] = clips["seconds"].to_numpy(float)
        cues["fps"] = clips["fps"].to_numpy(float)
    return shortcuts.find_shortcuts(
        cues,
        clips["label"].tolist(),
        group_names(clips, group_by).tolist() if group_by else None,
        clips["twin"].tolist(),
        settings.probe_permutations,
    )


def _stack(clips: pd.DataFrame, seen: dict[int, Survey], name: str) -> npt.NDArray[np.float32]:
    return np.array([getattr(seen[row], name) for row in clips.index], np.float32)


def _check_quarantine_share(reasons: list[str], total: int, settings: ValidateParams, table: Path) -> None:
    """Raise UserError, with the commonest of `reasons`, when too many of `total` clips have one."""
    if len(reasons) <= settings.max_quarantined * total and len(reasons) < total:
        return
    kinds: dict[str, list[str]] = {}
    for reason in reasons:
        kinds.setdefault(re.sub(r"[\d.]+", "", reason), []).append(reason)  # numbers differ from clip to clip
    most = max(kinds.values(), key=len)
    told = f"{len(most)} for this: {most[0]}; {table} gives the reason of each."
    if len(reasons) == total:
        raise UserError(f"none of {total} clips can be used, {told}")
    raise UserError(
        f"{len(reasons)} of {total} clips are quarantined, more than the share of "
        f"{settings.max_quarantined:g} that validate.max_quarantined allows, {told}"
    )


def _check_enough_clips(
    clips: pd.DataFrame, classes: list[str], settings: ValidateParams, group_by: list[str], split: SplitParams
) -> None:
    """Raise UserError when a split could not give every class clips to train on and to test on."""
    if len(classes) < 2:
        raise UserError(f"all clips are of one class, {classes[0]}: there is nothing to tell apart.")
    for label in classes:
        if (count := (clips["label"] == label).sum()) < settings.min_clips:
            raise UserError(
                f"class {label} has {count} usable clips, fewer than validate.min_clips = "
                f"{settings.min_clips}: add clips or leave the class out."
            )
    if split.given:
        split_as_given(clips, group_by, split.given)
        return
    group = components(clips, group_by)
    by = f"by {', '.join(group_by)}" if group_by else "of clips that are no twins"
    if group.nunique() < 3:
        raise UserError(
            f"train, val and test need three groups and there are {group.nunique()} {by}: "
            "add recordings or change split.group_by."
        )
    for label in classes:
        mine = clips["label"] == label
        if group[mine].nunique() < 2:
            raise UserError(
                f"class {label} lies in one group {by}, {group[mine].iloc[0]}; the split needs two, "
                "one to learn from and one to be judged on: add recordings or change split.group_by."
            )
