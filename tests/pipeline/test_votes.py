"""Clips of one video vote: those that extract cuts from it, and those a user cut and named in a column."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.datasets.dataset import ClipDataset
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from slimstream.registry.artifacts import check_parity
from slimstream.serving.pyfunc import PyfuncModel
from slimstream.stages.extract import stage as extract
from tests.pipeline import tiny_study
from tests.pipeline.test_evaluate import judged, untrained
from tests.pipeline.test_pictures import in_this_process

CUT = {"frames": 2, "clips": 2, "size": [tiny_study.SIZE, tiny_study.SIZE], "flow": "dis"}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Videos of six frames, each cut into two clips of two."""
    torch.set_num_threads(1)
    paths = tiny_study.study(tmp_path_factory.mktemp("votes"), extract=CUT)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SLIMSTREAM_CACHE", raising=False)
        patch.setattr(extract, "parallel_map", in_this_process)
        STAGES["extract"].run(load_params(paths.params), paths, null_log)
    untrained(paths, "original", 0, input=CUT)
    return paths


@pytest.fixture(scope="module")
def metrics(study: Paths) -> dict[str, float]:
    return judged(study)


def test_every_clip_of_a_video_is_learnt_from(study: Paths) -> None:
    index = pd.read_parquet(study.packs / "index.parquet")
    assert index["clip"].tolist() == [0, 1] * 24 and set(index["first"]) == {0, 2}
    clips = ClipDataset(study.packs, ["right-0-1", "left-0-0"], [1, 0])
    assert clips.ids == ["right-0-1"] * 2 + ["left-0-0"] * 2 and clips.labels == [1, 1, 0, 0]
    assert (clips.numbers, clips.given, clips.lengths) == ([0, 1] * 2, [0, 0, 1, 1], [2] * 4)
    whole = np.load(study.packs / "right-0-1.npy")
    assert np.array_equal(clips.all_frames(0), whole[:2]) and np.array_equal(clips.all_frames(1), whole[2:])


def test_videos_are_judged_beside_clips(study: Paths, metrics: dict[str, float]) -> None:
    table = pd.read_parquet(study.predictions)
    assert metrics["test.clips"] == len(table) == 12 and metrics["original.videos"] == 6
    assert metrics["original.accuracy"] == (table["label"] == table["predicted"]).mean()
    columns = [f"p_{label}" for label in tiny_study.CLASSES]
    votes = table.groupby("video")[columns].mean().to_numpy().argmax(1)
    truth = table.groupby("video")["label"].first().map(tiny_study.CLASSES.index).to_numpy()
    assert metrics["original.video_accuracy"] == (votes == truth).mean()
    for name in ("accuracy", "macro_f1"):
        low, value, high = (metrics[f"original.video_{name}{end}"] for end in ("_low", "", "_high"))
        assert low <= value <= high
    assert "(6 test videos)" in study.report.read_text()
    assert metrics["original.total_p50_ms"] == pytest.approx(
        2 * metrics["original.latency_p50_ms"] + metrics["prepare.p50_ms"]
    )


def test_the_deployed_form_gives_the_vote(study: Paths, metrics: dict[str, float]) -> None:
    model = PyfuncModel()
    artifacts = {"preprocessing.json": str(study.export("original") / "preprocessing.json")}
    model.load_context(SimpleNamespace(artifacts=artifacts))
    table = pd.read_parquet(study.predictions)
    ids = pd.Series(table["id"].unique())
    answers = model.predict(None, [str(study.ingested / f"{id_}.mp4") for id_ in ids])
    check_parity(ids, answers, table, "onnx")


def test_a_column_names_the_video(study: Paths, tmp_path: Path) -> None:
    """Clips that a user has cut: one a file, the videos of a class and camera being the same."""
    paths = tiny_study.study(tmp_path)
    split = pd.read_parquet(paths.split)
    split.assign(video=split["id"].str[:-2]).to_parquet(paths.split)
    untrained(paths, "original", 0)
    metrics = judged(paths)
    assert (metrics["test.clips"], metrics["original.videos"]) == (6, 3)
