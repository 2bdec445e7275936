"""`prune.rate: auto`: the smallest network that loses little on inner folds is taken."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_card, load_model
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.recipes import resolve
from slimstream.pipeline.stages import STAGES
from slimstream.stages.prune import stage
from slimstream.stages.prune.rates import COLUMNS, find_rate
from slimstream.training.study import Study
from tests.pipeline import tiny_study

HEAD = {"head": 1.0, "epochs": 0}
AUTO: dict[str, Any] = {
    "rate": "auto",
    "rates": [0.5, 0.3],
    "frozen": True,
    "leave": ["head", "*.conv_pwl"],
    "restore": 1e-3,
    "restore_clips": 6,
    "fit": HEAD,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, Params]:
    """Three groups learn; the network is shallow, so that it is pruned in a second."""
    torch.set_num_threads(1)
    args = {"stream": "rgb", "depth": 3, "freeze": "all"}
    network = {"model": "efficientnet_frames", "model_args": args, "fit": HEAD}
    root = tmp_path_factory.mktemp("study")
    paths = tiny_study.study(root, train=network, prune=AUTO, search={"margin": 0.1})
    params = load_params(paths.params)
    STAGES["train"].run(params, paths, null_log)
    return paths, params


def test_the_highest_rate_that_loses_little_is_taken_and_the_others_are_shown(
    study: tuple[Paths, Params], capsys: pytest.CaptureFixture[str]
) -> None:
    paths, params = study
    metrics = STAGES["prune"].run(params, paths, null_log)
    table = pd.read_csv(paths.curves("rates")).set_index("rate")
    assert list(table.index) == [0, 0.3, 0.5] and table["macs"].is_monotonic_decreasing
    assert table["chosen"].tolist() == [False, False, True]
    assert metrics["rate"] == pytest.approx(table.loc[0.5, "removed"]) and metrics["params_kept"] < 0.8
    assert metrics["tried.0.5.macro_f1"] == 1.0
    assert load_card(paths.model("pruned")).params == table.loc[0.5, "params"]
    assert "prune: rate 0.5 of 0, 0.3, 0.5 (3 folds, each with one training group left out)" in (
        capsys.readouterr().err
    )
    assert not list(paths.cache.glob("work/rates/*"))


def test_a_rate_that_spoils_the_network_is_left_and_a_kill_costs_one_rate(
    study: tuple[Paths, Params], tmp_path: Path
) -> None:
    paths, params = study
    model, _ = load_model(paths.model("original"), create_model)
    clips = Study.open(params.extract, paths)
    asked = []

    def spoil(net: nn.Module, rate: float) -> float:
        asked.append(rate)
        if len(asked) == 2:
            raise KeyboardInterrupt
        if rate == 0.5:  # says nothing of its clips any more
            for weights in net.parameters():
                nn.init.zeros_(weights)
            return 0.5
        return stage.compress(net, clips, stage.at_rate(params.prune, rate), "original")[0].effective_rate

    def found() -> tuple[float, list[dict[str, Any]]]:
        return find_rate(model, clips, params.prune, paths.model("original"), 0.1, spoil)

    with pytest.raises(KeyboardInterrupt):
        found()
    rate, rows = found()
    assert asked == [0.3, 0.5, 0.5] and rate == 0.3
    assert rows[2]["macro_f1"] < 0.5 and rows[2]["high"] > 0.1 and list(rows[0]) == COLUMNS
    clips.remove_finished()


def test_where_nothing_may_be_lost_nothing_is_removed(
    study: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, params = study
    monkeypatch.setattr(stage, "find_rate", lambda *_: (0.0, []))
    metrics = STAGES["prune"].run(params, paths, null_log)
    assert (metrics["rate"], metrics["params_kept"]) == (0.0, 1.0)
    card = load_model(paths.model("pruned"), create_model)[1]
    assert card.params == load_card(paths.model("original")).params


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rate": "auto"}, "fitted in closed form"),
        ({"rate": "auto", "fit": {"head": 1.0, "epochs": 3}}, "fit.epochs 0"),
        ({"rate": "auto", "target_params": 0.5, "fit": HEAD}, "exactly one"),
        ({"rate": "auto", "rates": [], "fit": HEAD}, "'prune.rates'"),
        ({"rate": "auto", "rates": [1.5], "fit": HEAD}, r"'prune.rates.0'"),
        ({"rate": "often"}, "'prune.rate': must be above 0 and below 1, or auto"),
        ({"rate": 0}, "'prune.rate': must be above 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        resolve({"prune": settings}, "a recipe")


def test_a_network_without_a_linear_head_is_refused_before_any_work() -> None:
    params = resolve({"train": {"model": "cnn_features_knn"}, "prune": {**AUTO, "leave": ["head"]}}, "x")
    with pytest.raises(UserError, match="cnn_features_knn has none"):
        stage.preflight(params.prune, params.train, params.extract)
