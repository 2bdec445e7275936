"""Which rows share which folders, and whose code a finished one was made by."""

import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments import stage_runs
from slimstream.experiments.tables import cells
from slimstream.experiments.tables.cells import Cell, DataSource, stages_before
from slimstream.experiments.tables.protocols import Folds
from slimstream.experiments.tables.spec import Spec
from slimstream.pipeline.params import Params

TEACHERS = {"vgg": {"model": "vgg16"}}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSource:
    """24 clips of three cameras."""
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    paths = Paths(tmp_path)
    paths.clips.parent.mkdir()
    names = [f"{n:02d}" for n in range(24)]
    clips = pd.DataFrame({"id": names, "sha256": names, "twin": names, "label": ["a", "b"] * 12})
    clips.assign(camera=[f"c{n % 3}" for n in range(24)], held_out=True).to_parquet(paths.clips)
    return DataSource.of_checkout(paths)


def cells_of(data: DataSource, model: str, **sections: Any) -> list[Cell]:
    """The cells of a row with these settings, in folds."""
    rows = [{"name": "row", "model": model, "set": {"split": {"group_by": ["camera"]}, **sections}}]
    content = {"title": "", "budgets": {"cpu": {}}, "tables": {"t": {"title": "", "rows": rows}}}
    spec = Spec.model_validate(content)
    return Folds(spec, "cpu", data).cells(spec.tables["t"].rows[0], 0)


def cell(data: DataSource, model: str, **sections: Any) -> Cell:
    return cells_of(data, model, **sections)[0]


def folder(cell: Cell, stage: str) -> Path:
    return cell.runs[stage].folder


def finish(cell: Cell) -> None:
    """As if all that the cell takes had been made."""
    for run in (cell.packs, *cell.runs.values()):
        run.folder.mkdir(parents=True, exist_ok=True)
        run.makes.write_text("1.5")
    cell.scores.parent.mkdir(parents=True, exist_ok=True)
    cell.scores.write_text(json.dumps({"accuracy": 0.9, "code": cell.score.code}))


def edit(monkeypatch: pytest.MonkeyPatch, *stages: str) -> None:
    """As if the code of `stages` had been changed since."""
    known = stage_runs.stage_code
    for module in (stage_runs, cells):
        monkeypatch.setattr(module, "stage_code", lambda s: f"new {known(s)}" if s in stages else known(s))


def test_every_camera_is_a_fold(data: DataSource) -> None:
    found = cells_of(data, "original")
    assert [cell.fold for cell in found] == ["c0", "c1", "c2"]
    assert len({cell.runs["split"].folder for cell in found}) == 3
    assert len({cell.packs.folder for cell in found}) == 1
    assert not found[0].clips["held_out"].any() and found[0].done() is None


def test_of_many_groups_one_fold_is_judged_and_the_next_chooses(data: DataSource) -> None:
    found = cells_of(data, "original", split={"group_by": ["id"]})
    assert [cell.fold for cell in found] == [f"fold{n}" for n in range(5)]
    for cell, following in zip(found, [*found[1:], found[0]], strict=True):
        sizes = cell.clips["fold"].value_counts()
        assert set(sizes.index) == {cell.fold, following.fold, "learning"} and sizes["learning"] in (14, 15)


def test_a_model_takes_only_the_stages_it_goes_on_from(data: DataSource) -> None:
    assert list(cell(data, "baseline").runs) == ["split", "baseline"]
    assert list(cell(data, "pruned").runs) == ["split", "train", "prune"]
    assert list(cell(data, "teachers/vgg", teachers=TEACHERS).runs) == ["split", "teachers"]
    taught = cell(data, "distilled", teachers=TEACHERS)
    assert list(taught.runs) == ["split", "train", "prune", "teachers", "distill"]
    scratch = {"distill": {"student": "scratch"}}
    assert list(cell(data, "control", **scratch).runs) == ["split", "train", "distill"]
    assert stages_before("distill", Params()) == ["prune"]


def test_rows_that_begin_alike_share_their_beginning(data: DataSource) -> None:
    one = cell(data, "distilled", teachers=TEACHERS)
    other = cell(data, "distilled", teachers=TEACHERS, train={"model": "light_residual_net"})
    weaker = cell(data, "pruned", prune={"rate": 0.3})
    assert folder(one, "teachers") == folder(other, "teachers") != folder(one, "train")
    assert folder(one, "distill") != folder(other, "distill")
    assert folder(weaker, "train") == folder(one, "train")
    assert weaker.last.folder != folder(one, "prune")


def test_what_a_clip_looks_like_is_part_of_the_name(data: DataSource) -> None:
    other = cell(data, "original", extract={"frames": 3})
    assert other.packs.folder != cell(data, "original").packs.folder
    assert other.last.folder != cell(data, "original").last.folder


def test_a_stage_that_other_code_has_made_is_not_used(
    data: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cell(data, "pruned")
    finish(before)
    assert (done := before.done()) and done.training == 4.5
    edit(monkeypatch, "train")
    now = cell(data, "pruned")
    assert now.done() is None and folder(now, "split") == folder(before, "split")
    assert now.runs["train"].made_by_other_code and not now.runs["split"].made_by_other_code
    monkeypatch.undo()
    assert cell(data, "pruned").done(), "nothing was deleted: a change that is taken back costs nothing"


def test_the_key_of_a_cell_holds_settings_clips_and_fold_but_no_code(
    data: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a finished cell counts after a change of code, too; its code says whether that is today's."""
    before = cell(data, "pruned")
    one, code = before.key, before.code
    others = [
        cell(data, "original"),
        cell(data, "pruned", prune={"rate": 0.3}),
        cell(data, "pruned", train={"fit": {"seed": 1}}),
        cell(data, "pruned", extract={"frames": 3}),
        cells_of(data, "pruned")[1],
    ]
    assert len({one, *(other.key for other in others)}) == 6
    alike = (
        cell(data, "pruned", distill={"weight": 0.1}),  # a stage that the model does not take
        cell(data, "pruned", prune={"rate": 0.5}),  # the default
        cell(data, "pruned", evaluate={"latency_runs": 7}),
    )
    assert {other.key for other in alike} == {one}
    edit(monkeypatch, "train")
    now = cell(data, "pruned")
    assert now.key == one and now.code != code
    clips = pd.read_parquet(data.source.clips)
    clips.assign(sha256=["new", *clips["sha256"][1:]]).to_parquet(data.source.clips)
    assert cell(DataSource.of_checkout(data.source), "pruned").key != one


def test_other_code_of_evaluate_makes_nothing_anew(data: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(cell(data, "distilled"))
    edit(monkeypatch, "evaluate", "export", "refit")
    assert cell(data, "distilled").done()


def test_other_code_that_scores_asks_the_finished_model_again(
    data: DataSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cell(data, "original")
    finish(before)
    monkeypatch.setattr(cells, "_planned_score_code", lambda: "new")
    now = cell(data, "original")
    assert now.done() is None and now.last.makes.exists() and now.code != before.code


def test_a_setting_with_its_default_is_in_no_name(data: DataSource) -> None:
    """So one that comes later renames nothing until it is used; its default is code."""
    plain = {"rate": 0.5, "restore": 1e-3}
    names = [
        cell(data, "pruned", prune=plain | more).last.folder
        for more in ({}, {"frozen": False, "restore_clips": None}, {"frozen": True})
    ]
    assert names[0] == names[1] != names[2]


def test_a_step_can_be_sent_to_another_machine(
    data: DataSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names nothing by a path that depends on the current folder."""
    monkeypatch.chdir(tmp_path)
    for step in cell(DataSource.of_checkout(Paths()), "pruned").steps():
        sent = pickle.loads(pickle.dumps(step))  # noqa: S301
        assert sent.makes == step.makes and sent.makes.is_absolute()
        run = getattr(sent, "of", sent)
        assert all(path.is_absolute() for path in (run.folder, *run.links.values()))
        assert all(Path(run.variables[f"SLIMSTREAM_{v}"]).is_absolute() for v in ("CACHE", "SOURCE_ROOT"))


def test_a_finished_cell_needs_no_packs(data: DataSource) -> None:
    """Those of replicates are deleted."""
    done, open_ = cell(data, "original"), cell(data, "pruned")
    finish(done)
    done.packs.delete()
    assert not done.packs.folder.exists() and done.done()
    assert [step.makes for step in done.steps()] == [*(run.makes for run in done.runs.values()), done.scores]
    assert open_.packs.makes in [step.makes for step in open_.steps()]


def test_code_that_changes_meanwhile_is_refused(data: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    run = cell(data, "original").runs["split"]
    monkeypatch.setattr(stage_runs, "code_key", lambda code: "edited")
    with pytest.raises(UserError, match="the code of the stage split has changed since this was started"):
        run.run(quietly=True, cores=None)
    assert not run.makes.exists()
