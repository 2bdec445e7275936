import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from slimstream.clips.params import NetworkInput
from slimstream.clips.reduce import reduce_pack
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, save_model
from slimstream.models.cost import count_macs, count_params
from slimstream.pipeline.params import load_params
from slimstream.pipeline.stages import STAGES
from slimstream.runtimes import open_network
from slimstream.runtimes.base import read_forms
from slimstream.runtimes.calibration import read_calibration
from slimstream.runtimes.split_part import softmax
from slimstream.serving.classifier import ClipClassifier
from slimstream.stages.evaluate.report.plots import TITLES
from slimstream.training.metrics.classification import COMPRESSED, preferred_model
from tests.pipeline import tiny_study

NAMES = ("original", "pruned", "distilled", "teachers/large")


def untrained(
    paths: Paths,
    name: str,
    seed: int,
    input: dict[str, Any] | None = None,
    network: str = "tiny_two_stream",
) -> None:
    torch.manual_seed(seed)
    model = create_model(network, 3)
    card = Card(
        model=network,
        classes=tiny_study.CLASSES,
        input=input or {"frames": 3, "size": [tiny_study.SIZE, tiny_study.SIZE]},
        split_hash="0123456789ab",
        params=count_params(model),
        macs=count_macs(model, (1, 3, max(model.channels), tiny_study.SIZE, tiny_study.SIZE)),
        validation={"val_macro_f1": 0.5 + seed / 10, "val_brier": 0.3},
    )
    save_model(paths.final_model(name), model, card)
    paths.curves(name).parent.mkdir(parents=True, exist_ok=True)
    columns = ["train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr"]
    pd.DataFrame([[0, *[0.5] * 5], [1, *[0.4] * 5]], columns=["epoch", *columns]).to_csv(
        paths.curves(name), index=False
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, dict[str, float]]:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("study")
    foreign = {"foreign": str(Paths(root).ingested)}
    paths = tiny_study.study(root, ingest={"source": "rig"}, evaluate=foreign)
    size = [tiny_study.SIZE, tiny_study.SIZE]
    seen = {"pruned": {"frames": 3, "size": size, "reduce": {"frames": 2, "size": [48, 48]}}}
    for seed, name in enumerate(NAMES):
        untrained(paths, name, seed, seen.get(name))
    return paths, judged(paths)


def judged(paths: Paths) -> dict[str, float]:
    params = load_params(paths.params)
    STAGES["export"].run(params, paths, null_log)
    return STAGES["evaluate"].run(params, paths, null_log)


def test_the_metrics_are_flat_and_whole(evaluated: tuple[Paths, dict[str, float]]) -> None:
    _, metrics = evaluated
    for name in NAMES:
        assert (
            metrics[f"{name}.macro_f1_low"] <= metrics[f"{name}.macro_f1"] <= metrics[f"{name}.macro_f1_high"]
        )
        assert metrics[f"{name}.megabytes"] > 1
        assert metrics[f"{name}.params"] == count_params(create_model("tiny_two_stream", 3))
        assert 0 < metrics[f"{name}.latency_p50_ms"] <= metrics[f"{name}.latency_p95_ms"]
        assert metrics[f"{name}.total_p50_ms"] > metrics[f"{name}.latency_p50_ms"]
        assert metrics[f"{name}.file_to_answer_p50_ms"] == metrics[f"{name}.total_p50_ms"]
        assert 0 <= metrics[f"{name}.val_macro_f1"] <= 1
    delta = metrics["pruned.macro_f1"] - metrics["original.macro_f1"]
    assert metrics["pruned.delta_macro_f1"] == pytest.approx(delta)
    assert metrics["pruned.delta_macro_f1_low"] <= delta <= metrics["pruned.delta_macro_f1_high"]
    assert (metrics["test.clips"], metrics["test.groups"]) == (6, 1)
    assert preferred_model(metrics) == "distilled" and metrics["distilled.val_macro_f1"] == 0.7
    assert all(isinstance(value, int | float) and np.isfinite(value) for value in metrics.values())


def test_what_is_unknown_is_counted_among_test_clips_and_those_of_a_folder(
    evaluated: tuple[Paths, dict[str, float]],
) -> None:
    paths, metrics = evaluated
    table = pd.read_parquet(paths.predictions)
    for name in NAMES:
        unlikeness = table.loc[table["model"] == name, "unlikeness"]
        assert metrics[f"{name}.unknown"] == (unlikeness > 1).mean() and unlikeness.notna().all()
        assert 0 <= metrics[f"{name}.ece_before"] <= 1
        assert f"{name}.left_out_auroc" not in metrics, "its layers know all classes"
    # The model to publish alone is shown the folder; here these are all clips.
    assert metrics["distilled.foreign"] == len(list(paths.ingested.iterdir()))
    assert 0 <= metrics["distilled.foreign_unknown"] <= 1 and "original.foreign" not in metrics


def test_predictions_are_those_of_the_exported_form(evaluated: tuple[Paths, dict[str, float]]) -> None:
    paths, metrics = evaluated
    table = pd.read_parquet(paths.predictions)
    assert len(table) == len(NAMES) * 6
    columns = [f"p_{label}" for label in tiny_study.CLASSES]
    np.testing.assert_allclose(table[columns].sum(axis=1), 1)
    rows = table[table["model"] == "original"]
    assert (rows["label"] == rows["predicted"]).mean() == metrics["original.accuracy"]

    one = rows.iloc[0]
    pack = np.load(paths.packs / f"{one['id']}.npy").transpose(0, 3, 1, 2)[None]
    chosen, _ = read_forms(paths.export("original"))
    logits = open_network(paths.export("original"), chosen.runtime)(np.ascontiguousarray(pack))
    logits /= read_calibration(paths.export("original")).temperature
    np.testing.assert_allclose(softmax(logits)[0], one[columns].astype(float), atol=1e-6)


def test_every_model_is_given_the_input_that_its_card_asks_for(
    evaluated: tuple[Paths, dict[str, float]],
) -> None:
    """`pruned` sees two of the three frames, smaller: in evaluate, in its exports, and when serving."""
    paths, metrics = evaluated
    prepared = {name: metrics[f"{name}.prepare_p50_ms"] for name in NAMES}
    assert prepared["original"] == prepared["distilled"] == metrics["prepare.p50_ms"] != prepared["pruned"]
    folder = paths.export("pruned")
    said = json.loads((folder / "preprocessing.json").read_text())
    assert said["input"]["shape"][2:] == [5, 48, 48]
    assert any("Of these keep 2" in step for step in said["steps"])
    table = pd.read_parquet(paths.predictions)
    columns = [f"p_{label}" for label in tiny_study.CLASSES]
    one = table[table["model"] == "pruned"].iloc[0]
    reduce = NetworkInput.model_validate(said["extract"]).reduce
    pack = reduce_pack(np.load(paths.packs / f"{one['id']}.npy"), reduce).transpose(0, 3, 1, 2)[None]
    chosen, _ = read_forms(folder)
    logits = open_network(folder, chosen.runtime)(np.ascontiguousarray(pack))
    logits /= read_calibration(folder).temperature
    np.testing.assert_allclose(softmax(logits)[0], one[columns].astype(float), atol=1e-6)
    assert ClipClassifier(folder).extract.reduce == reduce


def test_the_report_holds_all_sections_and_says_simulated(evaluated: tuple[Paths, dict[str, float]]) -> None:
    html = evaluated[0].report.read_text()
    names = ("side by side", "compression", "mistaken", "confidence", "what it does not know", "look at")
    for heading in (*names, "Misclassified", "trained"):
        assert heading in html
    assert "All clips are simulated" in html and "conditional on this one test group" in html
    assert html.count("data:image/jpeg") >= 6
    assert "Teacher large" in html


def test_a_student_for_pictures_is_explained_before_and_after_distillation(tmp_path: Path) -> None:
    paths = tiny_study.study(tmp_path)
    for file in paths.packs.glob("*.npy"):
        np.save(file, np.load(file)[..., :1])
    for seed, name in enumerate(("original", "control", "distilled")):
        untrained(paths, name, seed, network="light_residual_net_small")
    judged(paths)
    html = paths.report.read_text()
    before, after, original = (
        html.count(f"Where convolution 10 of {TITLES[name]} looks")
        for name in ("control", "distilled", "original")
    )
    assert before == after > 0 and original == 0


def test_dvc_shows_the_model_to_publish(evaluated: tuple[Paths, dict[str, float]]) -> None:
    paths, metrics = evaluated
    shown = json.loads(paths.summary.read_text())
    assert len(shown) == 12 and shown["model"] in COMPRESSED
    assert shown["macro_f1"] == metrics[f"{shown['model']}.macro_f1"]
    assert shown["macro_f1_low"] <= shown["macro_f1"] <= shown["macro_f1_high"]
    table = pd.read_csv(paths.confusion)
    assert list(table) == ["actual", "predicted"] and len(table) == 6
    assert (table["actual"] == table["predicted"]).mean() == shown["accuracy"]


def test_no_test_clips_and_no_model_are_said_in_a_sentence(tmp_path: Path) -> None:
    paths = tiny_study.study(tmp_path)
    params = load_params(paths.params)
    with pytest.raises(UserError, match="no model to evaluate"):
        STAGES["evaluate"].run(params, paths, null_log)
    split = pd.read_parquet(paths.split)
    split[split["part"] != "test"].to_parquet(paths.split)
    with pytest.raises(UserError, match="no test clips"):
        STAGES["evaluate"].run(params, paths, null_log)
