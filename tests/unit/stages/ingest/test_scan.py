import json
from pathlib import Path

import pandas as pd
import pytest

from slimstream.catalog.manifest import clip_id
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.stages.ingest.held_out import last_split_settings
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.scan import read_lock, scan

PARAMS = Params(ingest=IngestParams(source="plant"))
DVC_LOCK = (
    "schema: '2.0'\nstages:\n  split:\n    cmd: x\n    outs:\n    - path: data/split.parquet\n      md5: 0\n"
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A project whose source is the folder `plant` in it: two classes of two."""
    for key in ("on/1.mp4", "on/2.mp4", "off/3.mp4", "off/4.mp4"):
        (tmp_path / "plant" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "plant" / key).write_text(key)
    return Paths(tmp_path)


def add(paths: Paths, key: str) -> None:
    (paths.root / "plant" / key).write_text("new")


def split(paths: Paths, *tested: str) -> None:
    rows = [
        {"id": clip_id(key), "part": "test" if key in tested else "train"} for key in ("on/1.mp4", "on/2.mp4")
    ]
    paths.split.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_parquet(paths.split)


def held_out(paths: Paths) -> list[str]:
    return sorted(read_lock(paths.source_lock).held_out)


def test_the_lock_says_what_is_there(paths: Paths) -> None:
    result = scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    assert str(result) == "plant: 4 clips, 4 new"
    content = json.loads(paths.source_lock.read_text())
    assert content["source"] == "plant" and content["classes"] == ["off", "on"] and content["rejected"] == []
    mtime = (paths.root / "plant/off/3.mp4").stat().st_mtime_ns
    assert content["items"][0] == {
        "key": "off/3.mp4", "label": "off", "size": 9, "mtime_ns": mtime, "groups": {}
    }  # fmt: skip
    assert str(paths.root) not in paths.source_lock.read_text()


def test_nothing_new_changes_no_byte(paths: Paths) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    # Even the way it is written stays: only what it says is compared.
    paths.source_lock.write_text(json.dumps(json.loads(paths.source_lock.read_text())))
    before = paths.source_lock.read_bytes(), paths.source_lock.stat().st_mtime_ns
    result = scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    assert not result.differs and str(result) == "plant: 4 clips, nothing new"
    assert (paths.source_lock.read_bytes(), paths.source_lock.stat().st_mtime_ns) == before


def test_new_changed_removed_and_rejected_are_seen(paths: Paths) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    add(paths, "on/9.mp4")
    add(paths, "on/1.mp4")
    add(paths, "stray.mp4")
    (paths.root / "plant/off/3.mp4").unlink()
    result = scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    assert (result.new, result.changed, result.removed) == (["on/9.mp4"], ["on/1.mp4"], ["off/3.mp4"])
    assert result.differs and "rejected stray.mp4: lies in no class folder" in str(result)
    assert not scan(PARAMS.ingest, PARAMS.split.group_by, paths).differs


def test_a_lock_is_read_as_written(paths: Paths) -> None:
    (paths.root / "plant/metadata.csv").write_text("path,label,camera\non/1.mp4,ö,c1\non/gone.mp4,x,c2\n")
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    lock = read_lock(paths.source_lock)
    assert lock.listing.items[0].groups == {"camera": "c1"} and lock.listing.items[0].label == "ö"
    assert lock.listing.rejected == {"on/gone.mp4": "no such file in the source"}
    assert not scan(PARAMS.ingest, PARAMS.split.group_by, paths).differs


def test_what_is_skipped_is_counted_and_is_no_news(paths: Paths) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    for key in ("on/1.txt", "on/2.txt", "thumb.webq", "._3.mp4"):
        add(paths, key)
    result = scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    assert not result.differs
    assert str(result).splitlines()[1] == "  4 files skipped: 2 .txt, 1 .webq, 1 hidden or system"


def test_names_alone_hold_at_another_source_and_what_they_miss_is_said(paths: Paths) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    split(paths, "on/1.mp4", "on/2.mp4")  # nobody wrote their contents down
    (paths.root / "plant").rename(paths.root / "other")
    (paths.root / "other/on/2.mp4").rename(paths.root / "other/on/renamed.mp4")
    result = scan(PARAMS.ingest, PARAMS.split.group_by, paths, "other/")
    assert result.source == "other" and len(result.new) == 4 and held_out(paths) == ["on/1.mp4"]
    assert "1 earlier test clips are known by their names alone" in str(result)


def test_tested_clips_stay_held_out_when_something_is_new(paths: Paths) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    split(paths, "on/1.mp4")
    assert not scan(PARAMS.ingest, PARAMS.split.group_by, paths).differs, "a split alone is nothing new"
    assert held_out(paths) == []
    add(paths, "on/9.mp4")
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    assert held_out(paths) == ["on/1.mp4"]
    assert not scan(PARAMS.ingest, PARAMS.split.group_by, paths).differs
    split(paths, "on/2.mp4")
    add(paths, "on/10.mp4")
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    assert held_out(paths) == ["on/1.mp4", "on/2.mp4"], "once tested, always held out"


def test_other_settings_of_split_do_not_free_what_was_tested(paths: Paths) -> None:
    """With nothing new, another seed would let networks learn from clips that earlier ones were judged on."""
    lock = DVC_LOCK.replace(
        "    outs:", "    params:\n      params.yaml:\n        split:\n          seed: 0\n    outs:"
    )
    scan(PARAMS.ingest, [], paths)
    split(paths, "on/1.mp4")
    pd.DataFrame([{"id": clip_id("on/1.mp4"), "sha256": "a1"}]).to_parquet(paths.manifest)
    (paths.root / "dvc.lock").write_text(lock)
    assert last_split_settings(paths) == {"seed": 0}
    before = paths.source_lock.read_bytes()
    assert not scan(PARAMS.ingest, [], paths).differs and paths.source_lock.read_bytes() == before
    found = scan(PARAMS.ingest, [], paths, split_differs=True)
    assert not found.differs and held_out(paths) == ["on/1.mp4"]
    assert "the settings of split have changed: 1 test clips of before stay test" in str(found)
    before = paths.source_lock.read_bytes()
    assert not scan(PARAMS.ingest, [], paths, split_differs=True).notes, "it is said once"
    assert paths.source_lock.read_bytes() == before


@pytest.mark.parametrize("name", ["split", "manifest"])
def test_a_damaged_table_is_named(paths: Paths, name: str) -> None:
    scan(PARAMS.ingest, [], paths)
    split(paths, "on/1.mp4")
    getattr(paths, name).write_bytes(b"PAR1")
    add(paths, "on/9.mp4")
    with pytest.raises(UserError, match=rf"{name}\.parquet cannot be read.*dvc checkout"):
        scan(PARAMS.ingest, [], paths)


def test_a_split_that_is_not_checked_out_is_asked_for(paths: Paths) -> None:
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    (paths.root / "dvc.lock").write_text(DVC_LOCK)
    assert not scan(PARAMS.ingest, PARAMS.split.group_by, paths).differs, "nothing new, nothing needed"
    add(paths, "on/9.mp4")
    with pytest.raises(UserError, match=r"run `dvc checkout data/split\.parquet`"):
        scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    split(paths, "on/1.mp4")
    scan(PARAMS.ingest, PARAMS.split.group_by, paths)
    assert held_out(paths) == ["on/1.mp4"]


def test_a_missing_or_broken_lock_is_told(paths: Paths) -> None:
    with pytest.raises(UserError, match=r"source\.lock\.json is missing: run `python -m slimstream scan`"):
        read_lock(paths.source_lock)
    for text in ("<<<<<<< HEAD", "[]", "{}", '{"source": "x", "items": [{}], "rejected": []}'):
        paths.source_lock.write_text(text)
        with pytest.raises(UserError, match="delete it and scan again"):
            read_lock(paths.source_lock)


@pytest.mark.shared
def test_the_real_clips_are_seen_by_their_relative_path(tank_state: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").symlink_to(tank_state)
    result = scan(PARAMS.ingest, PARAMS.split.group_by, Paths(tmp_path), "clips")
    assert result.clips == 426 and not result.rejected
    assert str(tank_state) not in Paths(tmp_path).source_lock.read_text()
