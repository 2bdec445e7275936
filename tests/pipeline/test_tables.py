"""Tables on tiny clips: run, shared, resumed, written.

Three rows in folds of videos, each cut into two clips that vote; two rows on a simulated plant.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from slimstream.cli.parser import main
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.experiments import runner, stage_runs
from slimstream.experiments.tables import cells, write
from slimstream.experiments.tables.score import score
from slimstream.experiments.tables.spec import load_spec
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.extract import stage as extract
from slimstream.stages.ingest.scan import scan
from tests.pipeline.test_pictures import in_this_process
from tests.pipeline.tiny_study import study

ROOT = Path(__file__).parents[2]
FIT = {"epochs": 2, "batch_size": 8, "lr": 1e-2, "augment": {"crop": 1, "hflip": 0}}
NET = {"model": "tiny_picture_net", "fit": FIT}
TABLES: dict[str, Any] = {
    "title": "Tiny",
    "settings": {
        "extract": {"frames": 2, "clips": 2, "size": [32, 32], "flow": "none", "grey": True},
        "split": {"group_by": ["camera"]},
        "train": NET,
        "prune": {"rate": 0.3, "leave": ["head"], "fit": FIT},
        "teachers": {"one": NET},
        "distill": {"student": "scratch", "original": False, "views": 1, "fit": FIT},
        "evaluate": {"latency_runs": 5},
    },
    "budgets": {"cpu": {}},
    "tables": {
        "t": {
            "title": "Table",
            "rows": [
                {"name": "whole", "paper": {"accuracy": 99.0}},
                {"name": "pruned", "model": "pruned", "paper": {"accuracy": 97.4}},
                {"name": "taught", "model": "distilled"},
            ],
        }
    },
    "figures": {
        "f1": {"title": "Curves", "table": "t", "rows": ["whole", "taught"], "curves": ["val_accuracy"]},
        "f2": {"title": "Confusion", "table": "t", "rows": ["whole", "pruned"]},
    },
    "claims": [
        {"says": "Pruning is cheap", "table": "t", "of": "pruned", "against": ["whole"], "above": -0.02}
    ],
}


DIES: list[str] = []
"""Stages whose next process dies."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were run, here and not in the processes that they have otherwise."""
    torch.set_num_threads(1)
    found: list[str] = []

    def call(command: list[str], *_: object) -> int:
        if command[2].endswith(".score"):
            score(command[3], Paths(Path(command[4])), Path(command[5]), Path(command[6]), *command[7:])
            return 0
        folder, stage = Paths(Path(command[4])), command[5]
        if stage not in ("scan", "ingest", "validate", "split"):
            found.append(stage)
        if stage in DIES:
            DIES.remove(stage)
            return 1
        params = load_params(folder.params)
        if stage == "scan":
            scan(params.ingest, params.split.group_by, folder)
            return 0
        if stage == "validate":  # Great Expectations takes seconds to import
            clips = pd.read_parquet(folder.manifest)
            clips.assign(twin=clips["id"]).to_parquet(folder.clips)
            return 0
        metrics = STAGES[stage].run(params, folder, null_log)
        folder.metrics(stage).parent.mkdir(exist_ok=True)
        folder.metrics(stage).write_text(json.dumps(metrics))
        return 0

    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    monkeypatch.delenv("SLIMSTREAM_DASK", raising=False)
    monkeypatch.setattr(runner, "_call", call)
    monkeypatch.setattr(extract, "parallel_map", in_this_process)
    return found


def test_a_table_is_filled_once(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study(tmp_path)
    (tmp_path / "recipes/tables").mkdir(parents=True)
    YAML(typ="safe").dump(TABLES, tmp_path / "recipes/tables/tiny.yaml")
    command = ["--root", str(tmp_path), "tables", "tiny"]

    # One row alone; then the table, in which the second training dies.
    assert main([*command, "--row", "whole"]) == 0
    assert started == ["extract", *["train"] * 4]
    started.clear()
    DIES.append("prune")
    assert main(command) == 1
    assert "failed: t / pruned: stage prune failed" in capsys.readouterr().out
    # The others are run all the same, and the taught one goes on from what the first row trained.
    assert started == ["prune"] * 4 + ["teachers", "distill"] * 4
    started.clear()
    assert main(command) == 0
    assert started == ["prune"]

    table = pd.read_csv(tmp_path / "docs/results/tiny-t.csv").set_index("row")
    assert (table["folds"] == 4).all() and (table["latency_p50_ms"] > 0).all()
    assert table.loc["pruned", "params"] < table.loc["whole", "params"]
    assert table.loc["pruned", "train_seconds"] > table.loc["whole", "train_seconds"]
    told = tmp_path.glob(".slimstream/tables/*/*/metrics/distill.json")
    own = [json.loads(file.read_text())["distilled.seconds"] for file in told]  # neither control nor teacher
    assert table.loc["taught", "train_seconds"] == pytest.approx(np.median(own)) and len(own) == 4
    assert set(table["pretrained"]) == {"no"}
    page = (tmp_path / "docs/results/tiny.md").read_text()
    assert "| Pruning is cheap | -1.6 points | " in page and "accuracy 97.4" in page
    assert "The order by accuracy " in page
    assert "(tiny-f1.svg)" in page and (tmp_path / "docs/results/tiny-f2.svg").exists()
    assert "TINY: Pruning is cheap" in (tmp_path / "docs/results.md").read_text()
    counted = pd.read_csv(tmp_path / "docs/results/tiny-f2.csv").groupby("row")["clips"].sum()
    assert counted.to_dict() == {"whole": 24, "pruned": 24}, "every video was judged once"
    cell = json.loads(next(tmp_path.glob(".slimstream/tables/*/*/scores/*/distilled.json")).read_text())
    assert (cell["clips"], cell["videos"]) == (12, 6)

    started.clear()
    assert main(command) == 0
    assert started == [] and (tmp_path / "docs/results/tiny.md").read_text() == page

    # Another machine, where nothing is left but docs/results: all is done, whatever code has done it.
    shutil.rmtree(tmp_path / ".slimstream")
    known = stage_runs.stage_code
    for module in (stage_runs, cells):
        monkeypatch.setattr(module, "stage_code", lambda s: "new" if s == "prune" else known(s))
    monkeypatch.setattr(stage_runs, "check_code", lambda *_: None)
    assert main(command) == 0 and started == []
    assert (tmp_path / "docs/results/tiny.md").read_text() == page
    recorded = pd.read_csv(tmp_path / "docs/results/tiny-cells.csv").set_index("row")
    assert recorded["code"].nunique() == 3 and len(recorded) == 12
    assert main([*command, "--anew"]) == 0 and started == ["extract", *["train", "prune"] * 4]
    again = pd.read_csv(tmp_path / "docs/results/tiny-cells.csv").set_index("row")
    assert (again.loc["pruned", "code"] != recorded.loc["pruned", "code"]).all()
    pd.testing.assert_frame_equal(again.loc[["whole", "taught"]], recorded.loc[["whole", "taught"]])
    started.clear()
    assert main([*command, "--anew"]) == 0 and started == [], "an interrupted one goes on, too"


PLANT: dict[str, Any] = {
    "title": "Tiny",
    "defect": "NG",
    "simulated": {
        "plant": "pellets",
        "replicates": 2,
        "settings": {
            "ingest": {"pellets": {"batches": 4, "pictures": 3}},
            "split": {"group_by": ["batch"], "train": 0.5, "val": 0.25, "test": 0.25},
        },
    },
    "settings": {
        "extract": {"frames": 1, "size": [32, 32], "flow": "none", "grey": True},
        "train": NET,
        "evaluate": {"latency_runs": 5},
    },
    "budgets": {"cpu": {}},
    "tables": {
        "t": {
            "title": "Table",
            "rows": [
                {"name": "fast", "paper": {"accuracy": 99.0}},
                {"name": "slow", "set": {"train": {"fit": {"lr": 1e-4}}}, "paper": {"accuracy": 80.0}},
            ],
        }
    },
    "figures": {"f9": {"title": "Heat", "table": "t", "rows": ["fast", "slow"], "heat": True}},
    "claims": [{"says": "Fast wins", "table": "t", "of": "fast", "against": ["slow"], "above": 0.0}],
}


def test_a_plant_is_rendered_anew_for_each_replicate(
    tmp_path: Path, started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipes/tables").mkdir(parents=True)
    YAML(typ="safe").dump(PLANT, tmp_path / "recipes/tables/plant.yaml")
    needs_three = lambda judge_by, *_: replace(judge_by(3), first=3, second=True)  # noqa: E731
    monkeypatch.setattr(write, "judge_twice", needs_three)
    command = ["--root", str(tmp_path), "tables", "plant"]
    result = tmp_path / "docs/results/plant-t-pellets.csv"

    # The second training of the first replicate dies: what was finished stays, and a second call goes on.
    DIES.append("train")
    assert main(command) == 1 and started[:3] == ["extract", "train", "train"]
    assert pd.read_csv(result).set_index("row")["state"].to_dict() == {"fast": "not run", "slow": "run"}
    started.clear()
    assert main(command) == 0 and sorted(started) == ["extract", *["train"] * 2]
    table = pd.read_csv(result)
    assert table["replicates"].tolist() == [2, 2] and (table["latency_p50_ms"] > 0).all()
    assert table["defect_recall"].between(0, 1).all()
    heat = cv2.imread(str(tmp_path / "docs/results/plant-f9-pellets.png"))
    assert heat.shape[0] > 300 and heat.std() > 10, "two pictures of both classes, by both networks"
    assert not list(tmp_path.glob(".slimstream/tables/*/*/data/packs/index.parquet")), "packs were deleted"
    splits = [pd.read_parquet(f) for f in tmp_path.glob(".slimstream/tables/*/*/data/clips.parquet")]
    assert len({tuple(sorted(set(clips["batch"]))) for clips in splits}) == 2
    started.clear()
    shutil.rmtree(tmp_path / ".slimstream")  # on another machine nothing is rendered for what is finished
    assert main(command) == 0 and started == [] and not list(tmp_path.glob(".slimstream/tables/*/*/data"))

    # With hours to spend it goes on with open claims, and stops when they are spent.
    assert main([*command, "--hours", "1"]) == 0 and started == ["extract", *["train"] * 2]
    assert pd.read_csv(result)["replicates"].tolist() == [3, 3]
    page = (tmp_path / "docs/results/plant-pellets.md").read_text()
    assert "![Heat](plant-f9-pellets.png)" in page and "recall of the defects" in page
    assert "All clips are simulated" in page and "| Fast wins | +19.0 points |" in page
    started.clear()
    capsys.readouterr()
    with stage_runs.locked(tmp_path / ".slimstream/tables/plant-pellets"):
        assert main(command) == 2 and "another run of plant-pellets is under way" in capsys.readouterr().err
    assert main([*command, "--replicates", "5", "--hours", "0"]) == 0 and started == []
    assert "the 0 hours are spent" in capsys.readouterr().err


@pytest.mark.box
@pytest.mark.parametrize("paper", ["p1", "p3"])
def test_every_row_of_a_paper_runs(paper: str, tmp_path: Path, started: list[str]) -> None:
    """Those of P2 take six minutes more: `python -m slimstream tables p2 --quick`."""
    shutil.copytree(ROOT / "recipes/tables", tmp_path / "recipes/tables")
    assert main(["--root", str(tmp_path), "tables", paper, "--quick"]) == 0
    tables = load_spec(paper, Paths(ROOT)).tables
    for name in tables:
        (file,) = tmp_path.glob(f"reports/quick/results/{paper}-{name}-*.csv")
        assert set(pd.read_csv(file)["state"]) <= {"run", "counted"}, name
    assert not (tmp_path / "docs").exists(), "tiny numbers are no results"


def test_mistakes_are_one_sentence(
    tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipes/tables").mkdir(parents=True)
    YAML(typ="safe").dump(TABLES, tmp_path / "recipes/tables/tiny.yaml")
    rows = [{"name": "right"}, {"name": "wrong", "set": {"train": {"fit": {"epoch": 3}}}}]
    wrong = TABLES | {"tables": {"t": {"title": "", "rows": rows}}, "figures": {}, "claims": []}
    YAML(typ="safe").dump(wrong, tmp_path / "recipes/tables/wrong.yaml")
    for arguments, words in (
        (["p9"], "there are tiny, wrong, all."),
        (["tiny", "--row", "whole", "--row", "wide"], "no row 'wide'"),
        (["tiny", "--table", "x"], "there are t."),
        (["tiny", "--budget", "gpu"], "there are cpu."),
        (["tiny", "--seeds", "0"], "--seeds 0"),
        (["tiny", "--jobs", "0"], "--jobs 0"),
        (["tiny"], "name your clips with --source"),
        (["tiny", "--source", "pelets"], "do you mean 'pellets'"),
        (["tiny", "--replicates", "5"], "the clips of this checkout are real"),
        (["wrong", "--row", "right"], "train.fit.epoch"),
    ):
        assert main(["--root", str(tmp_path), "tables", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    assert started == []
