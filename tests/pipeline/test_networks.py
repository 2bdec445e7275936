"""Networks of their real size, the default and others, go the whole way from training to the report."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_card, load_model
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from tests.pipeline import tiny_study

DEFAULT = "two_stream_mobilevit"
ONCE = {**tiny_study.FIT, "epochs": 1}
FITTED = {**tiny_study.FIT, "epochs": 0, "head": 1.0}


@pytest.mark.box
@pytest.mark.parametrize(
    ("model", "model_args", "fit"),
    [
        (DEFAULT, {}, ONCE),
        ("two_stream_mobilenet", {"size": "v3_small", "fusion": "average"}, {**ONCE, "head": 1.0}),
        ("two_stream_lstm", {"backbone": "mobilenet", "hidden": 16, "freeze": 3}, ONCE),
        (
            "two_stream_dilated_efficientnetv2",
            {"fusion": "conv", "position": "mbconv4", "head": "cosine"},
            {**ONCE, "loss": "am_softmax", "center": 0.1},
        ),
        ("cnn_features_knn", {}, FITTED),
    ],
)
def test_from_training_to_the_report(
    tmp_path: Path, model: str, model_args: dict[str, Any], fit: dict[str, Any]
) -> None:
    torch.set_num_threads(1)
    paths = tiny_study.study(
        tmp_path,
        train={"model": model, "model_args": model_args, "fit": fit},
        prune={"rate": 0.3, "fit": fit},
        distill={"views": 1, "fit": fit},
    )
    params = load_params(paths.params)
    _, pruned, *_ = (
        STAGES[stage].run(params, paths, null_log) for stage in ("train", "prune", "distill", "refit")
    )
    learns = fit["epochs"] > 0
    assert (pruned["params_kept"] < 0.9) == learns
    card = load_card(paths.model("original"))
    assert card.args == {"pretrained": model == "cnn_features_knn", **model_args}
    load_model(paths.model("distilled"), create_model)
    exported = {"original", "pruned", "control", "distilled"}
    if model != DEFAULT:  # both have the layers of the pruned one, and conversion takes seconds
        for name in ("control", "distilled"):
            shutil.rmtree(paths.final_model(name))
            exported.remove(name)

    STAGES["export"].run(params, paths, null_log)  # compares each with the network
    scores = STAGES["evaluate"].run(params, paths, null_log)
    assert {name.split(".")[0] for name in scores} >= exported
    assert set(pd.read_parquet(paths.predictions)["model"]) == exported
    explained = "What the networks look at" in paths.report.read_text()
    assert explained == learns  # a vote of neighbours has no gradient to show
