"""The search among networks that learn: few epochs for all, more for the better ones, judged on val clips."""

import json
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch

from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.search import halving, timing
from slimstream.stages.search.stage import COLUMNS
from tests.pipeline import tiny_study

torch.set_num_threads(1)
SEARCH: dict[str, Any] = {
    "frames": [3, 1],
    "sizes": [[64, 64], [16, 16]],
    "margin": 0.3,
    "epochs": 3,
    "resamples": 100,
    "clips_timed": 1,
    "latency_runs": 5,
}
TRAIN = {"model": "tiny_two_stream", "fit": {**tiny_study.FIT, "epochs": 6, "ema": 0.99, "lr": 1e-2}}


def miniature(root: Path, **search: Any) -> tuple[Paths, Params]:
    """Three cameras of train and val; the test clips are gone: nothing may read them."""
    paths = tiny_study.study(root, train=TRAIN, search={**SEARCH, **search})
    split = pd.read_parquet(paths.split)
    for name in split["id"][split["part"] == "test"]:
        (paths.packs / f"{name}.npy").unlink()
    return paths, load_params(paths.params)


class Searched(NamedTuple):
    """A search that is done."""

    paths: Paths
    metrics: dict[str, float]
    trained: list[str]
    """Titles of its trainings."""
    told: str


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    monkeypatch.setattr(halving, "LEAST", 2)


def without_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer frames and smaller pictures are cheaper; no network is exported."""

    def nets(found: Any, *_: Any) -> list[dict[str, float]]:
        cost = [float((one.frames or 3) * one.size[0]) for one in found]
        return [{"network_ms": each, "spread_ms": 0.0, "megabytes": 1.0, "macs": each} for each in cost]

    one = {"decode_ms": 1.0, "flow_ms": 0.0, "spread_ms": 0.0}
    monkeypatch.setattr(timing, "packing_times", lambda found, *_: [one] * len(found))
    monkeypatch.setattr(timing, "network_times", nets)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """One search, timed for real."""
    trained: list[str] = []
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(StringIO()) as told:
        patch.delenv("SLIMSTREAM_CACHE", raising=False)
        patch.setattr(halving, "LEAST", 2)
        real = halving.fit
        patch.setattr(halving, "fit", lambda *a, **k: trained.append(k["title"]) or real(*a, **k))
        paths, params = miniature(tmp_path_factory.mktemp("study"))
        metrics = STAGES["search"].run(params, paths, null_log)
    return Searched(paths, metrics, trained, told.getvalue())


def test_all_learn_a_little_and_half_go_on(searched: Searched) -> None:
    paths, metrics, trained, told = searched
    table = pd.read_csv(paths.curves("search"))
    assert list(table) == COLUMNS and metrics["candidates"] == 4
    assert [title.split(", ")[1] for title in trained] == ["1 epochs"] * 4 + ["3 epochs"] * 2
    assert table["epochs"].tolist() == [3, 3, 1, 1]
    last, left = table[:2], table[2:]
    guessing = 1 / len(json.loads(paths.split_info.read_text())["classes"])
    assert "search: 2 of 4 go on to 3 epochs; after 1 all have macro-F1 " in told
    assert f"(guessing: {guessing:.2f})" in told
    assert {f"{name}, 3 epochs" for name in last["candidate"]} == set(trained[4:])
    assert last["high"].notna().all() and left["loss"].isna().all() and not left["chosen"].any()
    assert table["model"].eq("tiny_two_stream").all() and table["depth"].isna().all()
    assert (table[["decode_ms", "network_ms", "megabytes", "macs"]] > 0).all(axis=None)
    found = json.loads(paths.search.read_text())
    assert found["chosen"]["title"] == table["candidate"][table["chosen"]].item()
    assert found["folds"]["by"] == "val" and "val clips of one group, fewer than 3" in found["folds"]["note"]
    assert not list((paths.cache / "work").rglob("*.npy"))  # no state is left


def test_tracking_has_no_loss_of_those_left_behind(
    searched: Searched,
) -> None:
    runs = STAGES["search"].trials(searched.paths)
    assert [run[1]["epochs"] for run in runs] == [3, 3, 1, 1]
    assert all("loss" in metrics for _, _, metrics in runs[:2])
    assert not any("loss" in metrics or "depth" in params for _, params, metrics in runs[2:])


def test_train_takes_the_choice(searched: Searched) -> None:
    paths = searched.paths
    from slimstream.training.choice import read_choices

    choice = read_choices(paths)["chosen"]
    assert choice.model == "tiny_two_stream"
    seen = choice.input(load_params(paths.params).extract)
    assert seen.shown_size in {(64, 64), (16, 16)} and seen.channels == 5


def test_a_killed_search_goes_on_within_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_clocks(monkeypatch)
    paths, params = miniature(tmp_path)
    epochs: list[tuple[str, int]] = []
    real = halving.fit

    def fit(model: Any, *, batches: Any, title: str, **rest: Any) -> Any:
        def counted(epoch: int) -> Any:
            epochs.append((title, epoch))
            if len(epochs) == kill_at:
                raise KeyboardInterrupt
            return batches(epoch)

        return real(model, batches=counted, title=title, **rest)

    monkeypatch.setattr(halving, "fit", fit)
    kill_at = 7  # four trainings of an epoch, and two epochs of the next
    with pytest.raises(KeyboardInterrupt):
        STAGES["search"].run(params, paths, null_log)
    before, epochs[:] = list(epochs), []
    kill_at = 0
    STAGES["search"].run(params, paths, null_log)
    assert epochs[0] == before[-1] and epochs[0][1] == 2  # the third epoch of that training
    assert len(epochs) == 1 + 3
    again = json.loads(paths.search.read_text())
    epochs[:] = []
    STAGES["search"].run(params, paths, null_log)  # never killed
    assert len(epochs) == 4 + 6 and json.loads(paths.search.read_text()) == again


def test_of_a_large_space_some_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_clocks(monkeypatch)
    paths, params = miniature(tmp_path, sizes=[[64, 64], [32, 32], [16, 16]], trials=3, epochs=1)
    assert STAGES["search"].run(params, paths, null_log)["candidates"] == 3
    assert json.loads(paths.search.read_text())["tried"] == len(pd.read_csv(paths.curves("search"))) == 3
