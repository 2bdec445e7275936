"""baseline, train, prune and distill on a tiny study, and what a kill leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slimstream.cli.parser import main
from slimstream.core import fingerprint
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_card, load_model, weight_hash
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.baseline.stage import preflight
from slimstream.training.study import Study
from tests.pipeline.tiny_study import FIT, PARAMS, study


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, dict[str, dict[str, float]]]:
    sections = {
        "train": {"model": "tiny_two_stream", "fit": FIT},
        # The convolution in the middle keeps its outputs, so that there is something to restore.
        "prune": {**PARAMS["prune"], "leave": ["head", "*.3"]},
    }
    paths = study(tmp_path_factory.mktemp("study"), **sections)
    params = load_params(paths.params)
    return paths, {
        stage: STAGES[stage].run(params, paths, null_log)
        for stage in ("train", "prune", "distill", "baseline")
    }


def test_frozen_features_tell_the_classes_apart(trained: tuple[Paths, dict[str, dict[str, float]]]) -> None:
    assert trained[1]["baseline"]["val_macro_f1"] == 1.0


def test_pruning_really_shrinks_the_network(trained: tuple[Paths, dict[str, dict[str, float]]]) -> None:
    paths, metrics = trained
    kept = metrics["prune"]["params_kept"]
    assert kept == pytest.approx(0.66, rel=0.05)
    assert metrics["prune"]["after.macs"] < metrics["prune"]["before.macs"]
    bytes_of = {n: (paths.model(n) / "weights.safetensors").stat().st_size for n in ("original", "pruned")}
    assert bytes_of["pruned"] / bytes_of["original"] == pytest.approx(kept, abs=0.05)


def test_the_pruned_network_makes_the_originals_maps_again(
    trained: tuple[Paths, dict[str, dict[str, float]]],
) -> None:
    assert trained[1]["prune"]["restore.after"] < 0.5 * trained[1]["prune"]["restore.before"]


@pytest.mark.parametrize("name", ["original", "pruned", "control", "distilled", "baseline"])
def test_every_model_rebuilds_from_its_folder(
    trained: tuple[Paths, dict[str, dict[str, float]]], name: str
) -> None:
    model, card = load_model(trained[0].model(name), create_model)
    assert card.classes == ["left", "right", "still"]
    assert card.params == sum(p.numel() for p in model.parameters())


def test_the_control_differs_by_the_teacher_alone(
    trained: tuple[Paths, dict[str, dict[str, float]]], tmp_path: Path
) -> None:
    paths, _ = trained
    hashes = {
        n: weight_hash(load_model(paths.model(n), create_model)[0])
        for n in ("control", "distilled", "pruned")
    }
    assert len(set(hashes.values())) == 3
    params = load_params(paths.params)
    without = params.model_copy(update={"distill": params.distill.model_copy(update={"weight": 0.0})})
    STAGES["distill"].run(without, paths, null_log)
    assert weight_hash(load_model(paths.model("distilled"), create_model)[0]) == hashes["control"]


def test_a_teacher_of_another_split_is_refused(tmp_path: Path) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    short = params.model_copy(
        update={
            "train": params.train.model_copy(
                update={"fit": params.train.fit.model_copy(update={"epochs": 0})}
            )
        }
    )
    STAGES["train"].run(short, paths, null_log)
    info = json.loads(paths.split_info.read_text())
    paths.split_info.write_text(json.dumps(info | {"hash": "another"}))
    with pytest.raises(UserError, match="cannot teach here: its split hash"):
        STAGES["distill"].run(params, paths, null_log)


@pytest.mark.box
def test_kill_9_then_resume_ends_with_the_same_weights(tmp_path: Path) -> None:
    settings = {"train": {"model": "two_stream_mobilevit", "fit": {**FIT, "epochs": 4}}}
    whole, cut = study(tmp_path / "whole", **settings), study(tmp_path / "cut", **settings)
    environment = {**os.environ, "SLIMSTREAM_TRACKING": "off", "SLIMSTREAM_CACHE": ""}

    def start(paths: Paths) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "slimstream", "--root", str(paths.root), "train"]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    assert start(whole).wait() == 0
    process = start(cut)
    while not list(cut.cache.glob("work/original/*/state.safetensors")):
        assert process.poll() is None, "training ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not cut.model("original").exists()
    assert start(cut).wait() == 0

    weights = [load_model(paths.model("original"), create_model)[0] for paths in (whole, cut)]
    assert weight_hash(weights[0]) == weight_hash(weights[1])
    assert whole.curves("original").read_text() == cut.curves("original").read_text()


def test_a_training_resumes_unless_its_own_code_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = study(tmp_path)
    known, folders = fingerprint.stage_code, list[Path]()

    def training(*_: object, folder: Path, **__: object) -> list[dict[str, float]]:
        folders.append(folder)
        return []

    monkeypatch.setattr("slimstream.training.study.fit", training)
    for judged in ("validate", "save"):  # not what this is about
        monkeypatch.setattr(Study, judged, lambda *_, **__: {})
    for edited in ("nothing", "evaluate", "prune", "train"):
        monkeypatch.setattr(fingerprint, "stage_code", lambda s, e=edited: "new" if s == e else known(s))
        STAGES["train"].run(load_params(paths.params), paths, null_log)
    assert folders[0] == folders[1] == folders[2] != folders[3]


def test_a_user_mistake_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text("train: {modell: x}")
    assert main(["--root", str(tmp_path), "train"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "did you mean 'model'?" in said


def test_the_baseline_may_look_at_a_part_of_a_clip(tmp_path: Path) -> None:
    paths = study(tmp_path, baseline={"reduce": {"frames": 2, "streams": "rgb"}})
    scores = STAGES["baseline"].run(load_params(paths.params), paths, null_log)
    _, card = load_model(paths.model("baseline"), create_model)
    assert card.model == "frozen_frames_lite0" and not card.network_input.sees_flow
    assert scores["macs"] == card.macs and scores["val_macro_f1"] > 0.6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"reduce": {"streams": "flow"}}, "looks at rgb or both"),
        ({"reduce": {"frames": 9}}, r"baseline\.reduce\.frames 9 is more than"),
        ({"reduce": {"streams": "rgb"}, "model": "cnn_features_svm"}, "baseline.reduce leaves none"),
    ],
)
def test_what_the_baseline_cannot_look_at_is_refused_before_any_work(
    tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    paths = study(tmp_path, baseline=settings)
    with pytest.raises(UserError, match=said):
        params = load_params(paths.params)
        preflight(params.baseline, params.extract)


@pytest.mark.parametrize("model", ["cnn_features_svm", "cnn_features_knn"])
def test_classical_classifiers_of_cnn_features_train_and_are_a_baseline(tmp_path: Path, model: str) -> None:
    fit = {**FIT, "epochs": 0, "head": 1.0}
    paths = study(tmp_path, train={"model": model, "fit": fit}, baseline={"model": model})
    params = load_params(paths.params)
    for stage, name in (("train", "original"), ("baseline", "baseline")):
        assert STAGES[stage].run(params, paths, null_log)["val_macro_f1"] == 1.0
        again, card = load_model(paths.model(name), create_model)
        assert (card.model, card.args) == (model, {"pretrained": True})
    if model == "cnn_features_knn":
        assert len(again.head.memory) == 12


def test_a_network_without_gradients_cannot_be_trained_by_them(tmp_path: Path) -> None:
    paths = study(tmp_path, train={"model": "cnn_features_knn", "fit": FIT})
    with pytest.raises(UserError, match="nothing of NearestNeighbours learns in 3 epochs"):
        STAGES["train"].run(load_params(paths.params), paths, null_log)


def test_a_model_that_does_not_exist_names_the_near_one(tmp_path: Path) -> None:
    paths = study(tmp_path, train={"model": "two_stream_mobilvit"})
    with pytest.raises(UserError, match="two_stream_mobilevit"):
        STAGES["train"].run(load_params(paths.params), paths, null_log)


def test_the_card_says_where_a_model_came_from(trained: tuple[Paths, dict[str, dict[str, float]]]) -> None:
    card = load_card(trained[0].model("distilled"))
    assert (card.parent, card.split_hash) == ("pruned", "0123456789ab")
    assert card.input["size"] == [64, 64]
