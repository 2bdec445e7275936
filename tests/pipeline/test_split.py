"""The split stage: its files, its hash, and what it says of a split that is less than wished."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.splits.params import SplitParams


def clips(cameras: int = 4) -> pd.DataFrame:
    rows = [(f"c{c}-{label}-{n}", label, f"c{c}") for c in range(cameras) for label in "ab" for n in range(3)]
    table = pd.DataFrame(rows, columns=["id", "label", "camera"])
    return table.assign(twin=table["id"], held_out=False)


def run(root: Path, table: pd.DataFrame, **settings: Any) -> tuple[Paths, dict[str, float], dict[str, Any]]:
    paths = Paths(root)
    paths.clips.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(paths.clips)
    metrics = STAGES["split"].run(
        Params(split=SplitParams(**{"group_by": ["camera"]} | settings)), paths, null_log
    )
    return paths, metrics, json.loads(paths.split_info.read_text())


def test_files_and_metrics(tmp_path: Path) -> None:
    paths, metrics, info = run(tmp_path, clips())
    parts = pd.read_parquet(paths.split)
    assert list(parts.columns) == ["id", "label", "group", "twin", "part", "video"] and len(parts) == 24
    assert info["classes"] == ["a", "b"] and info["group_by"] == ["camera"] and len(info["hash"]) == 12
    assert info["counts"] == {
        part: dict.fromkeys("ab", 3 * n) for part, n in (("train", 2), ("val", 1), ("test", 1))
    }
    assert sorted(name for names in info["groups"].values() for name in names) == ["c0", "c1", "c2", "c3"]
    assert metrics == {
        "train_clips": 12,
        "val_clips": 6,
        "test_clips": 6,
        "train_groups": 2,
        "val_groups": 1,
        "test_groups": 1,
        "lacking": 0,
        "released": 0,
    }


def test_the_same_clips_give_the_same_bytes(tmp_path: Path) -> None:
    one, _, info = run(tmp_path / "one", clips())
    other, _, again = run(tmp_path / "other", clips().sample(frac=1, random_state=0))
    assert one.split.read_bytes() == other.split.read_bytes() and info == again


def test_a_new_camera_leaves_the_test_part_alone(tmp_path: Path) -> None:
    paths, _, first = run(tmp_path, clips())
    tested = pd.read_parquet(paths.split).query("part == 'test'")["id"]
    grown = clips(9).assign(held_out=lambda t: t["id"].isin(tested))
    _, _, second = run(tmp_path, grown)
    assert set(first["groups"]["test"]) < set(second["groups"]["test"])
    assert first["hash"] != second["hash"]


def test_a_fold_that_releases_held_out_clips_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = clips().assign(held_out=lambda t: t["camera"] == "c3")
    _, metrics, info = run(tmp_path, table, test_group="c1")
    assert info["groups"]["test"] == ["c1"] and metrics["released"] == 6
    assert "6 clips of earlier test parts" in capsys.readouterr().err


def test_too_few_test_clips_are_told_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, clips())
    said = capsys.readouterr().err
    assert "6 test clips are fewer than publish.gate.min_clips (12)" in said and "`make folds`" in said
    run(tmp_path, clips(8))
    run(tmp_path, clips(), test_group="c1")
    assert "fewer than" not in capsys.readouterr().err, "enough, and a fold"


def test_a_class_that_a_part_lacks_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = clips()[lambda t: (t["label"] == "a") | t["camera"].isin(["c0", "c1"])]
    _, metrics, info = run(tmp_path, table)
    assert metrics["lacking"] == 1 and info["lacking"]["val"] == ["b"]
    assert "no clip of b is in val" in capsys.readouterr().err


def test_without_validation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the validate stage first"):
        STAGES["split"].run(Params(), Paths(tmp_path), null_log)
