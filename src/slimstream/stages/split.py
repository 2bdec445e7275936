"""split: divide the accepted clips into train, val and test by groups; results record the split's hash."""

import json
import sys
from typing import Any

import pandas as pd

from slimstream.catalog.manifest import group_columns
from slimstream.catalog.part_names import PARTS
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.splits.columns import (
    effective_group_by,
    lacking_columns,
    too_few_test_clips,
    ungrouped_warning,
)
from slimstream.splits.given import divide, leaks
from slimstream.splits.groups import group_names, missing_column, summary
from slimstream.splits.params import SplitParams


def run(split: SplitParams, publish__gate__min_clips: int, paths: Paths, log: Log) -> dict[str, float]:
    """Write data/split.parquet and data/split.json; returns clips and groups per part and counts of problems.

    `lacking` counts (part, class) pairs without a clip. `released` counts clips that were test before and are
    not any more because of split.test_group or split.given. For a given split there are also `leaks`, the val
    and test clips with a near twin in an earlier part, and `shared_groups`, the groups that lie in several
    parts. `publish__gate__min_clips` is publish.gate.min_clips, below which a sentence says what to do.
    Raises UserError when data/clips.parquet or a column is missing, or the clips cannot be divided.
    """
    if not paths.clips.is_file():
        raise UserError(f"{paths.clips} is missing: run the validate stage first (dvc repro validate).")
    clips = pd.read_parquet(paths.clips)
    group_by = effective_group_by(group_columns(clips), split)
    if split.given and split.given not in clips:
        raise missing_column("split.given", split.given, group_columns(clips))
    parts = divide(clips, group_by, split)
    parts["video"] = parts["id"].map(clips.set_index("id", drop=False)[split.video or "id"])
    info: dict[str, Any] = summary(parts, group_by)
    info |= {"without": lacking_columns(group_by, split), "given": split.given, "leaks": leaks(parts)}
    messages = [ungrouped_warning(group_by, split)]
    messages += [
        f"no clip of {', '.join(lost)} is in {part}." for part, lost in info["lacking"].items() if lost
    ]
    held = parts["id"].isin(clips["id"][clips["held_out"].astype(bool)])
    released = int((held & (parts["part"] != "test")).sum())
    if released:
        why = "split.given" if split.given else "test_group"
        messages.append(f"{released} clips of earlier test parts are not test under {why}.")
    metrics = {
        **{f"{part}_clips": float(sum(info["counts"][part].values())) for part in PARTS},
        **{f"{part}_groups": float(len(info["groups"][part])) for part in PARTS},
        "lacking": float(sum(map(len, info["lacking"].values()))),
        "released": float(released),
    }
    if split.given:
        shared = _straddling_groups(clips, parts, group_by)
        metrics |= {
            "leaks": float(sum(map(len, info["leaks"].values()))),
            "shared_groups": float(len(shared)),
        }
        messages += [
            f"{len(ids)} of {int(metrics[f'{part}_clips'])} {part} clips have a near twin in an earlier part "
            f"({ids[0]} first; {paths.split_info} lists them): scores on them are flattered."
            for part, ids in info["leaks"].items()
            if ids
        ]
        if shared:
            messages.append(
                f"{len(shared)} groups by {', '.join(group_by)} lie in several parts ({shared[0]} first): "
                "scores say little of a new group."
            )
    messages.append(too_few_test_clips(int(metrics["test_clips"]), publish__gate__min_clips, split, group_by))
    for sentence in filter(None, messages):
        print(f"split: {sentence}", file=sys.stderr)

    with atomic_write(paths.split) as half:  # the next scan reads from it who was test
        parts.to_parquet(half, index=False)
    paths.split_info.write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n")
    return metrics


def _straddling_groups(clips: pd.DataFrame, parts: pd.DataFrame, group_by: list[str]) -> list[str]:
    """Names of the groups that lie in several parts."""
    if not group_by:
        return []
    group = parts["id"].map(group_names(clips.set_index("id"), group_by))
    several = parts.groupby(group)["part"].nunique() > 1
    return sorted(several.index[several])
