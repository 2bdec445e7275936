"""Leave-one-group-out folds: who is left out, what is run again, what the table says."""

import json
from pathlib import Path
from typing import IO

import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments import folds, runner, stage_runs
from slimstream.pipeline.params import load_params
from slimstream.splits.groups import split
from tests.pipeline.tiny_study import study

FAILS: set[tuple[str, str]] = set()
"""The (test group, stage) of processes that fail."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The (test group, stage) of every process a fold would start; evaluate leaves scores behind."""
    started: list[tuple[str, str]] = []

    def call(command: list[str], env: dict[str, str], out: IO[str] | None, lock: int) -> int:
        root, stage = Path(command[-2]), command[-1]
        group = load_params(root / "params.yaml").split.test_group or ""
        started.append((group, stage))
        if (group, stage) in FAILS:
            return 1
        if stage == "evaluate":
            score = 0.5 + int(group[-1]) / 10
            metrics = {"original.macro_f1": score, "pruned.macro_f1": score - 0.1, "test.clips": 6.0}
            Paths(root).metrics("evaluate").parent.mkdir(parents=True, exist_ok=True)
            Paths(root).metrics("evaluate").write_text(json.dumps(metrics))
        return 0

    FAILS.clear()
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    monkeypatch.delenv("SLIMSTREAM_DASK", raising=False)
    monkeypatch.setattr(runner, "_call", call)
    return started


def test_every_group_is_left_out_once(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    paths = study(tmp_path)
    said = folds.run_folds(load_params(paths.params), paths)
    assert [group for group, stage in calls if stage == "evaluate"] == ["c0", "c1", "c2", "c3"]
    assert "pruned - original: mean -0.100" in said
    table = pd.read_csv(tmp_path / "reports/folds.csv")
    assert table[table["model"] == "original"]["macro_f1"].tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8])


def test_finished_folds_are_not_run_again_unless_settings_change(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    folds.run_folds(params, paths, only="c1")
    calls.clear()
    folds.run_folds(params, paths, only="c1")
    assert calls == []
    other = params.prune.model_copy(update={"target_params": 0.5})
    folds.run_folds(params.model_copy(update={"prune": other}), paths, only="c1")
    assert [stage for _, stage in calls] == ["prune", "distill", "refit", "export", "evaluate"]


def edit(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """As if the code of `stage` had been changed since."""
    known = stage_runs.stage_code
    monkeypatch.setattr(stage_runs, "stage_code", lambda s: "new" if s == stage else known(s))
    monkeypatch.setattr(stage_runs, "check_code", lambda *_: None)


def test_other_code_of_a_stage_runs_it_again_and_what_goes_on_from_it(
    tmp_path: Path,
    calls: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    folds.run_folds(params, paths, only="c1")
    assert [stage for _, stage in calls] == list(folds.STAGES)
    calls.clear()
    edit(monkeypatch, "evaluate")
    folds.run_folds(params, paths, only="c1")
    assert [stage for _, stage in calls] == ["evaluate"]
    assert (
        "folds: finished stages made by other code, which are run again: 1 (--keep" in capsys.readouterr().err
    )
    calls.clear()
    monkeypatch.undo()
    monkeypatch.setattr(runner, "_call", lambda *_: pytest.fail("run again"))
    folds.run_folds(params, paths, only="c1")


def test_what_other_code_has_made_can_be_kept_and_is_marked(
    tmp_path: Path, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    assert "other code" not in folds.run_folds(params, paths, only="c1")
    calls.clear()
    edit(monkeypatch, "prune")
    said = folds.run_folds(params, paths, only="c1", keep=True)
    assert calls == [] and "made by other code than today's: c1" in said
    assert set(pd.read_csv(tmp_path / "reports/folds-only.csv")["other_code"]) == {"yes"}
    folds.run_folds(params, paths, only="c1")
    assert [stage for _, stage in calls] == ["prune", "distill", "refit", "export", "evaluate"]
    assert set(pd.read_csv(tmp_path / "reports/folds-only.csv")["other_code"]) == {"no"}


def test_a_stage_that_fails_leaves_the_other_folds_alone(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    FAILS.add(("c1", "prune"))
    with pytest.raises(
        UserError, match=r"^1 of 4 folds failed \(c1\).* stage prune failed in .*exit status 1"
    ):
        folds.run_folds(params, paths, jobs=3)
    assert not (tmp_path / "reports/folds.csv").exists()
    assert sorted(group for group, stage in calls if stage == "evaluate") == ["c0", "c2", "c3"]
    FAILS.clear()
    calls.clear()
    folds.run_folds(params, paths, jobs=3)
    assert {stage for _, stage in calls} == {"prune", "distill", "refit", "export", "evaluate"}
    assert {group for group, _ in calls} == {"c1"}


def test_inner_folds_never_see_the_group_put_aside(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    paths = study(tmp_path)
    folds.run_folds(load_params(paths.params), paths, inner=True, only="c0")
    assert [group for group, stage in calls if stage == "evaluate"] == ["c1", "c2", "c3"]
    files = list(tmp_path.glob(".slimstream/folds/*/*/data/clips.parquet"))
    assert len(files) == 3 * len(folds.STAGES)
    for file in files:
        assert "c0" not in set(pd.read_parquet(file)["camera"])


def test_an_unknown_group_names_those_there_are(tmp_path: Path) -> None:
    paths = study(tmp_path)
    with pytest.raises(UserError, match="c0, c1, c2, c3"):
        folds.run_folds(load_params(paths.params), paths, only="c9")


def test_without_packs_it_says_what_to_run(tmp_path: Path) -> None:
    paths = study(tmp_path)
    (paths.packs / "index.parquet").unlink()
    with pytest.raises(UserError, match="dvc repro extract"):
        folds.run_folds(load_params(paths.params), paths)


def test_a_given_split_is_set_aside(
    tmp_path: Path, calls: list[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    paths = study(tmp_path, split={"group_by": ["camera"], "given": "set"})
    folds.run_folds(load_params(paths.params), paths, only="c1")
    assert {group for group, _ in calls} == {"c1"}
    assert "split.given is set aside" in capsys.readouterr().err


def test_clips_without_the_column_have_no_folds(tmp_path: Path) -> None:
    paths = study(tmp_path, split={"group_by": ["part"]})
    with pytest.raises(UserError, match=r"split.group_by names 'part', .* there are camera"):
        folds.run_folds(load_params(paths.params), paths)


def test_many_groups_are_put_together_into_so_many_folds() -> None:
    """Each clip is judged once; the groups to learn from keep their names."""
    groups = [f"p{number % 8}" for number in range(48)]
    ids = [f"i{number:02}" for number in range(48)]
    clips = pd.DataFrame({"id": ids, "label": ["a", "b"] * 24, "part": groups, "twin": ids})
    clips["label"] = [("a", "b")[int(name[1]) // 4] for name in groups]
    whole = folds.with_folds(clips.assign(held_out=False), ["part"], 4)
    judged = []
    for number in range(4):
        kept, columns = folds.clips_of_fold(whole, ["part"], None, f"fold{number}")
        parts = split(kept, columns, 0.7, 0.2, 0.1, f"fold{number}").set_index("id")
        judged += parts.index[parts["part"] == "test"].tolist()
        assert set(parts["group"][parts["part"] == "val"]) == {f"fold{(number + 1) % 4}"}
        learnt = kept[kept["id"].isin(parts.index[parts["part"] == "train"])]
        assert learnt["_fold"].tolist() == learnt["part"].tolist() and learnt["part"].nunique() == 4
    assert sorted(judged) == ids
    inner, _ = folds.clips_of_fold(whole, ["part"], "fold0", "fold3")
    assert len(inner) == 36 and {"fold1", "fold3"} < set(inner["_fold"])  # the next of those that are left


def test_as_many_folds_as_groups_are_the_groups(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    with pytest.raises(UserError, match="there are c0, c1, c2, c3"):
        folds.run_folds(params, paths, count=4, only="fold0")
    with pytest.raises(UserError, match="--count 2: train, val and test need three folds"):
        folds.run_folds(params, paths, count=2)
    folds.run_folds(params, paths, count=3, only="fold1")
    assert {group for group, _ in calls} == {"fold1"}
