"""Checks of single clips and of the tables of clips."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from slimstream.clips.params import ExtractParams
from slimstream.clips.sampling import plan_frames
from slimstream.stages.validate.expectations import LEAST, MOST, of_clips, of_manifest
from slimstream.stages.validate.page import outcome_of, render
from slimstream.stages.validate.survey import Survey


def is_outside(path: str) -> bool:
    """Whether `path` is absolute, empty, has a drive letter, or has `..` in it."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return not parts.parts or parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]


def defect(seen: Survey, p: ExtractParams) -> str:
    """Why a decoded clip cannot be used with the settings `p` of extract; "" when it can."""
    height, width = seen.size
    if len(seen.timeline.times) < 2 and not seen.still:
        return "only one frame can be decoded"
    if seen.defect:
        return seen.defect
    if not seen.constant:
        return "the pictures change their size"
    if min(seen.size) < LEAST or max(seen.size) > MOST:
        return f"{width} × {height} pixels: each side must have {LEAST} to {MOST}"
    try:
        plan_frames(seen.timeline, 0, p)
    except ValueError as error:
        return str(error)
    return ""


def run_expectations(
    manifest: pd.DataFrame, clips: pd.DataFrame, classes: Sequence[str], folder: Path
) -> list[str]:
    """Check the `manifest` and the accepted `clips`, and write all outcomes to folder/index.html.

    Returns the expectations that are not met, one sentence each; empty when all are.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    outcomes = {}
    for name, table, expectations in (
        ("manifest", manifest, of_manifest(gx.expectations)),
        ("clips", clips, of_clips(gx.expectations, classes, bool((clips["fps"] == 0).all()))),
    ):
        batch = context.data_sources.pandas_default.read_dataframe(table.astype(object))
        suite = gx.ExpectationSuite(name=name, expectations=expectations)
        results = batch.validate(suite, result_format="COMPLETE").results
        outcomes[name] = sorted((outcome_of(result, table) for result in results), key=lambda o: o.met)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(render(outcomes), encoding="utf-8")
    return [f"{name}: {outcome}" for name, all_ in outcomes.items() for outcome in all_ if not outcome.met]
