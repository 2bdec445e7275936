"""A table of three rows on tiny videos, each cut into two clips that vote: run, shared, resumed, written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from slimstream.cli.parser import main
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.experiments import runner, stage_runs
from slimstream.experiments.tables.score import score
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.extract import stage as extract
from tests.pipeline.test_pictures import in_this_process
from tests.pipeline.tiny_study import study

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
            score(command[3], Paths(Path(command[4])), Path(command[5]), Path(command[6]), command[7])
            return 0
        folder, stage = Paths(Path(command[4])), command[5]
        if stage != "split":
            found.append(stage)
        if stage in DIES:
            DIES.remove(stage)
            return 1
        metrics = STAGES[stage].run(load_params(folder.params), folder, null_log)
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
    assert set(table["other_code"]) == {"no"}
    assert set(table["pretrained"]) == {"no"} and set(table["code"].str.len()) == {16}
    page = (tmp_path / "docs/results.md").read_text()
    assert "Pruning is cheap: **" in page and "accuracy 97.4" in page and "order by accuracy is" in page
    assert "results/tiny-f1.svg" in page and (tmp_path / "docs/results/tiny-f2.svg").exists()
    counted = pd.read_csv(tmp_path / "docs/results/tiny-f2.csv").groupby("row")["clips"].sum()
    assert counted.to_dict() == {"whole": 24, "pruned": 24}, "every video was judged once"
    cell = json.loads(next(tmp_path.glob(".slimstream/tables/*/*/scores/*/distilled.json")).read_text())
    assert (cell["clips"], cell["videos"]) == (12, 6)

    started.clear()
    assert main(command) == 0
    assert started == [] and (tmp_path / "docs/results.md").read_text() == page

    # Other code of prune: its row is made again, unless it is kept, which the results then say.
    known = stage_runs.stage_code
    monkeypatch.setattr(stage_runs, "stage_code", lambda s: "new" if s == "prune" else known(s))
    monkeypatch.setattr(stage_runs, "check_code", lambda *_: None)
    assert main([*command, "--keep"]) == 0 and started == []
    assert "Made by other code than today's: pruned.\n" in (tmp_path / "docs/results.md").read_text()
    table = pd.read_csv(tmp_path / "docs/results/tiny-t.csv").set_index("row")
    assert table["other_code"].to_dict() == {"whole": "no", "pruned": "yes", "taught": "no"}
    assert main([*command, "--row", "whole"]) == 0 and started == []
    assert "today's: pruned." in (tmp_path / "docs/results.md").read_text(), (
        "what is there is not thrown away"
    )
    assert main(command) == 0 and started == ["prune"] * 4
    assert "other code" not in (tmp_path / "docs/results.md").read_text()


def test_mistakes_are_one_sentence(
    tmp_path: Path, started: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipes/tables").mkdir(parents=True)
    YAML(typ="safe").dump(TABLES, tmp_path / "recipes/tables/tiny.yaml")
    for arguments, words in (
        (["p9"], "there are tiny, all."),
        (["tiny", "--row", "wide"], "no row 'wide'"),
        (["tiny", "--table", "x"], "there are t."),
        (["tiny", "--budget", "gpu"], "there are cpu."),
        (["tiny", "--seeds", "0"], "--seeds 0"),
        (["tiny", "--jobs", "0"], "--jobs 0"),
        (["tiny"], "name your clips with --source"),
    ):
        assert main(["--root", str(tmp_path), "tables", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    assert started == []
