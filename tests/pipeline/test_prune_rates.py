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
from slimstream.stages.prune import rates
from slimstream.stages.prune.compress import compress
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.prune.pruning import PruneReport
from slimstream.stages.prune.rates import COLUMNS
from slimstream.training.study import Study
from tests.pipeline import tiny_study
from tests.pipeline.test_evaluate import untrained

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
    assert (table["latency_p50_ms"] > 0).all()
    assert [name for name, _, _ in STAGES["prune"].trials(paths)] == ["rate 0", "rate 0.3", "rate 0.5"]
    assert load_card(paths.model("pruned")).params == table.loc[0.5, "params"]
    assert "prune: rate 0.5 of 0, 0.3, 0.5 (3 folds, each with one training group left out)" in (
        capsys.readouterr().err
    )
    assert not list(paths.cache.glob("work/rates/*"))


def test_a_rate_that_spoils_the_network_is_left_and_a_kill_costs_one_rate(
    study: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, params = study
    clips = Study.open(params.extract, paths)
    asked = []

    def spoil(net: nn.Module, study: Study, p: PruneParams, parent: str) -> tuple[Any, dict[str, float]]:
        asked.append(p.rate)
        if len(asked) == 3:
            raise KeyboardInterrupt
        if p.rate == 0.5:  # says nothing of its clips any more
            for weights in net.parameters():
                nn.init.zeros_(weights)
        return compress(net, study, p, parent) if p.rate == 0.3 else (PruneReport({}, p.rate, 1, 1), {})

    monkeypatch.setattr(rates, "compress", spoil)
    # Of networks of one size the best is the cheapest, so the spoilt one must not be as large.
    monkeypatch.setattr(rates, "measure", lambda net, shape: (1, round(100 * float(1 - asked[-1]))))

    def found() -> rates.Found:
        return rates.find_rate(clips, params.prune, "original", 0.1, null_log, by_heads=True)

    with pytest.raises(KeyboardInterrupt):
        found()
    end = found()
    assert asked == [0, 0.3, 0.5, 0.5] and end.rate == 0.3
    assert end.rows[2]["macro_f1"] < 0.5 and end.rows[2]["high"] > 0.1 and set(end.rows[0]) == set(COLUMNS)
    clips.remove_finished()


def test_where_nothing_may_be_lost_nothing_is_removed(
    study: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, params = study
    table = rates._table
    monkeypatch.setattr(
        rates, "_table", lambda *asked: [row | {"chosen": not row["rate"]} for row in table(*asked)]
    )
    one = params.prune.model_copy(update={"rates": [0.3]})
    metrics = STAGES["prune"].run(params.model_copy(update={"prune": one}), paths, null_log)
    assert (metrics["rate"], metrics["params_kept"]) == (0.0, 1.0)
    card = load_model(paths.model("pruned"), create_model)[1]
    assert card.params == load_card(paths.model("original")).params


@pytest.mark.parametrize(
    ("settings", "said"),
    [
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


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Paths, Params]:
    """A network whose layers learn, so that its train clips cannot judge it."""
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    fit = {**tiny_study.FIT, "epochs": 1}
    prune = {"rate": "auto", "rates": [0.5, 0.3], "leave": ["head", "*.3"], "restore": 1e-3, "fit": fit}
    paths = tiny_study.study(tmp_path, train={"model": "tiny_two_stream", "fit": fit}, prune=prune)
    untrained(paths, "original", 0)
    paths.final_model("original").rename(paths.model("original"))
    return paths, load_params(paths.params)


def test_networks_that_learn_are_fine_tuned_and_judged_on_the_val_clips(
    trained: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, params = trained
    tuned: list[Any] = []
    tune = rates.tune

    def once(net: nn.Module, study: Study, p: PruneParams, parent: str, log: Any) -> Any:
        tuned.append((p.rate, p.fit.epochs))
        if len(tuned) == 2:
            raise KeyboardInterrupt
        return tune(net, study, p, parent, log)

    monkeypatch.setattr(rates, "tune", once)
    with pytest.raises(KeyboardInterrupt):
        STAGES["prune"].run(params, paths, null_log)
    metrics = STAGES["prune"].run(params, paths, null_log)
    assert tuned == [(0, 0), (0.3, 1), (0.3, 1), (0.5, 1)]  # no more of the one that was chosen
    table = pd.read_csv(paths.curves("rates")).set_index("rate")
    (chosen,) = table.index[table["chosen"]]
    assert "the val clips of one group" in capsys.readouterr().err
    assert metrics["rate"] == table.loc[chosen, "removed"]
    assert metrics["val_macro_f1"] == pytest.approx(table.loc[chosen, "macro_f1"])
    assert metrics["after.params"] == table.loc[chosen, "params"]
    assert len(pd.read_csv(paths.curves("pruned"))) == (1 if chosen else 0)
    study = Study.open(params.extract, paths)
    saved, _ = load_model(paths.model("pruned"), create_model)
    assert study.validate(saved)["val_loss"] == pytest.approx(metrics["val_loss"])
    assert not [file for file in (paths.cache / "work").rglob("*") if file.is_file()]
