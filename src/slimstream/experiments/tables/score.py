"""A cell's scores: the model judges the test clips in PyTorch. A light `evaluate`, without a report."""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch

from slimstream.core.files import atomic_write
from slimstream.core.paths import Paths
from slimstream.metrics import classification as metrics
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, load_model
from slimstream.models.latency import latency
from slimstream.runtimes.onnx import OnnxModel, export_onnx
from slimstream.runtimes.split_part import SplitPart
from slimstream.training.feature_cache import cache_frozen_features
from slimstream.training.study import clip_batches, predict


def score(name: str, paths: Paths, cache: Path, file: Path, code: str) -> None:
    """Score the test clips and write `file`: scores, confusion matrix, size, and by which `code` and device.

    The clips of a video vote (`metrics.classification.average_by_video`), and a vote counts as one; a lone
    clip is its own video.
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
    }
    _write(file, row)


def speed(name: str, paths: Paths, runs: int, file: Path) -> None:
    """Write the median milliseconds of the exported model for one test clip on one thread."""
    model, card = load_model(paths.model(name), create_model)
    clip = _test(paths, card).median_clip()
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "network.onnx"
        export_onnx(model, torch.from_numpy(clip), exported)
        network = OnnxModel(exported)
    _write(file, {"latency_p50_ms": latency(lambda: network(clip), runs).p50})


def _test(paths: Paths, card: Card) -> SplitPart:
    return SplitPart.of(pd.read_parquet(paths.split), "test", card.classes, paths)


def _write(file: Path, content: object) -> None:
    with atomic_write(file) as half:
        half.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":  # a process of its own, as a stage is: `cells.Score` starts it
    model_, folder_, cache_, file_, code_ = sys.argv[1:]
    score(model_, Paths(Path(folder_)), Path(cache_), Path(file_), code_)
