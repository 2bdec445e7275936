"""The scores of a cell: the model predicts the test clips in PyTorch, without export and report."""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, load_model
from slimstream.models.latency import latency
from slimstream.runtimes.onnx import OnnxModel, export_onnx
from slimstream.runtimes.split_part import SplitPart
from slimstream.training.feature_cache import cache_frozen_features
from slimstream.training.metrics import classification as metrics
from slimstream.training.study import clip_batches, predict


def score(name: str, paths: Paths, cache: Path, file: Path, code: str, version: str) -> None:
    """Evaluate the model `name` on the test clips and write scores, confusion matrix and size to `file`.

    The file also records `code`, `version` and the device. Predictions are averaged over the clips of a video
    (`metrics.classification.average_by_video`), and each video counts once. `cache` is the folder for
    features of frozen layers.
    """
    model, card = load_model(paths.model(name), create_model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    test = _test(paths, card)
    batches = cache_frozen_features(model.to(device), clip_batches(test.clips), cache)
    logits, _ = predict(model, batches)
    probabilities = logits.double().softmax(dim=1).numpy()
    first, votes = metrics.average_by_video(probabilities, test.rows["video"].tolist())
    truth, predicted = test.truth[first], votes.argmax(1)
    row = metrics.summary(truth, votes) | {
        "clips": len(test.truth),
        "clip_accuracy": float((probabilities.argmax(1) == test.truth).mean()),
        "videos": len(truth),
        "classes": card.classes,
        "confusion": metrics.confusion(truth, predicted, len(card.classes)).tolist(),
        "params": card.params,
        "macs": card.macs,
        "pretrained": bool(card.args.get("pretrained")),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "code": code,
        "version": version,
    }
    _write(file, row)


def speed(name: str, paths: Paths, runs: int, file: Path) -> None:
    """Write the median latency in ms of the model, exported to ONNX, for one test clip on one thread."""
    model, card = load_model(paths.model(name), create_model)
    clip = _test(paths, card).median_clip()
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "network.onnx"
        export_onnx(model, torch.from_numpy(clip), exported)
        network = OnnxModel(exported)
    _write(file, {"latency_p50_ms": latency(lambda: network(clip), runs).p50})


def _test(paths: Paths, card: Card) -> SplitPart:
    test = SplitPart.of(pd.read_parquet(paths.split), "test", card.classes, paths)
    return test.reduced(card.network_input.reduce)


def _write(file: Path, content: object) -> None:
    with atomic_write(file) as half:
        half.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":  # started by `cells.Score` as a separate process
    model_, folder_, cache_, file_, code_, version_ = sys.argv[1:]
    score(model_, Paths(Path(folder_)), Path(cache_), Path(file_), code_, version_)
