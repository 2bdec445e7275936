"""split: part the accepted clips into train, val and test by groups; its hash travels with every result."""

import json
import sys
from typing import Any

import pandas as pd

from slimstream.data.splits import PARTS, split, summary
from slimstream.errors import UserError
from slimstream.params import Params
from slimstream.paths import Paths
from slimstream.progress import Log


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    """Write data/split.parquet and data/split.json; returns clips and groups by part, and what is wrong.

    `lacking` counts (part, class) pairs without a clip, `released` clips that were test and, because
    split.test_group says so, are not any more.
    """
    settings = params.split
    if not paths.clips.is_file():
        raise UserError(f"{paths.clips} is missing: run the validate stage first (dvc repro validate).")
    clips = pd.read_parquet(paths.clips)
    parts = split(
        clips,
        settings.group_by,
        settings.train,
        settings.val,
        settings.test,
        test_group=settings.test_group,
        seed=settings.seed,
    )
    parts["video"] = parts["id"].map(clips.set_index("id", drop=False)[settings.video or "id"])
    info: dict[str, Any] = summary(parts, settings.group_by)
    for part, classes in info["lacking"].items():
        if classes:
            print(f"split: no clip of {', '.join(classes)} is in {part}.", file=sys.stderr)
    held = parts["id"].isin(clips["id"][clips["held_out"].astype(bool)])
    released = int((held & (parts["part"] != "test")).sum())
    if released:
        print(
            f"split: {released} clips of earlier test parts are not test under test_group.", file=sys.stderr
        )

    paths.split.parent.mkdir(parents=True, exist_ok=True)
    parts.to_parquet(paths.split, index=False)
    paths.split_info.write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n")
    return {
        **{f"{part}_clips": float(sum(info["counts"][part].values())) for part in PARTS},
        **{f"{part}_groups": float(len(info["groups"][part])) for part in PARTS},
        "lacking": float(sum(map(len, info["lacking"].values()))),
        "released": float(released),
    }
