"""The deployed form without a registry around it; tests/unit/registry/test_versions.py loads it as
a stranger does."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from slimstream.core.paths import Paths
from tests.unit.finished_pipeline import CLASSES, write_clips, write_evaluation

CAMERAS = {"north": "train", "east": "test"}


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = Paths(tmp_path_factory.mktemp("plant"))
    write_clips(paths, CAMERAS)
    write_evaluation(paths, red=9, bias=-1.8)
    return paths


def ask(paths: Paths, files: list[str]) -> pd.DataFrame:
    from slimstream.serving.pyfunc import PyfuncModel

    model = PyfuncModel()
    file = paths.export("distilled") / "preprocessing.json"
    context = SimpleNamespace(artifacts={"preprocessing.json": str(file)})
    model.load_context(context)
    return model.predict(context, files)


def test_every_path_has_a_row_in_order_and_a_bad_one_says_why(plant: Paths, tmp_path: Path) -> None:
    good = sorted(str(file) for file in plant.ingested.glob("*.mp4"))
    (tmp_path / "ünnamed.mp4").write_bytes(b"no video")
    (tmp_path / "empty.mp4").touch()
    asked = [good[0], str(tmp_path / "ünnamed.mp4"), good[-1], str(tmp_path / "empty.mp4"), "gone.mp4"]
    answers = ask(plant, asked)
    assert list(answers["path"]) == asked
    assert list(answers["label"].notna()) == [True, False, True, False, False]
    assert list(answers["error"].astype(bool)) == [False, True, False, True, True]
    sums = answers[[f"p_{name}" for name in CLASSES]].sum(axis=1, skipna=False)
    assert sums[[0, 2]].tolist() == pytest.approx([1, 1]) and sums[[1, 3, 4]].isna().all()


def test_it_says_what_evaluate_measured(plant: Paths) -> None:
    measured = pd.read_parquet(plant.predictions)
    answers = ask(plant, [str(plant.ingested / f"{clip}.mp4") for clip in measured["id"]])
    assert (answers["label"] == measured["predicted"]).all()
    for name in CLASSES:
        assert (answers[f"p_{name}"] - measured[f"p_{name}"]).abs().max() <= 1e-4
    assert answers["label"].nunique() == 2


def test_no_file_no_answer(plant: Paths) -> None:
    assert list(ask(plant, []).columns) == ["path", "label", "p_leak", "p_normal", "error"]


def test_what_it_imports_needs_no_torch() -> None:
    program = (
        "import sys, slimstream.clips.packs, slimstream.serving.classifier;"
        "sys.exit(str({'torch', 'timm', 'sklearn', 'tqdm', 'boto3'} & set(sys.modules)).strip('set()') or 0)"
    )
    source = Path(__file__).parents[3] / "src"
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(source)})
