"""What a version records of the clips that it has learnt from."""

import json
from pathlib import Path

import pandas as pd
import pytest

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.registry.lineage import build_lineage, training_data
from slimstream.runtimes.base import Form, write_forms


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A pipeline of three pictures, whose source has a column `part`: a casting."""
    paths = Paths(tmp_path)
    rows = [(f"c{n}", f"c{n}.png", f"s{n}", f"t{n}", "ok", f"casting {n}") for n in range(3)]
    clips = pd.DataFrame(rows, columns=["id", "path", "sha256", "twin", "label", "part"])
    paths.clips.parent.mkdir(parents=True)
    clips.to_parquet(paths.clips)
    parts = {"id": clips["id"], "part": ["train", "val", "test"], "group": clips["part"], "label": "ok"}
    pd.DataFrame(parts).to_parquet(paths.split)
    paths.split_info.write_text(json.dumps({"hash": "h", "group_by": ["part"]}))
    paths.export("slim").mkdir(parents=True)
    form = Form("onnx", 0.0, 0.0, 1.0, 1.0, 1.0)
    write_forms(paths.export("slim"), form, [form])
    return paths


def test_a_column_of_the_users_that_is_called_part_is_kept(paths: Paths) -> None:
    found = build_lineage(Params(recipe="casting"), paths, "slim", None)
    assert [(clip["part"], clip["groups"]["part"]) for clip in found["training_clips"]] == [
        ("train", "casting 0"),
        ("val", "casting 1"),
    ]
    assert set(training_data(found).clips["part"]) == {"casting 0", "casting 1"}


def test_of_earlier_versions_the_column_is_not_believed() -> None:
    clips = [
        {"sha256": f"s{n}", "twin": f"t{n}", "groups": {"part": p}} for n, p in enumerate(["train", "val"])
    ]
    assert "part" not in training_data({"training_clips": clips, "group_by": ["part"]}).clips
