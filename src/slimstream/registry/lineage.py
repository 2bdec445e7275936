"""The lineage of a version: a JSON record of its data, code and configuration, stored with the version."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from slimstream.catalog.manifest import RESERVED
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.registry.gate import TrainingData
from slimstream.runtimes import REFERENCE, find_runtime
from slimstream.runtimes.base import read_forms
from slimstream.runtimes.calibration import calibration_files
from slimstream.stages.ingest.held_out import HeldOut, last_split
from slimstream.stages.ingest.scan import read_lock
from slimstream.tracking.repository import git
from slimstream.tracking.run import read_json


def build_lineage(params: Params, paths: Paths, chosen: str, flow_run_id: str | None) -> dict[str, Any]:
    """Return the lineage of the model `chosen` as a JSON object.

    All possible group columns are recorded, because a later model may be split by another one.
    """
    clips = pd.read_parquet(paths.clips)
    part = clips["id"].map(pd.read_parquet(paths.split).set_index("id")["part"])
    groups = sorted(set(clips.columns) - RESERVED)
    split = read_json(paths.split_info)
    return {
        "model": chosen,
        "recipe": params.recipe,
        "source": params.ingest.source,
        "git_commit": (git(paths, "rev-parse", "HEAD") or "").strip() or None,
        "dirty": bool(git(paths, "status", "--porcelain", "--untracked-files=no", "--", ".")),
        "dvc_lock_sha256": _sha256(paths.root / "dvc.lock"),
        "network_sha256": _sha256(*find_runtime(REFERENCE).paths(paths.export(chosen))),
        "runtime": (form := read_forms(paths.export(chosen))[0].runtime),
        "form_sha256": _sha256(
            *find_runtime(form).paths(paths.export(chosen)),
            *calibration_files(paths.export(chosen)),
            salt=form,
        ),
        "split_hash": split.get("hash"),
        "group_by": split.get("group_by", params.split.group_by),  # only columns that exist
        "given": split.get("given"),
        "without": split.get("without", []),
        "training_clips": [
            {
                "sha256": row["sha256"],
                "twin": row["twin"],
                "part": known,
                "groups": {column: row[column] for column in groups},
            }
            for row, known in zip(clips.to_dict("records"), part, strict=True)
            if known in ("train", "val")
        ],
        "held_out": _held_out(paths).to_json(),
        "flow_run_id": flow_run_id,
        "mlflow_runs": {
            file.stem: read_json(file).get("run_id")
            for file in sorted(paths.run("x").parent.glob("*.json"))
            if file.stem in STAGES
        },
    }


def training_data(lineage: Mapping[str, Any]) -> TrainingData:
    """Return the training clips of a version, as the gate needs them."""
    rows = [
        {"sha256": clip["sha256"], "twin": clip["twin"], **clip["groups"]}
        for clip in lineage["training_clips"]
    ]
    clips = pd.DataFrame(rows)
    # Versions of earlier times have the part of the split there instead of the user's column.
    if "part" in clips and set(clips["part"]) <= {"train", "val"}:
        clips = clips.drop(columns="part")
    return TrainingData(clips, tuple(lineage["group_by"]))


def _held_out(paths: Paths) -> HeldOut:
    """Return the clips and groups that are, or ever were, in a test part."""
    before = read_lock(paths.source_lock).memory if paths.source_lock.exists() else HeldOut()
    return before | last_split(paths).held_out


def _sha256(*files: Path, salt: str = "") -> str | None:
    """SHA-256 of `salt` and the concatenated contents of `files`; None when a file is missing."""
    if not all(file.is_file() for file in files):
        return None
    return hashlib.sha256(b"".join([salt.encode(), *(file.read_bytes() for file in files)])).hexdigest()
