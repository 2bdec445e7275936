"""The command: rows in CSV, a table in words, one sentence for what does not fit."""

from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from slimstream.cli.parser import main
from slimstream.core.errors import UserError
from slimstream.sensors.settings import load_recipe
from tests.unit.sensors.simulated_logs import settings, simulated_table, write_log

RECIPES = sorted((Path(__file__).parents[3] / "recipes/process").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_process_recipe_is_valid(path: Path) -> None:
    assert load_recipe(path).window > 0


def recipe(folder: Path, **changes: object) -> Path:
    path = folder / "recipe.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(settings(**changes).model_dump(mode="json", exclude_unset=True), file)
    return path


def test_rows_and_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(
        simulated_table(["Normal", "leak", "Normal", "leak", "plug"], rows=300).assign(alarm=0), tmp_path
    )
    told = recipe(tmp_path, normal="Normal", seeds=2, resamples=100)
    assert main(["--root", str(tmp_path), "process", "--log", str(log), "--recipe", str(told)]) == 0
    said = capsys.readouterr().out
    assert "Seen in one run only: plug" in said and "never change: alarm" in said
    assert "random (!)" in said and "neighbours on both sides" in said

    rows = pd.read_csv(tmp_path / "reports/process.csv")
    classified = rows[rows["task"] == "classify"].set_index(["split", "method"])
    assert len(classified) == 12 and classified.index.is_unique
    assert (classified["macro_f1_low"] <= classified["macro_f1"]).all()
    assert (classified["macro_f1"] <= classified["macro_f1_high"]).all()
    assert classified.loc[("blocks", "svm"), "configurations"] == 2
    assert classified.loc[("blocks", "random_forest"), "seeds"] == 2
    assert classified.loc[("blocks", "svm"), "macro_f1"] > 0.85
    assert classified.loc[("runs", "svm"), "states"] == "Normal | leak"
    assert classified["warning"].notna().groupby("split").all().to_dict() == {
        "blocks": False,
        "random": True,
        "runs": False,
    }
    detected = rows[rows["task"] == "detect"]
    assert len(detected) == 2 * 3 * 2 * 2 and set(detected["split"]) == {"blocks", "runs"}
    states = pd.read_csv(tmp_path / "reports/process-states.csv")
    assert len(states) == 4 * (3 + 2 + 3) and states["recall"].between(0, 1).all()


def test_the_same_log_gives_the_same_rows(tmp_path: Path) -> None:
    log = write_log(simulated_table(["a", "b"], rows=300), tmp_path)
    told = recipe(tmp_path, resamples=100, methods=["random_forest"], splits=["blocks"], seeds=2)
    outs = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for out in outs:
        for _ in range(2):  # the second time over what is there
            assert main(["process", "--log", str(log), "--recipe", str(told), "--out", str(out)]) == 0
    one, two = (pd.read_csv(out).drop(columns="seconds") for out in outs)
    pd.testing.assert_frame_equal(one, two)


def test_mistakes_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(simulated_table(["a", "b"]), tmp_path)
    assert main(["process", "--log", str(log)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"slimstream process: {log}: there is no column 'label'") and said.count("\n") == 1
    assert main(["process", "--log", str(log), "--recipe", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("windows: 5", "unknown setting 'windows'; did you mean 'window'?"),
        ("svm: {C: [1]}", "unknown setting 'svm.C'"),
        ("window: 200", "block must be at least twice window"),
        ("methods: [lda]", "'methods.0'"),
        ("detector: {levels: [95]}", "'detector.levels.0'"),
    ],
)
def test_recipes_that_do_not_fit(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_recipe(path)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["process", "--help"])
    said = capsys.readouterr().out
    assert "time,flow,pressure,label" in said and "normal: Normal" in said
