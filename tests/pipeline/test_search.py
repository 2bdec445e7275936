"""The search on a miniature: four candidates, judged on folds of the training groups alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams, NetworkInput
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.datasets.dataset import ClipDataset
from slimstream.models import create_model
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.search import features, timing, trials
from slimstream.stages.search.candidates import candidates
from slimstream.stages.search.params import SearchParams
from slimstream.stages.search.stage import COLUMNS
from slimstream.stages.search.work import work_folder
from tests.pipeline import tiny_study

torch.set_num_threads(1)
NET = {"network_ms": 1.0, "spread_ms": 0.0, "megabytes": 1.0, "macs": 1.0}
SEARCH = {
    "streams": ["both", "rgb"],
    "frames": [3, 1],
    "margin": 0.3,
    "strength": 1.0,
    "resamples": 100,
    "clips_timed": 1,
    "latency_runs": 5,
}
TRAIN = {
    "model": "two_stream_efficientnet_lite0",
    "model_args": {"depth": 2, "freeze": 6},  # shallow, so that it is exported in a second
    "fit": {**tiny_study.FIT, "epochs": 0, "head": 1.0},
}


def in_torch(model: Any, shape: tuple[int, ...], threads: int) -> Any:
    """A stand-in for OpenVINO, whose conversion takes seconds; `searched` is not spared it."""
    return lambda frames: model(torch.from_numpy(frames)).detach().numpy()


def miniature(root: Path, **search: Any) -> tuple[Paths, Params]:
    """A project of four cameras, one of them test, whose test clips are gone: nothing may read them."""
    paths = tiny_study.study(root, train=TRAIN, search={**SEARCH, **search})
    split = pd.read_parquet(paths.split)
    for name in split["id"][split["part"] == "test"]:
        (paths.packs / f"{name}.npy").unlink()
        (paths.ingested / f"{name}.mp4").unlink()
    return paths, load_params(paths.params)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Paths, dict[str, float], list[str]]]:
    """One search, its metrics, and the passes that it computed. It takes seconds: networks are converted."""
    computed = []
    compute = features._compute
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLIMSTREAM_CACHE", raising=False)
        patch.setattr(
            features, "_compute", lambda job, *rest: computed.append(job.title) or compute(job, *rest)
        )
        paths, params = miniature(tmp_path_factory.mktemp("study"))
        metrics = STAGES["search"].run(params, paths, null_log)
    yield paths, metrics, computed


def test_all_are_judged_timed_and_one_is_chosen(searched: tuple[Paths, dict[str, float], list[str]]) -> None:
    paths, metrics, _ = searched
    table = pd.read_csv(paths.curves("search"))
    assert list(table) == COLUMNS and len(table) == metrics["candidates"] == 4
    assert (table["streams"] + table["frames"].astype(str)).tolist() == ["both3", "both1", "rgb3", "rgb1"]
    assert table["macro_f1"].between(0, 1).all() and table["loss"].min() == 0
    parts = table["decode_ms"] + table["flow_ms"] + table["network_ms"]
    assert table["file_to_answer_ms"].tolist() == pytest.approx(parts.tolist())
    assert (table["flow_ms"] >= 0).all() and (table["flow_ms"][2:] == 0).all()
    assert (table["spread_ms"] > 0).all()
    assert (table[["decode_ms", "network_ms", "megabytes"]] > 0).all(axis=None)
    one_frame = table["macs"][3]
    assert table["macs"].tolist() == pytest.approx([n * one_frame for n in (6, 2, 3, 1)], rel=0.01)

    found = json.loads(paths.search.read_text())
    (chosen,) = table[table["chosen"]].to_dict("records")
    assert chosen["high"] <= 0.3 and table["on_front"].any()
    assert found["chosen"]["title"] == chosen["candidate"] and found["tried"] == 4
    assert metrics["chosen.file_to_answer_ms"] == pytest.approx(chosen["file_to_answer_ms"])
    assert found["folds"]["by"] == "group" and found["folds"]["count"] == 3  # the fourth group is test
    assert not list((paths.cache / "work").rglob("*.npy"))  # no state is left, only what others can use


def test_what_is_chosen_is_what_train_takes(searched: tuple[Paths, dict[str, float], list[str]]) -> None:
    paths, *_ = searched
    chosen = json.loads(paths.search.read_text())["chosen"]
    model = create_model(chosen["model"], 3, **chosen["model_args"])
    extract = load_params(paths.params).extract.model_dump(mode="json")
    input = NetworkInput.model_validate({**extract, "reduce": chosen["reduce"]})
    clip = pack_clip(next(paths.ingested.iterdir()), input).array
    assert clip.shape == (chosen["frames"], *chosen["size"], input.channels)
    assert model.eval()(torch.from_numpy(clip).permute(0, 3, 1, 2)[None]).shape == (1, 3)


def test_features_are_computed_once_a_stream(searched: tuple[Paths, dict[str, float], list[str]]) -> None:
    _, _, computed = searched
    assert computed == ["lite0-rgb-64x64", "lite0-flow-64x64"]


def test_tracking_gets_a_run_for_each(searched: tuple[Paths, dict[str, float], list[str]]) -> None:
    paths, *_ = searched
    runs = STAGES["search"].trials(paths)
    assert [name for name, *_ in runs] == pd.read_csv(paths.curves("search"))["candidate"].tolist()
    for _, params, metrics in runs:
        shown = ["model", "streams", "frames", "size", "depth", "grid", "backbone", "epochs"]
        assert list(params) == shown
        assert {"macro_f1", "file_to_answer_ms", "network_ms", "megabytes"} <= metrics.keys()
    assert sorted(metrics["chosen"] for *_, metrics in runs) == [0, 0, 0, 1]
    assert not STAGES["split"].trials(paths)


def test_shared_features_are_those_of_each_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two depths, sizes and grids, fewer frames: what the network's head would get of the reduced clip."""
    monkeypatch.setattr(features, "compile_network", in_torch)
    monkeypatch.setattr(
        features, "BATCH_PIXELS", 4 * 64 * 64
    )  # clips of three frames straddle batches of four
    paths, params = miniature(
        tmp_path, sizes=[[64, 64], [48, 40]], frames=[3, 2], depths=[2, 1], grids=[1, 2]
    )
    split = pd.read_parquet(paths.split)
    ids = sorted(split["id"][split["part"] == "val"])[:2]
    clips = ClipDataset(paths.packs, ids, [0] * len(ids))
    found = candidates(params.search, params.extract, params.train.model, params.train.model_args)
    jobs = features.passes(found)
    assert len(found) == 32 and len(jobs) == 4
    computed = {
        (job.stream, job.size): (job, features.compute_pass(job, clips, params.extract, {}, tmp_path))
        for job in jobs
    }
    for one in found[::5]:
        mine = {stream: computed[stream, one.size] for stream in features.streams_of(one)}
        x = features.pool_frames(
            one, {k: v for k, (_, v) in mine.items()}, {k: job for k, (job, _) in mine.items()}, clips, {}
        )
        name, args = one.model({})
        model = create_model(name, 3, **args).eval()
        seen = ClipDataset(paths.packs, ids, [0] * len(ids), one.input(params.extract).reduce)
        packs = torch.from_numpy(np.stack([seen.all_frames(i) for i in range(len(ids))])).permute(
            0, 1, 4, 2, 3
        )
        with torch.inference_mode():
            np.testing.assert_allclose(x, model.features(packs), atol=1e-4, err_msg=one.title)


def test_a_killed_search_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, params = miniature(tmp_path)
    monkeypatch.setattr(features, "compile_network", in_torch)
    done: list[str] = []

    def counted(module: Any, name: str, key: Any) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: done.append(key(*args)) or real(*args))

    counted(features, "_compute", lambda job, missing, *_: (job.stream, len(missing)))
    counted(trials, "predict_left_out", lambda *_: "judged")
    counted(timing, "_time_packing", lambda *_: "packing")

    again: list[bool] = []

    def killed(group: Any, *rest: Any) -> Any:
        done.append(group[0].streams)
        if group[0].streams == "rgb" and not again:
            raise KeyboardInterrupt
        return [NET] * len(group)

    monkeypatch.setattr(timing, "_time_networks", killed)
    with pytest.raises(KeyboardInterrupt):
        STAGES["search"].run(params, paths, null_log)
    before, done[:] = list(done), []
    clips = (pd.read_parquet(paths.split)["part"] != "test").sum()
    assert before == [("rgb", clips), ("flow", clips), *["judged"] * 4, "packing", "both", "rgb"]
    again.append(True)
    assert STAGES["search"].run(params, paths, null_log)["candidates"] == 4
    assert done == [("rgb", 0), ("flow", 0), "rgb"]


def test_a_search_with_other_clips_computes_the_new_ones_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the next fold of a cross-validation. A clip whose frames have changed is a new one."""
    monkeypatch.setattr(features, "compile_network", in_torch)
    paths, params = miniature(tmp_path, streams=["rgb"], frames=[3, 2])
    (job,) = features.passes(
        candidates(params.search, params.extract, params.train.model, params.train.model_args)
    )
    ids = sorted(path.stem for path in paths.packs.glob("*.npy"))[:4]
    counts: list[int] = []
    compute = features._compute
    monkeypatch.setattr(
        features, "_compute", lambda job, some, *rest: counts.append(len(some)) or compute(job, some, *rest)
    )

    def of(names: list[str]) -> Any:
        clips = ClipDataset(paths.packs, names, [0] * len(names))
        return features.compute_pass(job, clips, params.extract, {}, tmp_path / "cache")[2, 1]

    first, second = of(ids[:3]), of(ids[1:])
    np.testing.assert_array_equal(first[3:], second[:6])  # the two clips of both, three frames each
    pack = paths.packs / f"{ids[0]}.npy"
    pack.chmod(0o644)
    np.save(pack, 255 - np.load(pack))
    assert np.abs(of(ids[:3])[:3] - first[:3]).max() > 0.01
    assert counts == [3, 1, 1]


def test_another_network_of_train_does_not_go_on_with_a_killed_search(tmp_path: Path) -> None:
    """Without `search.streams`, the candidates have the streams of train.model."""
    search, extract = SearchParams(frames=[1, 2]), ExtractParams(frames=3)
    folders = {
        work_folder(candidates(search, extract, model, {}), search, extract, [precision], Paths(tmp_path))
        for model in ("efficientnet_frames", "two_stream_efficientnet_lite0")
        for precision in ("f32", "bf16")
    }
    assert len(folders) == 4


@pytest.mark.parametrize(
    ("runtimes", "processor", "used"),
    [
        (["onnx", "openvino"], True, "f32"),
        (["onnx", "openvino-bf16"], True, "bf16"),
        (["onnx", "openvino-bf16"], False, "f32"),
    ],
)
def test_networks_are_timed_in_a_form_that_may_be_deployed(
    runtimes: list[str], processor: bool, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "has_bf16", lambda: processor)
    assert timing.deployed_precision(runtimes) == used


def test_one_candidate_is_chosen_without_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "try_all", lambda *_: pytest.fail("it tries"))
    paths, params = miniature(tmp_path, streams=["rgb"], frames=[1])
    assert STAGES["search"].run(params, paths, null_log) == {}
    found = json.loads(paths.search.read_text())
    assert found["chosen"]["model"] == "efficientnet_frames" and found["chosen"]["frames"] == 1
    assert pd.read_csv(paths.curves("search")).empty


def test_with_few_groups_it_is_said_that_a_new_group_is_not_tested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, params = miniature(tmp_path)
    split = pd.read_parquet(paths.split)
    split.loc[split["part"] == "val", "part"] = "test"  # two groups are left
    split.to_parquet(paths.split)
    one = {"decode_ms": 1.0, "flow_ms": 0.0, "spread_ms": 0.0}
    monkeypatch.setattr(features, "compile_network", in_torch)
    monkeypatch.setattr(timing, "packing_times", lambda found, *_: [one] * len(found))
    monkeypatch.setattr(timing, "network_times", lambda found, *_: [NET] * len(found))
    STAGES["search"].run(params, paths, null_log)
    said = "fewer than 3 training groups: the scores say nothing of a new group"
    assert said in json.loads(paths.search.read_text())["folds"]["note"] and said in capsys.readouterr().err
