"""What follows the search: its network is trained, pruned, taught, refitted, exported, scored and served."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from slimstream.core.errors import UserError
from slimstream.core.paths import BEST, Paths
from slimstream.core.progress import null_log
from slimstream.models.checkpoint import load_card
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from slimstream.serving.classifier import ClipClassifier
from slimstream.stages.distill import stage as distill
from slimstream.stages.prune.stage import compress
from slimstream.training.study import Study
from tests.pipeline import tiny_study

HEAD = {**tiny_study.FIT, "epochs": 0, "head": 1.0}
ORIGINAL = {"model": "two_stream_efficientnet_lite0", "model_args": {"freeze": 6}, "fit": HEAD}
SECTIONS: dict[str, Any] = {
    "train": ORIGINAL,
    "prune": {
        "target_params": 0.66,
        "leave": ["head", "fusion.*", "*.conv_pwl"],
        "restore": 1e-3,
        "fit": HEAD,
    },
    "distill": {"views": 1, "fit": {**tiny_study.FIT, "epochs": 1}},
    "refit": {"strength": 1.0},
    "export": {"runtimes": ["onnx"], "latency_runs": 5},
}
SLIM = {
    "model": "efficientnet_frames",
    "model_args": {"freeze": 3, "depth": 4},
    "reduce": {"frames": 2, "size": [32, 48], "streams": "rgb"},
}
BETTER = {**SLIM, "reduce": {"frames": None, "size": None, "streams": "rgb"}}
SAME = {
    "model": "two_stream_efficientnet_lite0",
    "model_args": {"freeze": 6, "pretrained": True},
    "reduce": None,
}


def choose(paths: Paths, chosen: Mapping[str, Any] | None, best: Mapping[str, Any] | None) -> None:
    content = {"chosen": chosen, "best": best, "tried": 3, "why": "written by a test"}
    paths.search.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, dict[str, dict[str, float]]]:
    torch.set_num_threads(1)
    paths = tiny_study.study(tmp_path_factory.mktemp("study"), **SECTIONS)
    choose(paths, {**SLIM, "macro_f1": 0.9}, BETTER)
    params = load_params(paths.params)
    stages = ("train", "teachers", "prune", "distill", "refit", "export", "evaluate")
    return paths, {stage: STAGES[stage].run(params, paths, null_log) for stage in stages}


def test_every_network_after_it_sees_what_it_sees(
    followed: tuple[Paths, dict[str, dict[str, float]]],
) -> None:
    paths, metrics = followed
    cards = {name: load_card(paths.model(name)) for name in ("original", "slim", "pruned", "distilled")}
    assert cards["original"].network_input.reduce is None
    for name in ("slim", "pruned", "distilled"):
        assert cards[name].network_input.reduce.model_dump(mode="json") == SLIM["reduce"]  # type: ignore[union-attr]
        assert cards[name].model == "efficientnet_frames"
    assert (cards["pruned"].parent, cards["slim"].parent) == ("slim", None)
    assert cards["pruned"].params < cards["slim"].params < cards["original"].params
    assert metrics["train"]["slim.params"] == cards["slim"].params == metrics["prune"]["before.params"]
    assert load_card(paths.final_model("slim")).network_input == cards["slim"].network_input
    assert metrics["train"]["slim.val_macro_f1"] == 1.0


def test_the_best_candidate_teaches_and_nothing_else(
    followed: tuple[Paths, dict[str, dict[str, float]]],
) -> None:
    paths, metrics = followed
    assert metrics["distill"]["teachers"] == 2.0  # the original and the best candidate
    assert load_card(paths.model(BEST)).network_input.shown_size == (64, 64)
    assert BEST not in paths.trained_models() and not paths.curves(BEST).exists()
    assert not [key for key in metrics["evaluate"] if key.startswith(BEST)]


def test_it_is_scored_and_served_on_its_own_input(
    followed: tuple[Paths, dict[str, dict[str, float]]],
) -> None:
    paths, metrics = followed
    scores = metrics["evaluate"]
    assert scores["slim.macro_f1"] == 1.0 and "slim.delta_macro_f1" in scores
    assert scores["slim.macs"] < 0.3 * scores["original.macs"]
    table = pd.read_parquet(paths.predictions).query("model == 'slim'")
    answers = ClipClassifier(paths.export("slim")).predict([paths.ingested / f"{table['id'].iloc[0]}.mp4"])
    assert answers[0]["label"] in tiny_study.CLASSES and not answers[0]["error"]


def test_teachers_and_student_get_the_same_view_of_a_clip(
    followed: tuple[Paths, dict[str, dict[str, float]]],
) -> None:
    """Of a clip of three frames the student sees two; crop and order are those that the teacher gets."""
    paths, _ = followed
    params = load_params(paths.params)
    whole = Study.open(params.extract, paths)
    few = whole.seen_with(load_card(paths.model("slim")).network_input)
    small = next(iter(few.batches(params.distill.fit, epoch=1, view=1)))
    large = next(iter(whole.batches(params.distill.fit, epoch=1, view=1)))
    assert torch.equal(small.indices, large.indices)
    assert small.clip.shape[2:] == (3, 32, 48) and large.clip.shape[2:] == (5, 64, 64)
    # Mean colour of the left half, frame by frame: the same crop and flip of the same bright half.
    halves = [
        clip[:, :, :3, :, : clip.shape[-1] // 2].mean((1, 2, 3, 4)) for clip in (small.clip, large.clip)
    ]
    np.testing.assert_allclose(*halves, atol=4)


def test_without_another_choice_nothing_changes(tmp_path: Path) -> None:
    """Also where the file is missing, as in the folder of a paper's table, or the original was chosen."""
    paths = tiny_study.study(tmp_path, **SECTIONS)
    params = load_params(paths.params)
    for content in (None, (None, None), (SAME, SAME)):
        if content is not None:
            choose(paths, *content)
        (paths.model("slim")).mkdir(parents=True, exist_ok=True)
        (paths.model("slim") / "model.json").write_text("{}")  # of an earlier search
        metrics = STAGES["train"].run(params, paths, null_log)
        assert not any(key.startswith(("slim", BEST)) for key in metrics)
        assert paths.trained_models() == ["original"] and paths.uncompressed() == "original"
        assert paths.model("slim").is_dir() and paths.curves("slim").exists()
        assert distill.best_of_search(paths) == ([paths.model("original")] if content == (SAME, SAME) else [])


def test_a_network_that_cannot_lose_channels_is_kept_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`leave` and the goal are checked for the network of `train`; the search may choose a frozen one."""
    paths = tiny_study.study(tmp_path, **SECTIONS)
    choose(paths, {**SLIM, "model_args": {"freeze": "all", "depth": 2}}, None)
    params = load_params(paths.params)
    STAGES["train"].run(params, paths, null_log)
    metrics = STAGES["prune"].run(params, paths, null_log)
    assert metrics["params_kept"] == 1.0 and "it is kept whole" in capsys.readouterr().err
    bold = params.prune.model_copy(update={"frozen": True, "leave": ["head"]})
    study = Study.open(params.extract, paths).seen_with(load_card(paths.model("slim")).network_input)
    from slimstream.models import create_model
    from slimstream.models.checkpoint import load_model

    report, _ = compress(load_model(paths.model("slim"), create_model)[0], study, bold, "slim")
    assert report.params_after < 0.7 * report.params_before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "was not written by the stage search"),
        ('{"chosen": {"model": 3}, "best": null}', "was not written by the stage search"),
        (json.dumps({"chosen": {**SLIM, "reduce": {"frames": 8}}, "best": None}), "does not fit these packs"),
    ],
)
def test_another_file_than_that_of_search_is_named(tmp_path: Path, text: str, said: str) -> None:
    paths = tiny_study.study(tmp_path, **SECTIONS)
    paths.search.write_text(text)
    with pytest.raises(UserError, match=said):
        STAGES["train"].run(load_params(paths.params), paths, null_log)
