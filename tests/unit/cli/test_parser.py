"""The command line: what it says, and with which status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slimstream.cli.parser import main
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, save_model
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES

SMALL = "model: per_frame_cnn, model_args: {width: 0.125}"
"""A network that is built, pruned and saved in a tenth of a second."""
QUICK = f"train: {{{SMALL}}}"
"""Without it the checks before the first stage prune the network of the defaults, which takes seconds."""


def test_help_names_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    assert all(stage in said for stage in STAGES)


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, slimstream.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "mlflow", "cv2", "pandas", "sklearn"} & set(loaded.split())


def test_a_missing_file_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "ingest"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("slimstream ingest: ") and said.count("\n") == 1


def test_a_first_scan_asks_no_registry_and_a_lost_lock_asks_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("SLIMSTREAM_TRACKING", raising=False)
    (tmp_path / "params.yaml").write_text(f"{{ingest: {{rig: {{recordings: 3, clips: 1}}}}, {QUICK}}}\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mlflow"]:
        monkeypatch.delitem(sys.modules, name)  # as in a new process, which would take seconds
    assert main(["--root", str(tmp_path), "scan"]) == 0
    assert capsys.readouterr().out == "rig: 9 clips, 9 new\n" and "mlflow" not in sys.modules
    lock = tmp_path / "source.lock.json"
    known = {"sha256": ["ab" * 32], "groups": [{"recording": "recording_02"}]}
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"held_out": known}))
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", lock.name], [*who, "commit", "-qm", "scanned"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    lock.unlink()
    assert main(["--root", str(tmp_path), "scan"]) == 0
    content = json.loads(lock.read_text())
    assert content["held_out"] == known
    assert {i["groups"]["recording"] for i in content["items"] if "held_out" in i} == set()


def test_the_list_for_programs_is_the_last_line(tmp_path: Path) -> None:
    """The daily look reads both streams as one, and warnings come, too."""
    (tmp_path / "params.yaml").write_text(f"{{ingest: {{source: clips}}, {QUICK}}}\n")
    for name in ("a/1.mp4", "b/2.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True)
        (tmp_path / "clips" / name).touch()
    command = [sys.executable, "-m", "slimstream", "--root", str(tmp_path), "scan", "--dry-run", "--json"]
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    warning, found = out.stdout.splitlines()
    assert "near-twin sets are the groups" in warning and json.loads(found)["new"] == ["a/1.mp4", "b/2.mp4"]


def test_all_tables_want_videos_and_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).parents[3]
    assert main(["--root", str(root), "tables", "all", "--source", "clips"]) == 2
    assert "p3 looks at pictures: name them with --pictures" in capsys.readouterr().err


@pytest.mark.box
def test_models_lists_what_a_recipe_may_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["two_stream_mobilevit"]["params"] == pytest.approx(3.25e6, rel=0.03)
    assert all(row["macs"] > 0 for row in rows.values())
    lite0, frozen = rows["two_stream_efficientnet_lite0"], rows["frozen_efficientnet_lite0"]
    # Two backbones of 3.37 M without a classifier, less the layer of 1280 channels above the last stage.
    assert lite0["params"] == pytest.approx(5.92e6, rel=0.01) == frozen["params"]
    assert rows["cnn_features_svm"]["params"] == frozen["params"] and lite0["input"][:2] == [1, 5]
    assert main(["models"]) == 0
    assert "MACs: 1 frame of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        ("{model: two_stream_resnett}", "did you mean 'two_stream_resnet'"),
        ("{model: two_stream_resnet, model_args: {fusion: conv, position: mbconv4}}", "no stage 'mbconv4'"),
        ("{model: two_stream_resnet, model_args: {pretrained: no.safetensors}}", "no.safetensors does not"),
        ("{model: cnn_features_knn}", "set epochs: 0, and head"),
    ],
)
def test_a_network_that_cannot_be_is_refused_before_anything_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], train: str, complaint: str
) -> None:
    (tmp_path / "params.yaml").write_text(f"train: {train}")
    assert main(["--root", str(tmp_path), "scan"]) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (
            "train: {model: two_stream_squeezenet, model_args: {head: cosine}}, refit: {strength: 0.1}",
            "no linear head",
        ),
        (
            "train: {model: two_stream_vit}, prune: {rate: 0.5, importance: bn_scale}",
            "ranks channels by batch norms",
        ),
        ("train: {model: mobilevit_3d}, distill: {attention: 1.0}", "distill.attention compares maps"),
        (
            f"{QUICK}, prune: {{rate: 0.999}}",
            "prune.rate 0.999 would leave layers without channels; the highest rate that works",
        ),
        (f"{QUICK}, prune: {{rate: auto, rates: [0.2, 0.999]}}", "prune.rates 0.999 would"),
        (
            "train: {model: two_stream_shufflenet}, prune: {target_params: 0.1}",
            "prune.target_params 0.1 cannot be reached: what pruning leaves alone makes 0.6",
        ),
        (
            "train: {model: two_stream_efficientnet_lite0}, prune: {rate: 0.5, leave: [haed, '*.conv_pwl']}",
            "prune.leave: 'haed' matches no layer of the network; did you mean 'head'?",
        ),
        (
            "train: {model: two_stream_squeezenet}, extract: {frames: 2, size: [16, 16]}",
            "two_stream_squeezenet cannot look at frames of 16 × 16 pixels",
        ),
        ("baseline: {model_args: {backbon: lite2}}", "backbon"),
        (
            "baseline: {model: cnn_features_svm}, extract: {frames: 2, flow: none}",
            "baseline.model cnn_features_svm looks at flow, and extract.flow is none",
        ),
        (
            "train: {model: two_stream_squeezenet}, refit: {strength: 0.1}, "
            "teachers: {big: {model: two_stream_squeezenet, model_args: {head: cosine}}}",
            "has no linear head to fit; leave out fit.head and refit.strength",
        ),
    ],
)
def test_what_a_late_stage_would_refuse_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, complaint: str
) -> None:
    (tmp_path / "params.yaml").write_text(f"{{{settings}}}")
    for command in ("scan", "train"):
        assert main(["--root", str(tmp_path), command]) == 2
        said = capsys.readouterr().err
        assert complaint in said and said.count("\n") == 1


@pytest.mark.parametrize("command", ["prune", "distill"])
def test_every_stage_that_trains_asks_the_others_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "params.yaml").write_text("baseline: {model_args: {backbon: lite2}}")
    assert main(["--root", str(tmp_path), command]) == 2
    assert "has no setting 'backbon'" in capsys.readouterr().err


def save_teacher(folder: Path, classes: list[str]) -> Card:
    card = Card(
        model="per_frame_cnn",
        args={"width": 0.125},
        classes=classes,
        input=Params().extract.model_dump(mode="json"),
        split_hash="0",
        params=1,
        macs=1,
    )
    save_model(folder, create_model(card.model, len(classes), **card.args), card)
    return card


def test_a_teacher_of_another_split_is_refused_before_the_first_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_teacher(tmp_path / "old", ["a", "b"])
    (tmp_path / "params.yaml").write_text(f"{{distill: {{teachers: [old]}}, {QUICK}}}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/split.json").write_text('{"classes": ["a", "b"], "hash": "new"}')
    assert main(["--root", str(tmp_path), "train"]) == 2
    assert "old cannot teach here: its split hash is 0, this run's is new" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("distill", "complaint"),
    [
        (
            "{trained: [vgg16]}",
            "distill.trained names vgg16, which is not among the section teachers (empty)",
        ),
        ("{teachers: [elsewhere]}", "elsewhere holds no slimstream model"),
        (
            "{teachers: [rig]}",
            "rig cannot teach here: its classes is ['air', 'none'], this run's is ['a', 'b']",
        ),
        ("{teachers: [empty]}", "empty/weights.safetensors does not fit its model.json"),
        ("{original: false}", "distill has no teacher"),
    ],
)
def test_a_teacher_that_cannot_be_is_refused_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], distill: str, complaint: str
) -> None:
    card = save_teacher(tmp_path / "rig", ["air", "none"])
    unfit = card.model_copy(update={"classes": ["a", "b"]})
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/model.json").write_text(unfit.model_dump_json())
    for label in "ab":
        (tmp_path / "clips" / label).mkdir(parents=True)
        (tmp_path / "clips" / label / "clip.mp4").write_bytes(b"not looked into")
    (tmp_path / "params.yaml").write_text(f"{{ingest: {{source: clips}}, distill: {distill}, {QUICK}}}")
    assert main(["--root", str(tmp_path), "scan"]) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1
    assert not (tmp_path / "data").exists()
