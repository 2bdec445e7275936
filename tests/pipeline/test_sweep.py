"""The curve of quality and latency over pruning rates: each point as prune would make it, none made twice."""

import pandas as pd
import pytest

from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.sweep import curve
from tests.pipeline import tiny_study
from tests.pipeline.test_evaluate import untrained

ONCE = {**tiny_study.FIT, "epochs": 1}


@pytest.fixture
def paths(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    sections = {
        "train": {"model": "tiny_two_stream", "fit": tiny_study.FIT},
        # The convolution in the middle keeps its outputs, so that there is something to restore.
        "prune": {"rate": 0.5, "leave": ["head", "*.3"], "restore": 1e-3, "fit": ONCE},
        "sweep": {"rates": [0.5, 0.3], "latency_runs": 5},
    }
    paths = tiny_study.study(tmp_path_factory.mktemp("study"), **sections)
    untrained(paths, "original", 0)
    paths.final.rename(paths.root / "aside")
    (paths.root / "aside/original").rename(paths.model("original"))
    return paths


def test_every_rate_is_pruned_as_prune_does_it(paths: Paths) -> None:
    params = load_params(paths.params)
    pruned = STAGES["prune"].run(params, paths, null_log)
    metrics = STAGES["sweep"].run(params, paths, null_log)
    table = pd.read_csv(paths.sweep).set_index("rate")
    assert list(table.index) == [0, 0.3, 0.5] and table["params"].is_monotonic_decreasing
    assert table.loc[0, "params"] == pruned["before.params"] and table.loc[0, "removed"] == 0
    assert table.loc[0.5, "removed"] == pytest.approx(pruned["rate"]) == pytest.approx(0.5, abs=0.01)
    assert table.loc[0.5, "params"] == pruned["after.params"] == metrics["0.5.params"]
    assert table.loc[0.5, "val_macro_f1"] == pytest.approx(pruned["val_macro_f1"])
    assert (table["latency_p50_ms"] > 0).all()
    assert sorted(file.name for file in paths.sweep.with_suffix("").iterdir()) == ["0.3.csv", "0.5.csv"]


def test_a_killed_sweep_goes_on_where_it_was(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(paths.params)
    compress, rates = curve.compress, []

    def once(model, study, p, parent):  # type: ignore[no-untyped-def]
        rates.append(p.rate)
        if len(rates) == 2:
            raise KeyboardInterrupt
        return compress(model, study, p, parent)

    monkeypatch.setattr(curve, "compress", once)
    with pytest.raises(KeyboardInterrupt):
        STAGES["sweep"].run(params, paths, null_log)
    STAGES["sweep"].run(params, paths, null_log)
    assert rates == [0.3, 0.5, 0.5]
    assert sorted(file.name for file in paths.sweep.with_suffix("").iterdir()) == ["0.3.csv", "0.5.csv"]
    assert not [file for file in (paths.cache / "work").rglob("*") if file.is_file()]  # no state is left


def test_a_killed_sweep_of_another_network_begins_anew(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(paths.params)
    longer = params.prune.model_copy(update={"fit": params.prune.fit.model_copy(update={"epochs": 2})})
    params = params.model_copy(update={"prune": longer})

    def killed(log, name):  # type: ignore[no-untyped-def]
        def tell(metrics, step):  # type: ignore[no-untyped-def]
            if step:
                raise KeyboardInterrupt

        return tell

    with monkeypatch.context() as patch:
        patch.setattr(curve, "prefixed_log", killed)
        with pytest.raises(KeyboardInterrupt):
            STAGES["sweep"].run(params, paths, null_log)
    assert [file for file in (paths.cache / "work").rglob("state.safetensors")]
    untrained(paths, "original", 1)
    (paths.model("original")).rename(paths.root / "old")
    (paths.final_model("original")).rename(paths.model("original"))
    assert list(STAGES["sweep"].run(params, paths, null_log))


def test_without_rates_nothing_is_pruned(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curve, "compress", lambda *_: pytest.fail("it prunes"))
    params = load_params(paths.params)
    params = params.model_copy(update={"sweep": params.sweep.model_copy(update={"rates": []})})
    assert STAGES["sweep"].run(params, paths, null_log) == {}
    assert pd.read_csv(paths.sweep).empty
