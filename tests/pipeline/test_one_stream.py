"""A network that looks at pictures alone goes the whole way, from training to the report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slimstream.errors import UserError
from slimstream.learn.checkpoint import load_model
from slimstream.models import create_model
from slimstream.params import load_params
from slimstream.paths import Paths
from slimstream.progress import null_log
from slimstream.stages import baseline, distill, evaluate, prune, train
from tests.pipeline import tiny

ONCE = {**tiny.FIT, "epochs": 1}


def study(root: Path, **train: object) -> Paths:
    return tiny.study(
        root,
        train={"model": "mobilevit_3d", "fit": ONCE, **train},
        # The last convolution keeps its outputs, so that there is something to restore.
        prune={"rate": 0.4, "leave": ["head", "*.layers.11.space"], "restore": 1e-3, "fit": ONCE},
        distill={"views": 1, "fit": ONCE},
    )


def test_from_training_to_the_report(tmp_path: Path) -> None:
    paths = study(tmp_path)
    params = load_params(paths.params)
    _, pruned, distilled = (stage.run(params, paths, null_log) for stage in (train, prune, distill))
    assert pruned["params_kept"] < 0.8
    assert pruned["restore.layers"] == 1 and pruned["restore.after"] <= pruned["restore.before"]
    assert distilled["distilled.params"] == pruned["after.params"]

    scores = evaluate.run(params, paths, null_log)
    assert {name.split(".")[0] for name in scores} >= {"original", "pruned", "control", "distilled"}
    assert scores["original.megabytes"] < 6  # a third of two streams
    assert set(pd.read_parquet(paths.predictions)["model"]) == {"original", "pruned", "control", "distilled"}
    html = paths.report.read_text()
    assert "side by side" in html and "look at" not in html  # Grad-CAM shows pairs of streams


def test_a_head_is_fitted_to_one_stream_in_closed_form(tmp_path: Path) -> None:
    paths = study(tmp_path, fit={"head": 1.0, "epochs": 0})
    scores = train.run(load_params(paths.params), paths, null_log)
    assert scores["val_macro_f1"] > 0.6  # a bright half can be seen in fresh features
    load_model(paths.model("original"), create_model)


def test_clips_without_flow_are_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = study(tmp_path, model="two_stream_mobilevit")
    for pack in paths.packs.glob("*.npy"):
        np.save(pack, np.load(pack)[..., :3])
    params = load_params(paths.params)
    monkeypatch.setattr("slimstream.stages.training.fit", lambda *_, **__: pytest.fail("it began to learn"))
    for stage in (train, baseline):
        with pytest.raises(
            UserError, match=r"optical flow \(5 channels\), but the packs hold RGB pictures \(3\)"
        ):
            stage.run(params, paths, null_log)
