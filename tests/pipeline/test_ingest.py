"""ingest on tiny rendered clips: a folder, the rig, and everything that may be wrong with them."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slimstream.catalog.manifest import clip_id, read_manifest
from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.ingest.params import BenchParams, IngestParams, PelletsParams, RigParams
from slimstream.stages.ingest.scan import scan
from slimstream.stages.ingest.sources import FolderSource
from tests.unit.clips.rendered_clips import write_video

RIG = Params(ingest=IngestParams(rig=RigParams(recordings=2, clips=1, seconds=0.2)))
FOLDER = Params(ingest=IngestParams(source="plant"))


def run(params: Params, root: Path) -> tuple[dict[str, float], pd.DataFrame]:
    metrics = STAGES["ingest"].run(params, Paths(root), null_log)
    return metrics, read_manifest(Paths(root).manifest).set_index("key")


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    """A folder `plant` with a good clip in each of two classes."""
    for index, label in enumerate(("on", "off")):
        (tmp_path / "plant" / label).mkdir(parents=True)
        pictures = np.random.default_rng(index).integers(0, 255, (5, 24, 32, 3), np.uint8)
        write_video(tmp_path / "plant" / label / f"{index}.avi", pictures, fps=10)
    return tmp_path / "plant"


def test_the_rig_becomes_raw_clips_and_a_manifest(tmp_path: Path) -> None:
    scan(RIG.ingest, RIG.split.group_by, Paths(tmp_path))
    metrics, table = run(RIG, tmp_path)
    assert metrics | {"bytes": 0} == {"clips": 6, "bytes": 0, "fetched": 6, "reused": 0, "problems": 0}
    first = table.loc["rig/recording_01/normal_0.mp4"]
    assert (first.frames, first.fps, first.width, first.height, first.seconds) == (5, 25, 192, 144, 0.2)
    assert (first.label, first.recording, first.problem) == ("normal", "recording_01", "")
    raw = tmp_path / "data/ingested" / first.path
    assert raw.stat().st_size == first.bytes and raw.name == f"{clip_id(first.name)}.mp4"
    assert sorted(path.name for path in raw.parent.iterdir()) == sorted(table.path)


def test_what_came_while_a_source_went_away_is_not_fetched_again(
    plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first clip is still on its way, and then fails, when the second is there."""
    fetch, there = FolderSource.fetch, threading.Event()

    def slow(self: FolderSource, key: str, *more: Any) -> None:
        if key.startswith("off"):
            assert there.wait(10)
            raise Unavailable("the source does not answer")
        fetch(self, key, *more)
        there.set()

    paths = Paths(plant.parent)
    scan(FOLDER.ingest, [], paths)
    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "fetch", slow)
        patch.setattr(FolderSource, "workers", 2)
        with pytest.raises(Unavailable):
            run(FOLDER, plant.parent)
    metrics, _ = run(FOLDER, plant.parent)
    assert (metrics["fetched"], metrics["reused"]) == (1, 1)


def test_the_other_plants_become_clips_and_a_manifest(tmp_path: Path) -> None:
    bench = BenchParams(persons=2, videos=1, clips=1, seconds=0.4, fps=10)
    for source, classes, column in (("bench", 5, "person"), ("pellets", 2, "batch")):
        params = IngestParams(source=source, bench=bench, pellets=PelletsParams(batches=2, pictures=1))
        scan(params, [column], Paths(tmp_path))
        metrics, table = run(Params(ingest=params), tmp_path)
        assert metrics["clips"] == 2 * classes and not metrics["problems"]
        assert table.groupby(column)["label"].nunique().tolist() == [classes] * 2
        assert set(table["fps"]) == {10 if source == "bench" else 0}, "pictures have no rate"


def test_what_was_fetched_once_is_linked(tmp_path: Path) -> None:
    scan(RIG.ingest, RIG.split.group_by, Paths(tmp_path))
    _, before = run(RIG, tmp_path)
    manifest = Paths(tmp_path).manifest.read_bytes()
    shutil.rmtree(tmp_path / "data")  # as DVC does before a stage runs
    metrics, after = run(RIG, tmp_path)
    assert (metrics["fetched"], metrics["reused"]) == (0, 6)
    assert Paths(tmp_path).manifest.read_bytes() == manifest and before.equals(after)


def test_a_changed_rig_asks_for_a_scan(tmp_path: Path) -> None:
    scan(RIG.ingest, RIG.split.group_by, Paths(tmp_path))
    other = Params(ingest=IngestParams(rig=RigParams(recordings=2, clips=1, seconds=0.2, seed=1)))
    for params in (other, FOLDER):
        with pytest.raises(UserError, match="run `python -m slimstream scan`"):
            run(params, tmp_path)


def test_nothing_is_ingested_before_a_scan(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scan"):
        run(RIG, tmp_path)


def test_bad_clips_are_rows_with_a_problem_and_the_rest_goes_on(plant: Path) -> None:
    good = (plant / "on/0.avi").read_bytes()
    (plant / "on/empty.mp4").touch()
    (plant / "on/text.mp4").write_text("not a video")
    (plant / "on/cut.avi").write_bytes(good[:200])
    (plant / "on/misnamed.mp4").write_bytes(good)
    (plant / "on/gone.avi").write_bytes(good)
    (plant / "on/new.avi").write_bytes(good)
    (plant / "stray.mp4").write_bytes(good)
    scan(FOLDER.ingest, FOLDER.split.group_by, Paths(plant.parent))
    (plant / "on/gone.avi").unlink()
    (plant / "on/new.avi").write_bytes(good + b" ")
    metrics, table = run(FOLDER, plant.parent)
    assert (metrics["clips"], metrics["problems"]) == (3, 6)
    assert table.problem.to_dict() == {
        "off/1.avi": "",
        "on/0.avi": "",
        "on/misnamed.mp4": "",
        "on/empty.mp4": "the file is empty",
        "on/text.mp4": "no video stream can be opened",
        "on/cut.avi": "no video stream can be opened",
        "on/gone.avi": "the file is missing",
        "on/new.avi": "changed since the scan; scan again",
        "stray.mp4": "lies in no class folder",
    }
    assert table.loc["on/gone.avi", "path"] == "" and table.loc["on/empty.mp4", "path"] != ""


def test_a_new_scan_takes_the_changed_clip(plant: Path) -> None:
    scan(FOLDER.ingest, FOLDER.split.group_by, Paths(plant.parent))
    run(FOLDER, plant.parent)
    shutil.copy(plant / "off/1.avi", plant / "on/0.avi")
    scan(FOLDER.ingest, FOLDER.split.group_by, Paths(plant.parent))
    metrics, table = run(FOLDER, plant.parent)
    assert (metrics["fetched"], metrics["reused"]) == (1, 1)
    assert table.loc["on/0.avi", "sha256"] == table.loc["off/1.avi", "sha256"]


def test_the_source_is_never_touched(plant: Path) -> None:
    scan(FOLDER.ingest, FOLDER.split.group_by, Paths(plant.parent))
    _, table = run(FOLDER, plant.parent)
    before = (plant / "on/0.avi").read_bytes()
    assert (plant / "on/0.avi").stat().st_mode & 0o200
    raw = plant.parent / "data/ingested" / table.loc["on/0.avi", "path"]
    raw.chmod(0o644)
    raw.write_bytes(b"scribble")
    assert (plant / "on/0.avi").read_bytes() == before
    metrics, again = run(FOLDER, plant.parent)  # and the scribble does not survive either
    assert metrics["fetched"] == 1 and again.equals(table)


def test_where_the_clips_go_may_be_a_link_and_what_it_leads_to_stays(plant: Path) -> None:
    paths, elsewhere = Paths(plant.parent), plant.parent / "elsewhere"
    elsewhere.mkdir()
    mine = elsewhere / "gate-0123abcd.avi"  # named as one of ours
    mine.write_text("the only copy")
    scan(FOLDER.ingest, FOLDER.split.group_by, paths)
    paths.ingested.parent.mkdir(parents=True)
    paths.ingested.symlink_to(elsewhere)
    run(FOLDER, paths.root)
    assert mine.read_text() == "the only copy" and not paths.ingested.is_symlink()


def test_groups_and_held_out_flags_reach_the_manifest(plant: Path) -> None:
    (plant / "metadata.csv").write_text("path,label,camera\non/0.avi,x,c1\noff/1.avi,y,c2\n../e.avi,y,c3\n")
    paths = Paths(plant.parent)
    scan(FOLDER.ingest, FOLDER.split.group_by, paths)
    text = paths.source_lock.read_text()
    paths.source_lock.write_text(text.replace('"key": "on/0.avi",', '"key": "on/0.avi", "held_out": true,'))
    _, table = run(FOLDER, plant.parent)
    assert table.camera.to_dict() == {"on/0.avi": "c1", "off/1.avi": "c2", "../e.avi": ""}
    assert table.index[table.held_out].tolist() == ["on/0.avi"]
    assert table.loc["../e.avi", "problem"] == "the path leaves the source"


def test_a_source_that_went_away_is_told_unless_all_is_there(plant: Path) -> None:
    scan(FOLDER.ingest, FOLDER.split.group_by, Paths(plant.parent))
    plant.rename(plant.parent / "elsewhere")
    with pytest.raises(UserError, match="plant does not exist"):
        run(FOLDER, plant.parent)
    (plant.parent / "elsewhere").rename(plant)
    run(FOLDER, plant.parent)
    shutil.rmtree(plant)
    assert run(FOLDER, plant.parent)[0]["reused"] == 2


def test_no_place_to_write_is_one_sentence(plant: Path) -> None:
    scan(FOLDER.ingest, FOLDER.split.group_by, Paths(plant.parent))
    (plant.parent / "data").touch()
    with pytest.raises(UserError, match="make room or give permission there"):
        run(FOLDER, plant.parent)
