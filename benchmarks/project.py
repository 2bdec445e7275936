"""A folder in which stages can run, made from a recipe, as far as the stage `split`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.overhead import ROOT, run_command
from slimstream.pipeline.recipes import load_recipe

QUIET = {"SLIMSTREAM_TRACKING": "off", "SLIMSTREAM_CACHE": ""}


def split_project(root: Path, recipe: str, changes: Mapping[str, Mapping[str, Any]]) -> Path:
    """Run the stages up to `split` in `root`; `changes` are settings by section, in place of the recipe's."""
    settings = load_recipe(ROOT / "recipes" / f"{recipe}.yaml").model_dump(mode="json", by_alias=True)
    for section, values in changes.items():
        settings[section] |= values
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(settings, file)
    for stage in ("scan", "ingest", "validate", "extract", "split"):
        run_command(stage_command(root, stage), ROOT, **QUIET)
    return root


def stage_command(root: Path, stage: str) -> list[str]:
    return [sys.executable, "-m", "slimstream", "--root", str(root), stage]
