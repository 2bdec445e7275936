"""Clips labelled in `watch` join the source: scan lists, ingest fetches them, and cameras stay apart."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from slimstream.catalog.listing import LABELLED
from slimstream.catalog.manifest import read_manifest
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments.stage_runs import with_source
from slimstream.pipeline.params import Params
from slimstream.splits.columns import check_columns
from slimstream.splits.params import SplitParams
from slimstream.stages.ingest import stage
from slimstream.stages.ingest.params import IngestParams, RigParams
from slimstream.stages.ingest.scan import ScanResult, scan
from slimstream.watch.inbox import labels
from slimstream.watch.inbox.clip import write_clip
from slimstream.watch.inbox.store import Store
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny
from tests.unit.watch.inbox.windows import item

INGEST = IngestParams(source="plant")
GATE, ROOF = item(1), item(2, camera="roof")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A folder of clips with a table, and an inbox with two windows."""
    rows = ["path,label,camera,shift,part"]
    for n, (camera, label) in enumerate([("gate", "leak"), ("gate", "normal"), ("door", "leak")]):
        render(tmp_path / f"plant/{n}.mp4", label, 1.0)
        rows.append(f"{n}.mp4,{label},{camera},day,{'test' if camera == 'door' else 'train'}")
    (tmp_path / "plant/metadata.csv").write_text("\n".join(rows))
    store = Store(tmp_path / "watched/inbox")
    shown = [(n / 25, tiny.flat(tiny.RED)) for n in range(8)]
    for each in (GATE, ROOF):
        store.add(each, lambda path: write_clip(shown, path))
    return Paths(tmp_path)


def look(paths: Paths, write: bool = True, ingest: IngestParams = INGEST) -> ScanResult:
    return scan(ingest, ["camera"], paths, write=write)


def test_the_daily_look_finds_labelled_windows_and_ingest_fetches_them(paths: Paths) -> None:
    store = Store(paths.root / "watched/inbox")
    assert look(paths).clips == 3 and not look(paths).differs
    labels.label(store, GATE.id, "leak")
    labels.label(store, ROOF.id, "foam")
    found = look(paths, write=False)
    assert found.new == [f"{LABELLED}{GATE.clip}", f"{LABELLED}{ROOF.clip}"] and not found.rejected
    look(paths)
    assert stage.run(INGEST, paths, lambda *_: None)["problems"] == 0
    table = read_manifest(paths.manifest).set_index("key")
    assert table.loc[f"{LABELLED}{ROOF.clip}", "label"] == "foam" and len(table) == 5
    assert table.loc[f"{LABELLED}{GATE.clip}", "frames"] == 8
    # A column that the inbox has not is train, or different for each clip.
    groups = table.loc[[f"{LABELLED}{each.clip}" for each in (GATE, ROOF)], ["camera", "shift", "part"]]
    assert groups.to_numpy().tolist() == [["gate", GATE.id, "train"], ["roof", ROOF.id, "train"]]
    labels.undo(store, GATE.id)
    assert look(paths).removed == [f"{LABELLED}{GATE.clip}"]


def test_the_daily_look_works_in_a_worktree_of_its_own(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(paths)
    labels.label(Store(paths.root / "watched/inbox"), GATE.id, "leak")
    (tmp_path / "worktree").mkdir()
    (tmp_path / "worktree/source.lock.json").write_bytes(paths.source_lock.read_bytes())
    monkeypatch.setenv("SLIMSTREAM_SOURCE_ROOT", str(tmp_path))
    assert look(Paths(tmp_path / "worktree"), write=False).new == [f"{LABELLED}{GATE.clip}"]


def test_groups_of_other_names_are_a_camera_and_a_day(paths: Paths) -> None:
    labels.label(Store(paths.root / "watched/inbox"), ROOF.id, "leak")
    found = scan(INGEST, ["shift"], paths)
    (roof,) = (each for each in found.items if each.key.startswith(LABELLED))
    assert roof.groups["shift"] == f"roof {ROOF.day}" and roof.groups["camera"] == "roof"
    assert not check_columns(found.items, SplitParams(group_by=["shift"], given="part"), [])


def test_class_folders_take_no_columns(paths: Paths) -> None:
    labels.label(Store(paths.root / "watched/inbox"), ROOF.id, "leak")
    render(paths.root / "folders/leak/a.mp4", "leak", 1.0)
    found = look(paths, ingest=IngestParams(source="folders"))
    assert [(each.key, dict(each.groups)) for each in found.items] == [
        (f"{LABELLED}{ROOF.clip}", {}),
        ("leak/a.mp4", {}),
    ]


def test_a_simulated_plant_takes_them_too(paths: Paths) -> None:
    labels.label(Store(paths.root / "watched/inbox"), GATE.id, "leak")
    rig = IngestParams(source="rig", rig=RigParams(recordings=2, clips=1, seconds=0.2, fps=10))
    found = scan(rig, ["recording"], paths)
    (gate,) = (each for each in found.items if each.key.startswith(LABELLED))
    assert gate.groups["recording"] == f"gate {GATE.day}"
    assert stage.run(rig, paths, lambda *_: None)["problems"] == 0
    assert f"{LABELLED}{GATE.clip}" in set(pd.read_parquet(paths.manifest)["key"])


def test_pictures_and_videos_do_not_mix(paths: Paths) -> None:
    store, picture = Store(paths.root / "watched/inbox"), replace(item(3), suffix=".png")
    store.add(picture, lambda path: write_clip([(0.0, tiny.flat(tiny.RED))], path))
    labels.label(store, picture.id, "leak")
    assert look(paths).rejected == {f"{LABELLED}{picture.clip}": "no video, as the clips of the source are"}


def test_labelled_windows_that_cannot_be_used_stop_no_scan(paths: Paths) -> None:
    store, picture = Store(paths.root / "watched/inbox"), replace(item(3), suffix=".png")
    store.add(picture, lambda path: write_clip([(0.0, tiny.flat(tiny.RED))], path))
    for each in (GATE, picture):
        labels.label(store, each.id, "leak")
    found = look(paths)
    assert [*found.rejected] == [f"{LABELLED}{picture.clip}"] and found.clips == 4
    (store.folder / GATE.clip).unlink()
    (store.folder / picture.clip).unlink()
    assert look(paths).clips == 3


def test_other_sources_and_null_take_none(paths: Paths) -> None:
    labels.label(Store(paths.root / "watched/inbox"), GATE.id, "leak")
    assert look(paths, ingest=IngestParams(source="plant", labelled=None)).clips == 3
    assert scan(IngestParams(), ["camera"], paths, "plant").clips == 3  # as of fresh clips
    assert with_source(Params(recipe="r"), "plant").ingest.labelled is None


def test_a_broken_table_is_a_sentence(paths: Paths) -> None:
    (paths.root / "watched/inbox/corrections.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="lacks the column path and label"):
        look(paths)
    (paths.root / "watched/inbox/corrections.csv").write_text("path,label\n1,2\n")
    with pytest.raises(UserError, match="no table of path, was and label"):
        look(paths)
    (paths.root / "watched/inbox/corrections.csv").unlink()
    with pytest.raises(UserError, match="only a folder"):
        look(paths, ingest=IngestParams(source="plant", labelled="rig"))
