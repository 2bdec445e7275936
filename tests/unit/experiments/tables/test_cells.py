"""Which rows share which folders."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slimstream.core.paths import Paths
from slimstream.experiments.tables import cells
from slimstream.experiments.tables.cells import Cell, Data, needs
from slimstream.pipeline.params import Params

TEACHERS = {"vgg": {"model": "vgg16"}}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Data:
    """24 clips of three cameras."""
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    paths = Paths(tmp_path)
    paths.clips.parent.mkdir()
    names = [f"{n:02d}" for n in range(24)]
    clips = pd.DataFrame({"id": names, "sha256": names, "twin": names, "label": ["a", "b"] * 12})
    clips.assign(camera=[f"c{n % 3}" for n in range(24)], held_out=True).to_parquet(paths.clips)
    return Data.open(Params(), paths, None, 5)


def cell(data: Data, model: str, **sections: Any) -> Cell:
    params = Params.model_validate({"split": {"group_by": ["camera"]}, **sections})
    return next(data.cells(model, params))


def test_every_camera_is_a_fold(data: Data) -> None:
    found = list(data.cells("original", Params.model_validate({"split": {"group_by": ["camera"]}})))
    assert [cell.fold for cell in found] == ["c0", "c1", "c2"]
    assert len({cell.folders["split"] for cell in found}) == 3
    assert len({cell.packs for cell in found}) == 1
    assert not found[0].clips["held_out"].any() and found[0].done() is None


def test_of_many_groups_one_fold_is_judged_and_the_next_chooses(data: Data) -> None:
    found = list(data.cells("original", Params.model_validate({"split": {"group_by": ["id"]}})))
    assert [cell.fold for cell in found] == [f"fold{n}" for n in range(5)]
    for cell, following in zip(found, [*found[1:], found[0]], strict=True):
        sizes = cell.clips["fold"].value_counts()
        assert set(sizes.index) == {cell.fold, following.fold, "learning"} and sizes["learning"] in (14, 15)


def test_a_model_takes_only_the_stages_it_goes_on_from(data: Data) -> None:
    assert list(cell(data, "baseline").folders) == ["split", "baseline"]
    assert list(cell(data, "pruned").folders) == ["split", "train", "prune"]
    assert list(cell(data, "teachers/vgg", teachers=TEACHERS).folders) == ["split", "teachers"]
    taught = cell(data, "distilled", teachers=TEACHERS)
    assert list(taught.folders) == ["split", "train", "prune", "teachers", "distill"]
    scratch = {"distill": {"student": "scratch"}}
    assert list(cell(data, "control", **scratch).folders) == ["split", "train", "distill"]
    assert needs("distill", Params()) == ["prune"]


def test_rows_that_begin_alike_share_their_beginning(data: Data) -> None:
    one = cell(data, "distilled", teachers=TEACHERS)
    other = cell(data, "distilled", teachers=TEACHERS, train={"model": "light_residual_net"})
    weaker = cell(data, "pruned", prune={"rate": 0.3})
    assert one.folders["teachers"] == other.folders["teachers"] != one.folders["train"]
    assert one.folders["distill"] != other.folders["distill"]
    assert weaker.folders["train"] == one.folders["train"] and weaker.last != one.folders["prune"]


def test_what_a_clip_looks_like_is_part_of_the_name(data: Data) -> None:
    other = cell(data, "original", extract={"frames": 3})
    assert other.packs != cell(data, "original").packs
    assert other.last != cell(data, "original").last


def test_a_setting_that_came_later_renames_nothing_until_it_is_used(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = cell(data, "pruned").last
    frozen = cell(data, "pruned", prune={"rate": 0.5, "restore": 1e-3, "frozen": True}).last
    restored = cell(data, "pruned", prune={"rate": 0.5, "restore": 1e-3}).last
    monkeypatch.setattr(cells, "LATER", {})
    assert cell(data, "pruned").last != now and restored != frozen
