"""What was test is never learnt from later, wherever its clips lie and whatever was lost meanwhile."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pandas as pd
import pytest

from slimstream.catalog.manifest import read_manifest
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.splits.params import SplitParams
from slimstream.stages.ingest.held_out import HeldOut
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.scan import ScanResult, read_lock, scan

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CAMERAS = ("gate", "hall", "roof", "yard", "dock")


def plant(folder: Path, cameras: Sequence[str] = CAMERAS, day: int = 0) -> Path:
    """A source of two pictures a class and camera, in class folders with a metadata.csv."""
    lines = ["path,label,camera,day"]
    for number, (camera, label) in enumerate((c, label) for c in cameras for label in ("ok", "bad")):
        for take in range(2):
            key = f"{label}/{camera}-{day}-{take}.png"
            (folder / label).mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng([day, take, number, *camera.encode()]).integers(0, 255, (9, 9))
            cv2.imwrite(str(folder / key), noise.astype(np.uint8))
            lines.append(f"{key},{label},{camera},{day}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(
    paths: Paths,
    source: str,
    group_by: Sequence[str] = ("camera",),
    known: HeldOut | None = None,
    seed: int = 0,
) -> tuple[ScanResult, dict[str, set[str]]]:
    """scan, ingest and split (validate accepts all); what the scan found and the contents of each part."""
    params = Params(ingest=IngestParams(source=source), split=SplitParams(group_by=list(group_by), seed=seed))
    found = scan(params.ingest, params.split.group_by, paths, ask=lambda: (known or HeldOut(), []))
    STAGES["ingest"].run(params, paths, null_log)
    clips = read_manifest(paths.manifest)
    assert not clips["problem"].any()
    clips.assign(twin=clips["id"]).to_parquet(paths.clips)
    STAGES["split"].run(params, paths, null_log)
    parts = pd.read_parquet(paths.split).merge(clips[["id", "sha256"]], on="id")
    return found, {part: set(rows["sha256"]) for part, rows in parts.groupby("part")}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    plant(tmp_path / "clips")
    (tmp_path / "project").mkdir()
    return Paths(tmp_path / "project")


def cameras(paths: Paths, part: str) -> set[str]:
    parts = pd.read_parquet(paths.split)
    return set(parts["group"][parts["part"] == part])


def moved(paths: Paths) -> str:
    (paths.root.parent / "clips").rename(paths.root.parent / "moved")
    return "../moved"


def renamed(paths: Paths) -> str:
    """Another folder, other file names, other labels, and twice as many cameras."""
    folder = paths.root.parent / "renamed"
    plant(folder, ("pier", "lift", "mill", "tank", "silo"))
    table = pd.read_csv(paths.root.parent / "clips/metadata.csv")
    table["new"] = [f"flat/{number}.png" for number in range(len(table))]
    (folder / "flat").mkdir()
    for row in table.itertuples():
        shutil.copy(paths.root.parent / "clips" / str(row.path), folder / str(row.new))
    table = table.drop(columns="path").rename(columns={"new": "path"})
    table["label"] = table["label"].map({"ok": "bad", "bad": "ok"})
    table["camera"] = "new-" + table["camera"]
    more = pd.read_csv(folder / "metadata.csv")
    pd.concat([table, more]).to_csv(folder / "metadata.csv", index=False)
    return "../renamed"


def lock_lost(paths: Paths) -> str:
    paths.source_lock.unlink()
    return "../clips"


def lock_lost_and_moved(paths: Paths) -> str:
    paths.source_lock.unlink()
    return renamed(paths)


def outs_in_the_cache_alone(paths: Paths) -> str:
    """As after `make clean`: dvc.lock and DVC's cache know the outs."""
    outs = []
    for file in (paths.split, paths.split_info, paths.manifest):
        md5 = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        copy = paths.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
        copy.parent.mkdir(parents=True, exist_ok=True)
        file.rename(copy)
        outs.append({"path": str(file.relative_to(paths.root)), "md5": md5})
    (paths.root / "dvc.lock").write_text(json.dumps({"stages": {"split": {"outs": outs}}}))
    paths.clips.unlink()
    return lock_lost_and_moved(paths)


def old_lock(paths: Paths) -> str:
    """One that names who was held out by key, as locks did, and a split that has forgotten them since."""
    parts = pd.read_parquet(paths.split)
    keys = read_manifest(paths.manifest).set_index("id")["key"]
    tested = set(keys[parts["id"][parts["part"] == "test"]])
    content = json.loads(paths.source_lock.read_text())
    content["items"] = [i | {"held_out": True} if i["key"] in tested else i for i in content["items"]]
    paths.source_lock.write_text(json.dumps(content))
    parts.assign(part="train").to_parquet(paths.split)
    return renamed(paths)


@pytest.mark.parametrize(
    "what", [moved, renamed, lock_lost, lock_lost_and_moved, outs_in_the_cache_alone, old_lock]
)
def test_what_was_test_stays_test(what: Callable[[Paths], str], paths: Paths) -> None:
    _, before = run(paths, "../clips")
    found, after = run(paths, what(paths), seed=1)
    assert len(before["test"]) >= 4 and before["test"] <= after["test"], found.notes
    assert any("are known by content and stay test" in note for note in found.notes)
    # And once more, from yet another place: the lock remembers what the last split does not.
    source = paths.root.parent / "third"
    shutil.copytree((paths.root / found.source).resolve(), source)
    paths.split.unlink()
    assert before["test"] <= run(paths, str(source), seed=2)[1]["test"]


def test_what_was_test_stays_test_in_s3(paths: Paths, s3: "S3Client") -> None:
    _, before = run(paths, "../clips")
    for file in (paths.root.parent / "clips").rglob("*.*"):
        key = file.relative_to(paths.root.parent / "clips").as_posix().replace("-0-", "-")
        text = file.read_bytes()
        s3.put_object(
            Bucket="plant", Key=key, Body=text.replace(b"-0-", b"-") if key.endswith("csv") else text
        )
    _, after = run(paths, "s3://plant", seed=1)
    assert before["test"] <= after["test"]


def test_clips_that_come_back_are_still_test(paths: Paths) -> None:
    _, before = run(paths, "../clips")
    plant(paths.root.parent / "monday", ("pier", "lift", "mill", "tank"))
    for source in ("../monday", "../clips"):
        _, after = run(paths, source, seed=3)
    assert before["test"] <= after["test"]


def test_a_group_stays_test_when_all_its_clips_are_new(paths: Paths) -> None:
    run(paths, "../clips")
    held = cameras(paths, "test")
    plant(paths.root.parent / "later", day=1)
    _, after = run(paths, "../later", seed=1)
    assert held <= cameras(paths, "test") and len(after["test"]) < 20


def test_other_group_columns_are_said_and_contents_still_count(paths: Paths) -> None:
    _, before = run(paths, "../clips")
    plant(paths.root.parent / "later", (*CAMERAS, "pier"), day=1)
    for file in (paths.root.parent / "clips").rglob("*.png"):
        shutil.copy(file, paths.root.parent / "later" / file.parent.name)
    lines = (paths.root.parent / "clips/metadata.csv").read_text().splitlines()[1:]
    table = paths.root.parent / "later/metadata.csv"
    table.write_text(table.read_text() + "\n".join(lines) + "\n")
    found, after = run(paths, "../later", ("camera", "day"))
    assert before["test"] <= after["test"] and cameras(paths, "test") != cameras(paths, "train")
    assert any("were whole groups of camera, and split.group_by is now camera, day" in n for n in found.notes)


def test_a_lost_memory_is_asked_for_and_said(paths: Paths) -> None:
    found, before = run(paths, "../clips")
    assert found.notes == [], "a first scan has nothing to say"
    known = HeldOut(frozenset(before["test"]))
    for lost in (paths.source_lock, paths.split, paths.manifest):
        lost.unlink()
    _, after = run(paths, "../clips", known=known, seed=1)
    assert before["test"] <= after["test"]
    for lost in (paths.source_lock, paths.split):
        lost.unlink()
    assert "nothing tells who was in a test part before" in str(run(paths, "../clips")[0])


def test_a_lock_that_remembers_nothing_yet_asks_when_the_split_is_lost(paths: Paths) -> None:
    """A new clone: source.lock.json was committed after the first scan, and data/ was not."""
    _, before = run(paths, "../clips")
    for lost in (paths.split, paths.manifest):
        lost.unlink()
    plant(paths.root.parent / "clips", (*CAMERAS, "pier", "lift"))
    _, after = run(paths, "../clips", known=HeldOut(frozenset(before["test"])), seed=1)
    assert before["test"] <= after["test"]


def test_the_lock_is_read_as_it_was_written_and_grows_no_second_time(paths: Paths) -> None:
    run(paths, "../clips")
    run(paths, moved(paths))
    memory = read_lock(paths.source_lock).memory
    assert len(memory.sha256) >= 4 and {dict(g).keys() == {"camera"} for g in memory.groups} == {True}
    before = paths.source_lock.read_bytes()
    assert not run(paths, "../moved")[0].differs and paths.source_lock.read_bytes() == before
    (paths.root.parent / "moved/ok/gate-0-0.png").touch()
    os.utime(paths.root.parent / "moved/ok/gate-0-0.png", (0, 0))
    run(paths, "../moved")
    assert read_lock(paths.source_lock).memory == memory


def test_a_lock_without_sense_is_said(paths: Paths) -> None:
    run(paths, "../clips")
    content = json.loads(paths.source_lock.read_text())
    for broken in ([], {"sha256": []}, {"sha256": [], "groups": ["roof"]}):
        paths.source_lock.write_text(json.dumps(content | {"held_out": broken}))
        with pytest.raises(UserError, match="take one of its versions from git, or delete it and scan again"):
            scan(IngestParams(source="../clips"), [], paths)
