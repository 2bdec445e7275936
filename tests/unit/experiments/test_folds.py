"""Leave-one-group-out folds: who is left out, what is run again, what the table says."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments import folds
from slimstream.pipeline.params import load_params
from tests.pipeline.tiny import study


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The (test group, stage) of every process a fold would start; evaluate leaves scores behind."""
    started: list[tuple[str, str]] = []

    def run(command: list[str], env: dict[str, str], **streams: None) -> SimpleNamespace:
        root, stage = Path(command[-2]), command[-1]
        group = load_params(root / "params.yaml").split.test_group or ""
        started.append((group, stage))
        if stage == "evaluate":
            score = 0.5 + int(group[-1]) / 10
            metrics = {"original.macro_f1": score, "pruned.macro_f1": score - 0.1, "test.clips": 6.0}
            Paths(root).metrics("evaluate").parent.mkdir(parents=True)
            Paths(root).metrics("evaluate").write_text(json.dumps(metrics))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(folds.subprocess, "run", run)
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
    folds.run_folds(params, paths)
    calls.clear()
    folds.run_folds(params, paths)
    assert calls == []
    other = params.prune.model_copy(update={"target_params": 0.5})
    folds.run_folds(params.model_copy(update={"prune": other}), paths, only="c1")
    assert {group for group, _ in calls} == {"c1"}


def test_inner_folds_never_see_the_group_put_aside(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    paths = study(tmp_path)
    folds.run_folds(load_params(paths.params), paths, inner=True, only="c0")
    assert [group for group, stage in calls if stage == "evaluate"] == ["c1", "c2", "c3"]
    for file in tmp_path.glob(".slimstream/folds/*/data/clips.parquet"):
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
