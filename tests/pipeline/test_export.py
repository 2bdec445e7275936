"""The export stage: what it writes, what it measures, which form it chooses and why."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_model, save_model
from slimstream.models.latency import Latency, latencies
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES
from slimstream.runtimes import RUNTIMES, open_network
from slimstream.runtimes.appearance import APPEARANCE
from slimstream.runtimes.base import LOGITS, Form, Network, Runtime, read_forms, side_by_side
from slimstream.runtimes.calibration import read_calibration
from slimstream.runtimes.onnx import OnnxModel
from slimstream.runtimes.seen import FILE as SEEN
from slimstream.runtimes.seen import MEASURES, read_seen
from slimstream.runtimes.split_part import SplitPart
from slimstream.serving.classifier import ClipClassifier
from slimstream.serving.predict import predict
from slimstream.stages.export import choice, comparison, own_heads, stage, subject
from slimstream.stages.export.params import ExportParams
from slimstream.training.closed_form import fit_to_features
from tests.pipeline import tiny_study
from tests.pipeline.test_evaluate import untrained

Exported = tuple[Paths, dict[str, float]]
POLICY = ExportParams(max_changed=0.01)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.set_num_threads(1)
    section = {"calibration_clips": 4, "latency_runs": 5}
    paths = tiny_study.study(tmp_path_factory.mktemp("study"), export=section)
    untrained(paths, "pruned", 0)
    (paths.export("dropped")).mkdir(parents=True)
    return paths, STAGES["export"].run(load_params(paths.params), paths, null_log)


def test_every_form_is_there_and_measured(exported: Exported) -> None:
    paths, metrics = exported
    folder = paths.export("pruned")
    names = {file for runtime in RUNTIMES.values() for file in runtime.files}
    assert {file.name for file in folder.iterdir()} == names | {
        *(
            "preprocessing.json",
            "runtimes.json",
            "calibration.json",
            "reference.safetensors",
            "suspects.json",
        ),
        SEEN,
    }
    judged = json.loads((folder / "suspects.json").read_text())["judged"]
    assert judged == (pd.read_parquet(paths.split)["part"] == "val").sum(), "its layers know the train clips"
    calibration = read_calibration(folder)
    assert calibration.outputs == ("logits", "features") and calibration.temperature > 0
    assert calibration.left_out is None, "its layers know all classes"
    seen = read_seen(folder)
    assert seen is not None and len(seen.values) == len(seen.truth) == len(seen.group)
    assert np.isfinite(seen.values[:, : len(APPEARANCE)]).all()
    known = np.isfinite(seen.values[:, MEASURES.index("confidence")])  # of val clips alone
    assert 0 < known.sum() < len(known)
    assert not paths.export("dropped").exists()
    assert json.loads((folder / "preprocessing.json").read_text())["seconds"] == 1.0  # of the study's clips
    chosen, forms = read_forms(folder)
    here = [name for name, runtime in RUNTIMES.items() if not runtime.missing()]
    assert [form.runtime for form in forms] == here and chosen in forms
    size = {form.runtime: form.megabytes for form in forms}
    assert size["openvino-int8"] < 0.7 * size["onnx"]
    assert metrics["pruned.onnx.changed"] == metrics["pruned.onnx.off"] == 0
    assert metrics["pruned.openvino.off"] < choice.PARITY < metrics["pruned.openvino-int8.off"]
    assert metrics["pruned.speedup"] == pytest.approx(forms[0].latency_p50_ms / chosen.latency_p50_ms)


def test_one_export_does_for_models_that_are_the_same_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = tiny_study.study(tmp_path, export={"runtimes": ["openvino"], "latency_runs": 5})
    for name, seed in (("original", 0), ("pruned", 0), ("distilled", 1)):
        untrained(paths, name, seed)
    metrics = STAGES["export"].run(load_params(paths.params), paths, null_log)
    said = [line for line in capsys.readouterr().err.splitlines() if "same network" in line]
    assert said == ["export: pruned is the same network as original and shares its forms."]
    assert metrics["pruned.onnx.latency_p50_ms"] == metrics["original.onnx.latency_p50_ms"]
    one, other = (paths.export(name) for name in ("original", "pruned"))
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {
        file.name: file.read_bytes() for file in other.iterdir()
    }
    assert "distilled.openvino.off" in metrics


def test_every_form_judges_clips_it_has_not_seen(exported: Exported) -> None:
    paths, _ = exported
    clip = tiny_study.pack("left", np.random.default_rng(7)).transpose(0, 3, 1, 2)[None].copy()
    expected = open_network(paths.export("pruned"), "onnx")(clip)
    for form in read_forms(paths.export("pruned"))[1]:
        off = np.abs(open_network(paths.export("pruned"), form.runtime)(clip) - expected).max()
        assert off < 0.2 * np.abs(expected).max(), form.runtime


def test_what_a_clip_must_become_is_written_beside_it(exported: Exported) -> None:
    told = json.loads((exported[0].export("pruned") / "preprocessing.json").read_text())
    assert told["classes"] == tiny_study.CLASSES
    assert told["input"]["shape"] == ["batch", "frames", 5, tiny_study.SIZE, tiny_study.SIZE]
    assert told["input"]["channels"][3:] == ["flow x", "flow y"] and "farneback" in told["steps"][-1]


@pytest.mark.box
def test_with_refit_forms_are_judged_by_heads_that_have_not_learnt_from_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a network whose head cannot be fitted to given features."""
    monkeypatch.setattr(subject, "takes_own_heads", lambda *_: False)
    paths = tiny_study.study(
        tmp_path, export={"calibration_clips": 4, "latency_runs": 5}, refit={"strength": 0.003}
    )
    untrained(paths, "pruned", 0, network="two_stream_mobilevit")
    model, card = load_model(paths.final_model("pruned"), create_model)
    head = model.get_submodule("head")
    assert isinstance(head, nn.Linear) and head.weight.std() > 0
    with torch.no_grad():
        nn.init.zeros_(head.weight)
        head.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))  # as sure of every clip as a head can be
    save_model(paths.final_model("pruned"), model, card)
    untrained(paths, "other", 0, network="two_stream_mobilevit")
    (paths.final_model("other")).rename(paths.model("pruned"))
    metrics = STAGES["export"].run(load_params(paths.params), paths, null_log)
    assert metrics["pruned.openvino-int8.off"] > choice.PARITY
    clip = tiny_study.pack("left", np.random.default_rng(7)).transpose(0, 3, 1, 2)[None].copy()
    folder = paths.export("pruned")
    for form in read_forms(folder)[1]:  # while those of the refitted network are deployed
        assert open_network(folder, form.runtime)(clip)[0] == pytest.approx([9, 0, 0], abs=0.1)
    assert not [file for file in folder.iterdir() if file.is_dir()]


def test_what_is_deployed_is_asked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"runtimes": ["openvino"], "latency_runs": 5}
    paths = tiny_study.study(tmp_path, export=options, refit={"strength": 0.003})
    untrained(paths, "pruned", 0)
    paths.final_model("pruned").rename(paths.model("pruned"))
    untrained(paths, "pruned", 0)
    monkeypatch.setattr(subject, "takes_own_heads", lambda *_: False)

    def opens(folder: Path, runtime: str, **how: int) -> Network:
        network = open_network(folder, runtime, **how)
        wrong = folder == paths.export("pruned") and runtime == "openvino"
        return (lambda clip: network(clip)[:, ::-1]) if wrong else network

    monkeypatch.setattr(comparison, "open_network", opens)
    metrics = STAGES["export"].run(load_params(paths.params), paths, null_log)
    assert metrics["pruned.openvino.changed"] == 0 and metrics["pruned.openvino.off"] > choice.PARITY
    assert read_forms(paths.export("pruned"))[0].runtime == "onnx"


def test_a_coarse_form_has_a_head_of_its_own_and_is_judged_on_inner_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All features of the toy are times -2: the head of the network is lost on them, its own is not.

    Twelve of the 18 clips judge, and the head has learnt from all.
    """
    monkeypatch.setitem(RUNTIMES, "moved", Moved())
    monkeypatch.setattr(own_heads, "JUDGES", 12)
    by_head = {"fit": {"epochs": 0, "head": 0.1}}  # so no other layer has learnt from labels
    paths = tiny_study.study(
        tmp_path,
        export={"runtimes": ["moved"], "latency_runs": 5},
        refit={"strength": 0.1},
        train={**tiny_study.PARAMS["train"], **by_head},
        prune={**tiny_study.PARAMS["prune"], **by_head},
    )
    untrained(paths, "pruned", 0)
    metrics = STAGES["export"].run(load_params(paths.params), paths, null_log)
    assert metrics["pruned.moved.changed"] == metrics["pruned.moved.lost"] == 0
    folder = paths.export("pruned")
    assert not [file for file in folder.iterdir() if file.is_dir()]
    assert "pruned.onnx.lost" not in metrics and read_forms(folder)[1][0].lost is None
    names = [
        f"{label}-{n}" for label in tiny_study.CLASSES for n in ("0-0", "0-1", "1-0", "1-1", "2-0", "2-1")
    ]
    clips = [np.load(paths.packs / f"{name}.npy").transpose(0, 3, 1, 2)[None].copy() for name in names]
    plain, moved = open_network(folder, "onnx", outputs=["features"]), open_network(folder, "moved")
    features = np.concatenate([plain(clip) for clip in clips])
    model, _ = load_model(paths.final_model("pruned"), create_model)
    fit_to_features(model, features, np.repeat(np.arange(3), 6), 3, 0.1)
    with torch.no_grad():
        expected = model.classify(torch.from_numpy(features)).numpy()
    assert expected.std(0).max() > 0.1
    np.testing.assert_allclose(np.concatenate([moved(clip) for clip in clips]), expected, atol=0.01)


class Moved(Runtime):
    """A toy runtime: ONNX, with all features times -2 and the head after them."""

    title = "A toy"
    files = ("moved.onnx", "moved.npz")
    exact = False

    def write(self, model: nn.Module, clips: Sequence[np.ndarray], folder: Path) -> None:
        (folder / "moved.onnx").write_bytes((folder / "network.onnx").read_bytes())
        model = copy.deepcopy(model).double()
        probe = torch.eye(model.head.in_features).double()
        with torch.no_grad():
            bias = model.classify(torch.zeros_like(probe[:1]))
            weight = model.classify(probe) - bias
        np.savez(folder / "moved.npz", weight=weight.numpy(), bias=bias.numpy())

    def open(self, folder: Path, *, threads: int, at_once: int, outputs: Sequence[str] = LOGITS) -> Network:
        features, head = OnnxModel(folder / "moved.onnx", ["features"]), np.load(folder / "moved.npz")
        computed = {
            "features": lambda x: -2 * x,
            "logits": lambda x: (-2.0 * x @ head["weight"] + head["bias"]).astype(np.float32),
        }
        return lambda clip: side_by_side([computed[name](features(clip)) for name in outputs])


def form(
    runtime: str, changed: float, ms: float, off: float = 0.0, mb: float = 1.0, lost: float | None = None
) -> Form:
    return Form(runtime, changed, off, mb, ms, ms, lost)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([form("openvino", 0, 8), form("openvino-bf16", 0, 6), form("openvino-int8", 0.005, 4)], 2),
        ([form("openvino", 0, 8), form("openvino-bf16", 0, 6), form("openvino-int8", 0.02, 4)], 1),
        ([form("openvino", 0, 8), form("openvino-bf16", 0, 7.9), form("openvino-int8", 0.02, 4)], 0),
        ([form("openvino", 0, 5, off=0.03), form("openvino-bf16", 0.02, 5)], -1),
        (
            [
                form("openvino", 0, 8),
                form("openvino-bf16", 0, 6, off=0.05),
                form("openvino-int8", 0, 4, off=0.2),
            ],
            1,
        ),
        ([form("openvino", 0, 11)], -1),
        ([form("openvino", 0, 8), form("openvino-w8", 0, 8.1, off=0.2, mb=0.3, lost=0.01)], 1),
        ([form("openvino", 0, 8), form("openvino-w8", 0, 8.1, mb=0.3, lost=0.02)], 0),
        ([form("openvino", 0, 8), form("openvino-w8", 0, 9, mb=0.3, lost=0.0)], 0),
    ],
    ids=[
        "the fastest",
        "changes too much",
        "hardly faster",
        "computes otherwise",
        "moves too far",
        "slower",
        "as fast and smaller",
        "loses too much",
        "smaller but slower",
    ],
)
def test_the_fastest_that_answers_alike_is_chosen(others: list[Form], chosen: int) -> None:
    forms = [form("onnx", 0, 10), *others]
    assert choice.choose_form(forms, POLICY, 0.01) is forms[chosen + 1]


def with_runtimes(paths: Paths, *runtimes: str) -> Params:
    """params.yaml with these runtimes: 8 bits take seconds."""
    params = load_params(paths.params)
    return params.model_copy(update={"export": params.export.model_copy(update={"runtimes": [*runtimes]})})


def test_a_graph_that_computes_otherwise_is_an_error(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, _ = exported
    monkeypatch.setattr(comparison, "PARITY", -1.0)
    with pytest.raises(RuntimeError, match="off the network's"):
        STAGES["export"].run(with_runtimes(paths, "onnx"), paths, null_log)


def test_a_form_that_cannot_run_a_network_is_left_out(
    exported: Exported,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths, _ = exported
    params = with_runtimes(paths, "openvino", "openvino-w8")

    def opens(folder: Path, runtime: str, **how: int) -> Any:
        def fails(clip: np.ndarray) -> np.ndarray:
            raise RuntimeError("Exception from a file\nthe kernel is larger than the clip")

        return fails if runtime == "openvino" else open_network(folder, runtime)

    monkeypatch.setattr(comparison, "open_network", opens)
    metrics = STAGES["export"].run(params, paths, null_log)
    assert "pruned.openvino.off" not in metrics and "pruned.openvino-w8.off" in metrics
    said = "openvino does not run pruned and is left out (the kernel is larger than the clip)"
    assert said in capsys.readouterr().err


def test_a_form_that_cannot_be_made_is_left_out(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, _ = exported

    def fails(*_: Any) -> None:
        raise RuntimeError("Exception from a file\nno range for a layer")

    monkeypatch.setattr("slimstream.runtimes.openvino_int8.quantise", fails)
    metrics = STAGES["export"].run(load_params(paths.params), paths, null_log)
    assert "pruned.openvino.off" in metrics and "pruned.openvino-int8.off" not in metrics
    assert "openvino-int8 does not run pruned and is left out (no range" in capsys.readouterr().err


class Remembering(Runtime):
    """A toy runtime: it runs the ONNX file, and answers at once what it was asked before."""

    title = "A toy"
    files = ("network.toy",)

    def __init__(self, shift: float = 0.0, *, exact: bool = True) -> None:
        self.shift = shift
        self.exact = exact

    def write(self, model: nn.Module, clips: Sequence[np.ndarray], folder: Path) -> None:
        (folder / "network.toy").write_bytes((folder / "network.onnx").read_bytes())

    def open(self, folder: Path, *, threads: int, at_once: int, outputs: Sequence[str] = LOGITS) -> Network:
        network, answers = OnnxModel(folder / "network.toy", outputs), {}

        def ask(clip: np.ndarray) -> np.ndarray:
            key = clip.tobytes()
            if key not in answers:
                answers[key] = network(clip)
                answers[key][:, 0] += self.shift
            return answers[key]

        return ask


def test_a_runtime_that_is_added_to_the_list_is_exported_checked_timed_and_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry in the list is all that the settings, export, the classifier and predict need."""
    monkeypatch.setitem(RUNTIMES, "off", Remembering(0.01))
    monkeypatch.setitem(RUNTIMES, "toy", Remembering())
    monkeypatch.setitem(RUNTIMES, "coarse", Remembering(0.01, exact=False))
    names = ["onnx", "off", "toy", "coarse"]
    paths = tiny_study.study(tmp_path, export={"runtimes": names, "latency_runs": 5, "max_changed": 1})
    untrained(paths, "pruned", 0, network="two_stream_mobilenet")
    params = load_params(paths.params)
    metrics = STAGES["export"].run(params, paths, null_log)
    folder = paths.export("pruned")
    chosen, forms = read_forms(folder)
    assert [form.runtime for form in forms] == names and chosen.runtime in ("toy", "coarse")
    # Fewer bits explain a small difference; 32-bit floats do not.
    assert [choice.is_faithful(form, params.export, 0.01) for form in forms] == [True, False, True, True]
    assert metrics["pruned.toy.off"] == 0 and choice.PARITY < metrics["pruned.off.off"] < choice.MAX_CHANGED
    assert metrics["pruned.toy.latency_p50_ms"] < 0.5 * metrics["pruned.onnx.latency_p50_ms"]
    assert metrics["pruned.toy.megabytes"] == metrics["pruned.onnx.megabytes"]
    assert ClipClassifier(folder).runtime == chosen.runtime
    clip = next(paths.ingested.glob("*.mp4"))
    assert predict([clip], folder, "toy", workers=1)[0]["error"] == ""


def test_only_the_forms_of_the_recipe_are_tried(tmp_path: Path) -> None:
    paths = tiny_study.study(tmp_path, export={"runtimes": ["openvino"], "latency_runs": 5})
    untrained(paths, "original", 0)
    metrics = STAGES["export"].run(load_params(paths.params), paths, null_log)
    assert {key.split(".")[1] for key in metrics} == {"onnx", "openvino", "speedup"}
    assert not list(paths.export("original").glob("int8*"))


def test_networks_with_the_same_layers_are_timed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = []

    def counted(calls: dict[str, Any], runs: int) -> dict[str, Latency]:
        timed.append(list(calls))
        return latencies(calls, runs)

    monkeypatch.setattr(comparison, "latencies", counted)
    paths = tiny_study.study(tmp_path, export={"runtimes": ["onnx"], "latency_runs": 5})
    untrained(paths, "original", 0, network="two_stream_squeezenet")
    untrained(paths, "pruned", 1, network="two_stream_squeezenet")
    untrained(paths, "distilled", 1, network="two_stream_mobilenet")
    metrics = STAGES["export"].run(load_params(paths.params), paths, null_log)
    assert timed == [["onnx"]] * 2
    original, pruned, distilled = (
        metrics[f"{name}.onnx.latency_p50_ms"] for name in ("original", "pruned", "distilled")
    )
    assert original == pruned != distilled
    assert len({(paths.export(name) / "network.onnx").read_bytes() for name in ("original", "pruned")}) == 2


def test_a_network_is_timed_when_an_earlier_one_lacks_a_form_or_saw_other_clips() -> None:
    folder, speed = Path("missing"), {"onnx": Latency(2, 3)}
    timings = [comparison.Timing(folder, (1, 8, 5, 32, 32), speed)]
    assert comparison.known_speed(timings, folder, (1, 4, 5, 32, 32), ["onnx"]) is None
    assert comparison.known_speed(timings, folder, (1, 8, 5, 32, 32), ["onnx", "openvino"]) is None


def test_no_model_is_said_in_a_sentence(tmp_path: Path) -> None:
    paths = tiny_study.study(tmp_path)
    with pytest.raises(UserError, match="no model to export"):
        STAGES["export"].run(load_params(paths.params), paths, null_log)


def test_a_trained_network_is_calibrated_on_all_val_clips_however_few(tmp_path: Path) -> None:
    paths = tiny_study.study(tmp_path)
    classes = json.loads(paths.split_info.read_text())["classes"]
    both = SplitPart.of(pd.read_parquet(paths.split), "train", classes, paths, "val")
    parts = both.rows["part"].iloc[stage.val_and_train(both)]
    assert parts.value_counts().to_dict() == both.rows["part"].value_counts().to_dict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "JUDGES", 2)
        parts = both.rows["part"].iloc[stage.val_and_train(both)]
    assert parts.value_counts().to_dict() == {"train": 2, "val": 2}
