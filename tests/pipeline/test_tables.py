"""A two-row table on the tiny study: run, shared, resumed, written."""

import json
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from slimstream.__main__ import main
from slimstream.tables import run
from tests.pipeline.tiny import PARAMS, study

ROWS = [{"name": "whole"}, {"name": "pruned", "model": "pruned", "paper": {"accuracy": 97.4}}]
CLAIM = {"says": "Pruning is cheap", "table": "t", "of": "pruned", "against": ["whole"], "above": -0.02}
FIT = {"epochs": 1, "batch_size": 8, "frames": 1, "augment": {"crop": 1, "hflip": 0}}


def test_a_table_is_filled_once(tmp_path: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    study(tmp_path)
    # Three cameras, or the folds would be four; the fourth has no clips that were accepted.
    clips = pd.read_parquet(tmp_path / "data/clips.parquet")
    clips[clips["camera"] != "c3"].to_parquet(tmp_path / "data/clips.parquet")
    (tmp_path / "recipes/tables").mkdir(parents=True)
    settings = {"extract": {"size": [32, 32]}, "train": {"fit": FIT}, "prune": {"restore": None, "fit": FIT}}
    content = {
        "title": "Tiny",
        "base": "tiny",
        "budgets": {"cpu": settings},
        "tables": {"t": {"title": "Table", "rows": ROWS}},
        "claims": [CLAIM],
    }
    yaml = YAML(typ="safe")
    yaml.dump(content, tmp_path / "recipes/tables/tiny.yaml")
    yaml.dump(PARAMS, tmp_path / "recipes/tiny.yaml")

    started: list[str] = []
    real = run.run_stage

    def counted(fold, stage, paths):  # type: ignore[no-untyped-def]
        if not (fold.root / f"{stage}.seconds").exists():
            started.append(stage)
        return real(fold, stage, paths)

    monkeypatch.setattr(run, "run_stage", counted)
    # As if the machine had no more than two folds' time.
    monkeypatch.setattr(run.Data, "cells", first_two(run.Data.cells))
    command = ["--root", str(tmp_path), "tables", "tiny"]
    assert main(command) == 0
    # The pruned row goes on from what the other row trained.
    assert {stage: started.count(stage) for stage in set(started)} == {
        "extract": 1,
        "split": 2,
        "train": 2,
        "prune": 2,
        "score": 4,
    }
    table = pd.read_csv(tmp_path / "docs/results/tiny-t.csv").set_index("row")
    assert (table["folds"] == 2).all() and (table["latency_p50_ms"] > 0).all()
    assert table.loc["pruned", "params"] < table.loc["whole", "params"]
    assert table.loc["pruned", "train_seconds"] > table.loc["whole", "train_seconds"]
    page = (tmp_path / "docs/results.md").read_text()
    assert "Pruning is cheap: **" in page and "accuracy 97.4" in page
    trained = next(iter(tmp_path.glob(".slimstream/tables/*/scores/original.json")))
    assert json.loads(trained.read_text())["clips"] == 6

    started.clear()
    assert main(command) == 0
    assert started == [] and (tmp_path / "docs/results.md").read_text() == page
    assert main([*command, "--row", "wide"]) == 2
    assert "--list" in capsys.readouterr().err


def first_two(cells):  # type: ignore[no-untyped-def]
    return lambda *args: iter(list(cells(*args))[:2])
