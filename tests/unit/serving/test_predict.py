"""What a deployed model says of files: order, folders, bad files, who is asked, how the command tells it."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slimstream.cli.parser import main
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.runtimes import RUNTIMES
from slimstream.serving import predict as module
from slimstream.serving.predict import deployed_model, find_clips
from tests.unit.finished_pipeline import render, write_clips, write_evaluation, write_reference
from tests.unit.serving import crashing_decoder


def predict(*args: Any, **options: Any) -> pd.DataFrame:
    """The answers as a table."""
    return pd.DataFrame(module.predict(*args, **options))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    paths = Paths(tmp_path_factory.mktemp("plant"))
    write_clips(paths, {"north": "train", "east": "test"})
    write_evaluation(paths, red=9, bias=-1.8)
    return paths


def test_it_says_what_evaluate_measured_however_many_processes_ask(plant: Paths) -> None:
    measured = pd.read_parquet(plant.predictions)
    files = [plant.ingested / f"{clip}.mp4" for clip in measured["id"]]
    for workers in (1, 2):
        said = predict(files, plant.export("distilled"), workers=workers)
        assert said["path"].tolist() == [str(file) for file in files]
        assert (said["label"] == measured["predicted"]).all() and not said["error"].any()
        assert (said["p_leak"] - measured["p_leak"]).abs().max() < 1e-5


def test_a_folder_is_what_lies_below_it(plant: Paths, tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    for name in ("b.MP4", "deep/a.png", "deep/er/c.avi", "notes.txt", "deep/metadata.csv"):
        (tmp_path / name).touch()
    found = find_clips([tmp_path / "deep/a.png", tmp_path])
    assert [str(file.relative_to(tmp_path)) for file in found] == ["deep/a.png", "b.MP4", "deep/er/c.avi"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no video or picture"):
        find_clips([tmp_path / "empty"])
    assert find_clips([tmp_path / "gone.mp4"]) == [tmp_path / "gone.mp4"]  # it gets an answer that says so


def test_clutter_in_a_folder_is_no_clip_unless_it_is_named(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", "__MACOSX/b.png", "@eaDir/a.png", ".cache/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_clips([tmp_path]) == [tmp_path / "a.png"]
    assert find_clips([tmp_path / "._a.png", tmp_path / ".cache"]) == [
        tmp_path / "._a.png",
        tmp_path / ".cache/c.png",
    ]


def test_pictures_are_judged_together_and_a_bad_one_alone_goes_without_answer(
    plant: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    folder = tmp_path / "model"
    folder.mkdir()
    for file in plant.export("distilled").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    shown = json.loads((folder / "preprocessing.json").read_text())
    shown["extract"] |= {"flow": "none", "frames": 1}
    (folder / "preprocessing.json").write_text(json.dumps(shown))
    # The plant's network looks at r, g, b alone, but wants five channels: give it rest for flow.
    monkeypatch.setattr(
        "slimstream.serving.classifier.ClipClassifier._run_network", lambda self, clips: batch_of(clips, seen)
    )
    monkeypatch.setattr(module, "parallel_map", lambda work, items, workers: enumerate(map(work, items)))
    seen: list[int] = []

    def batch_of(clips: np.ndarray, seen: list[int]) -> tuple[np.ndarray, np.ndarray]:
        seen.append(len(clips))
        red = clips[..., 0].mean((1, 2, 3)) > clips[..., 2].mean((1, 2, 3))
        return np.stack([red, ~red], axis=1).astype(float), np.full(len(clips), np.nan)

    files = []
    for number in range(5):
        files.append(tmp_path / f"{number}.png")
        colour = (0, 0, 200) if number % 2 else (200, 0, 0)
        cv2.imwrite(str(files[-1]), np.full((24, 32, 3), colour, np.uint8))
    files[3].write_bytes(b"no picture")
    said = predict(files, folder, batch=4, workers=1)
    assert said["label"].fillna("").tolist() == ["normal", "leak", "normal", "", "normal"]
    assert said["error"].astype(bool).tolist() == [False] * 3 + [True, False]
    assert seen == [3, 1]
    deep = tmp_path / "deep.tif"  # a camera's 10 bits, of which the upper 8 of 16 show nothing
    cv2.imwrite(str(deep), np.full((24, 32), 900, np.uint16))
    assert "set extract.bits" in predict([deep], folder, workers=1)["error"][0]


def test_what_is_unlike_all_classes_is_unknown(plant: Paths, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(plant.export("distilled"), folder)
    files = [plant.ingested / "east-leak-2.mp4", tmp_path / "dark-normal.mp4"]
    render(files[1], "normal", strength=0.1)
    before = predict(files, folder, workers=1)
    assert "unlikeness" not in before and before["label"].notna().all(), "a version without a reference"
    write_reference(folder)
    said = predict([*files, tmp_path / "gone.mp4"], folder, workers=1)
    assert said["label"].fillna("").tolist() == ["leak", "unknown", ""]
    assert said["unlikeness"][0] < 1 < said["unlikeness"][1] and said["unlikeness"].isna()[2]
    odds = [np.log(table["p_leak"] / table["p_normal"]).to_numpy()[:2] for table in (before, said)]
    assert 2 * odds[1] == pytest.approx(odds[0]), "the temperature is 2"


@pytest.mark.parametrize(("batch", "workers"), [(3, 2), (8, 1)])
def test_a_file_that_kills_its_process_costs_that_file_alone(
    plant: Paths, monkeypatch: pytest.MonkeyPatch, batch: int, workers: int
) -> None:
    monkeypatch.setattr(module, "_predict_batch", crashing_decoder.predict_batch)
    monkeypatch.setattr(module, "is_picture", lambda file: True)
    files = sorted(plant.ingested.glob("east-*.mp4"))
    said = predict(files, plant.export("distilled"), batch=batch, workers=workers).set_index("path")
    assert said["label"].isna().sum() == 1
    assert said.loc[str(plant.ingested / "east-leak-2.mp4"), "error"] == "the decoder crashed"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_file_whose_name_is_not_text_costs_the_others_nothing(plant: Paths, tmp_path: Path) -> None:
    good = plant.ingested / "east-leak-3.mp4"
    shutil.copyfile(good, bad := Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")))
    said = predict([good, bad], plant.export("distilled"))
    assert said["label"].tolist()[0] == "leak" and said["label"].isna().tolist() == [False, True]
    assert said["path"][1].endswith(r"caf\udce9.mp4") and "not UTF-8" in said["error"][1]


def test_the_command_writes_csv_or_json_and_says_what_was_bad(
    plant: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = str(plant.ingested / "east-leak-3.mp4"), tmp_path / "broken.mp4"
    bad.write_bytes(b"no video")
    gone = str(tmp_path / "gone.mp4")
    ask = ["predict", "--model", str(plant.export("distilled")), "--workers", "1"]
    assert main([*ask, good]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header == "path,label,p_leak,p_normal,error" and row.startswith(f"{good},leak,")
    assert main([*ask, "--json", "--out", str(tmp_path / "said/a.json"), good, str(bad), gone]) == 1
    out, errors = capsys.readouterr()
    assert f"{gone}: the file is missing" in errors
    assert not out and f"{bad}: no video stream can be opened" in errors
    said = json.loads((tmp_path / "said/a.json").read_text())
    assert [row["label"] for row in said] == ["leak", None, None]


def test_a_processor_without_the_forms_arithmetic_is_named(
    plant: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(RUNTIMES["onnx"]), "missing", lambda self: "this processor has no bfloat16")
    predict([plant.ingested / "east-leak-3.mp4"], plant.export("distilled"), "onnx")
    assert "no bfloat16" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_said_in_a_sentence(
    plant: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert deployed_model(str(plant.export("distilled")), plant) == plant.export("distilled")
    for name, why in (
        ("pump", "pump has no champion"),
        ("pump/3", "pump has no version 3"),
        ("exports/pump", "neither a folder"),
    ):
        with pytest.raises(UserError, match=why):
            deployed_model(name, Paths(tmp_path))
    with pytest.raises(UserError, match=r"int8\.xml is not a network that OpenVINO can run"):
        predict([plant.ingested / "east-leak-3.mp4"], plant.export("distilled"), "openvino-int8")
    for content in (None, "{}", "[]"):
        if content:
            (tmp_path / "preprocessing.json").write_text(content)
        with pytest.raises(UserError, match="no deployed network"):
            predict([plant.ingested / "east-leak-3.mp4"], tmp_path)
