"""CNN features with classical classifiers answer as scikit-learn does."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from slimstream.models import create_model
from slimstream.models.checkpoint import Card, load_model, save_model, weight_hash
from slimstream.runtimes.onnx import OnnxModel, export_onnx
from slimstream.stages.prune.pruning import prune_channels
from slimstream.training.closed_form import fit_head


def lesson(clips: int) -> tuple[Tensor, Tensor]:
    """Clips (N, 2, 5, 32, 32) uint8 that are brighter the higher their label (N,)."""
    generator = torch.Generator().manual_seed(clips)
    labels = torch.randint(0, 3, (clips,), generator=generator)
    noise = torch.randint(0, 120, (clips, 2, 5, 32, 32), dtype=torch.uint8, generator=generator)
    return noise + (30 * labels).to(torch.uint8)[:, None, None, None, None], labels


@pytest.fixture(scope="module", params=["cnn_features_svm", "cnn_features_knn", "cnn_features_knn_svm"])
def fitted(request: pytest.FixtureRequest) -> tuple[str, Any, Any, Any]:
    """Name, network, and scikit-learn's SVM and neighbours fitted to the same features."""
    torch.manual_seed(0)
    model = create_model(request.param, 3, pretrained=False).eval()
    clips, labels = lesson(24)
    batches = [
        SimpleNamespace(clip=c, labels=y) for c, y in zip(clips.split(8), labels.split(8), strict=True)
    ]
    fit_head(model, batches, 3, strength=0.1)  # type: ignore[arg-type]
    judges = (
        LinearSVC(C=0.1, class_weight="balanced", max_iter=5000, random_state=0),
        KNeighborsClassifier(5),
    )
    with torch.no_grad():
        features = model.features(clips).numpy()
    svm, knn = (make_pipeline(StandardScaler(), judge).fit(features, labels.numpy()) for judge in judges)
    return request.param, model, svm, knn


def test_it_judges_as_scikit_learn_does(fitted: tuple[str, Any, Any, Any]) -> None:
    name, model, svm, knn = fitted
    clips, _ = lesson(9)
    with torch.no_grad():
        features, logits = model.features(clips).numpy(), model(clips)
    distances = svm.decision_function(features)
    shares = (5 * knn.predict_proba(features) + 1 / 3) / 6  # five votes, and one spread over three classes
    assert len(np.unique(shares)) > 2
    if name == "cnn_features_svm":
        assert logits.numpy() == pytest.approx(distances, rel=1e-3, abs=1e-3)
    else:
        both = (shares + torch.from_numpy(distances).softmax(1).numpy()) / 2
        expected = shares if name == "cnn_features_knn" else both
        assert logits.softmax(1).numpy() == pytest.approx(expected, abs=1e-4)


def test_it_rebuilds_from_its_folder_and_exports(fitted: tuple[str, Any, Any, Any], tmp_path: Path) -> None:
    name, model, *_ = fitted
    clips, _ = lesson(4)
    card = Card(model=name, classes=["a", "b", "c"], input={}, split_hash="abc", params=8, macs=6)
    save_model(tmp_path, model, card)
    again, _ = load_model(tmp_path, create_model)
    assert weight_hash(again) == weight_hash(model)
    export_onnx(again, clips[:1], tmp_path / "a.onnx")
    with torch.no_grad():
        expected = model(clips).softmax(1)
    exported = torch.from_numpy(OnnxModel(tmp_path / "a.onnx")(clips.numpy())).softmax(1)
    assert (exported - expected).abs().max() < 1e-4


def test_fewer_clips_than_neighbours_all_vote() -> None:
    model = create_model("cnn_features_knn", 3, pretrained=False, neighbours=7).eval()
    clips, _ = lesson(2)
    with torch.no_grad():
        assert model(clips).softmax(1).numpy() == pytest.approx(1 / 3, abs=1e-6)  # nobody votes
        features = model.features(clips)
        width = features.shape[1]
        model.remember(features, torch.tensor([0, 2]), torch.zeros(width), torch.ones(width))
        assert model(clips).softmax(1)[0].numpy() == pytest.approx([4 / 9, 1 / 9, 4 / 9], abs=1e-6)


@pytest.mark.parametrize("name", ["cnn_features_svm", "cnn_features_knn", "cnn_features_knn_svm"])
def test_all_of_it_is_frozen_so_pruning_takes_nothing(name: str) -> None:
    model = create_model(name, 3, pretrained=False).eval()
    assert not any(p.requires_grad for p in model.parameters())
    report = prune_channels(model, lesson(1)[0], rate=0.5)
    assert report.params_after == report.params_before and not report.history
