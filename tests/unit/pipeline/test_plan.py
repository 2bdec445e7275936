"""The plan of a run: how the split falls, whether enough clips are judged, and about how long it takes."""

from pathlib import Path
from typing import Any

import pytest

from slimstream.catalog.listing import FileStat, Item
from slimstream.core.paths import Paths
from slimstream.pipeline import plan as module
from slimstream.pipeline.plan import FIRST, WHOLE, plan, seconds
from slimstream.pipeline.recipes import resolve
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.sources import open_source
from tests.unit.clips.rendered_clips import texture, write_picture
from tests.unit.finished_pipeline import render


def items(cameras: int, clips: int) -> list[Item]:
    return [
        Item(f"{label}/{camera}-{number}.mp4", label, FileStat(1), {"camera": str(camera)})
        for camera in range(cameras)
        for label in ("ok", "bad")
        for number in range(clips)
    ]


def said(found: list[Item], **split: Any) -> str:
    return "\n".join(plan(resolve({"split": split}, "here"), Paths(Path("nowhere")), found))


def test_parts_and_groups_are_told() -> None:
    text = said(items(10, 3), group_by=["camera"])
    assert "plan: 60 videos of 2 classes (ok 30, bad 30)." in text
    assert "10 groups by camera" in text and "test 18 clips in 3." in text
    assert "18 test clips suffice for a champion (12 are needed; those that an earlier champion" in text


def test_too_few_test_clips_are_told_with_what_would_suffice() -> None:
    text = said(items(5, 2), group_by=["camera"])
    assert "fewer than publish.gate.min_clips (12)" in text and "About 40 clips in all" in text
    assert "`make folds`" in text and "promote VERSION --force" in text
    text = said(items(5, 2))
    assert "near-twin sets at most" in text and "make folds" not in text, "folds leave out groups"


def test_clips_without_a_group_are_not_counted() -> None:
    odd = Item("ok/odd.mp4", "ok", FileStat(1), {"camera": ""})
    text = said([*items(10, 3), odd], group_by=["camera"])
    assert "61 videos" in text and "10 groups by camera" in text and "test 18 clips in 3." in text
    assert "split will be" not in said(items(10, 3), group_by=["codec"]), "not known before ingest"


def test_one_test_group_is_told_to_say_little_about_another() -> None:
    told = "the test clips are of one camera only, which tells little about another: `make folds`"
    assert told in said(items(4, 12), group_by=["camera"])
    assert told not in said(items(10, 12), group_by=["camera"])


def test_a_split_that_came_with_the_clips_is_told_as_such() -> None:
    """As of folders called train and test; val is taken out of train."""
    found = [
        Item(f"{number}.png", "ab"[number % 2], FileStat(1), {"given": "test" if number < 20 else "train"})
        for number in range(60)
    ]
    text = said(found, group_by=[], given="given")
    assert "the split that came with the clips (column 'given') is kept, about: train" in text
    assert "test 20 clips." in text and "sets" not in text


def test_a_split_that_cannot_be_made_is_told() -> None:
    assert "cannot be split as they are: train, val and test need three" in said(
        items(2, 9), group_by=["camera"]
    )


def test_clips_that_are_too_short_stop_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW", 3)
    for number in range(4):
        render(tmp_path / f"plant/{'ab'[number % 2]}/{number}.mp4", "leak", 1.0)  # eight frames
    settings = {"ingest": {"source": "plant"}, "extract": {"frames": 2, "size": [32, 32], "stride": 20}}
    params, paths = resolve(settings, "here"), Paths(tmp_path)
    found = open_source(IngestParams(source="plant"), "plant", paths).list().items
    assert seconds(params, paths, found, "plant") == (FIRST, WHOLE)


def test_the_time_grows_with_the_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW", 3)
    for number in range(4):
        write_picture(tmp_path / f"plant/{'ab'[number % 2]}/{number}.png", texture(32, number))
    settings = {
        "ingest": {"source": "plant"},
        "extract": {"frames": 1, "flow": "none", "grey": True, "size": [32, 32]},
        "train": {"model": "light_residual_net_small"},
    }
    params, paths = resolve(settings, "here"), Paths(tmp_path)
    found = open_source(IngestParams(source="plant"), "plant", paths).list().items
    first, whole = seconds(params, paths, found, "plant")
    assert FIRST < first < whole and whole > WHOLE
    assert seconds(params, paths, found[:2], "plant") == (FIRST, WHOLE)
    (tmp_path / "plant/a/0.png").write_text("no picture")
    assert "minutes on the" in plan(params, paths, found, "plant")[-1]
