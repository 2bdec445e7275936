"""A network that looks at pictures alone goes the whole way, from training to the report."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_model
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from tests.pipeline import tiny_study

ONCE = {**tiny_study.FIT, "epochs": 1}


def study(root: Path, **train: object) -> Paths:
    return tiny_study.study(
        root,
        train={"model": "mobilevit_3d", "fit": ONCE, **train},
        # The last convolution keeps its outputs, so that there is something to restore.
        prune={"rate": 0.4, "leave": ["head", "*.layers.11.space"], "restore": 1e-3, "fit": ONCE},
        distill={"views": 1, "fit": ONCE},
    )


@pytest.mark.box
def test_from_training_to_the_report(tmp_path: Path) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    stages = ("train", "prune", "distill", "refit")
    _, pruned, distilled, _ = (STAGES[stage].run(params, paths, null_log) for stage in stages)
    assert pruned["params_kept"] < 0.8
    assert pruned["restore.layers"] == 1 and pruned["restore.after"] <= pruned["restore.before"]
    assert distilled["distilled.params"] == pruned["after.params"]

    for name in ("control", "distilled"):  # both have the layers of the pruned one; conversion takes seconds
        shutil.rmtree(paths.final_model(name))
    STAGES["export"].run(params, paths, null_log)
    scores = STAGES["evaluate"].run(params, paths, null_log)
    assert {name.split(".")[0] for name in scores} >= {"original", "pruned"}
    assert scores["original.megabytes"] < 7  # half of two streams
    assert set(pd.read_parquet(paths.predictions)["model"]) == {"original", "pruned"}
    html = paths.report.read_text()
    assert "looks in the frame" in html and "looks in the flow" not in html


def test_a_head_is_fitted_to_one_stream_in_closed_form(tmp_path: Path) -> None:
    paths = study(tmp_path, fit={"head": 1.0, "epochs": 0})
    scores = STAGES["train"].run(load_params(paths.params), paths, null_log)
    assert scores["val_macro_f1"] > 0.6  # a bright half can be seen in fresh features
    load_model(paths.model("original"), create_model)


def test_attention_of_a_network_without_maps_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = tiny_study.study(
        tmp_path,
        train={"model": "mobilevit_3d", "fit": {**tiny_study.FIT, "epochs": 0}},
        distill={"student": "scratch", "attention": 1.0, "fit": ONCE},
    )
    params = load_params(paths.params)
    STAGES["train"].run(params, paths, null_log)
    monkeypatch.setattr("slimstream.training.study.fit", lambda *_, **__: pytest.fail("it began to learn"))
    with pytest.raises(UserError, match="shows none; set attention: 0"):
        STAGES["distill"].run(params, paths, null_log)


def test_clips_without_flow_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimstream.training.study.fit", lambda *_, **__: pytest.fail("it began to learn"))
    two = {"model": "two_stream_mobilevit", "fit": ONCE}
    sections = {
        "extract": {**tiny_study.PARAMS["extract"], "flow": "none"},
        "train": two,
        "teachers": {"big": two},
    }
    paths = tiny_study.study(tmp_path, **sections)
    params = load_params(paths.params)
    for stage, name in (("train", "train"), ("teachers", r"teachers\.big")):
        said = rf"{name}\.model takes .* optical flow \(5 channels\), but extract makes RGB pictures \(3\)"
        with pytest.raises(UserError, match=said):
            STAGES[stage].run(params, paths, null_log)
