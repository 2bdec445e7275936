"""score: models without a score judge the test clips in PyTorch; a light `evaluate` for tables."""

import json
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from slimstream.data.clips import ClipSet, evaluation_batches
from slimstream.learn import metrics
from slimstream.learn.checkpoint import load_model
from slimstream.learn.export import OnnxModel, export_onnx
from slimstream.learn.latency import latency
from slimstream.models import MODELS, create_model
from slimstream.params import Params
from slimstream.paths import Paths
from slimstream.progress import Log
from slimstream.stages.training import Study, judge


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    """Write `scores/<model>.json` and `.csv` (id, label, predicted) for every model; returns macro-F1s."""
    study = Study.open(params.extract, paths)
    test = judged_clips(paths, study.classes)
    scores: dict[str, float] = {}
    for card in sorted(paths.model(".").rglob("model.json")):
        name = card.parent.relative_to(paths.model(".")).as_posix()
        file = score_file(paths, name)
        if not file.exists():
            row = score(name, study, test, file)
            scores[f"{name}.macro_f1"] = row["macro_f1"]
    return scores


def score(name: str, study: Study, test: ClipSet, file: Path) -> dict[str, Any]:
    model, card = load_model(study.paths.model(name), create_model)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    logits, labels = judge(model, study.evaluation(model, test))
    truth, probabilities = labels.numpy(), logits.double().softmax(1).numpy()
    predicted = probabilities.argmax(1)
    default = signature(MODELS[card.model]).parameters["pretrained"].default
    row = metrics.summary(truth, probabilities) | {
        "params": card.params,
        "macs": card.macs,
        "pretrained": bool(card.args.get("pretrained", default)),
        "clips": len(truth),
        "classes": metrics.per_class(truth, predicted, study.classes),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    named = np.array(study.classes)
    table = pd.DataFrame({"label": named[truth], "predicted": named[predicted]})
    table.to_csv(file.with_suffix(".csv"), index=False)
    file.write_text(json.dumps(row, indent=2) + "\n")
    return row


def speed(name: str, paths: Paths, runs: int) -> float:
    """Median milliseconds of the exported model for one test clip on one thread; kept in a file."""
    file = score_file(paths, name).with_suffix(".speed.json")
    if not file.exists():
        model, card = load_model(paths.model(name), create_model)
        clip = next(iter(evaluation_batches(judged_clips(paths, card.classes), batch_size=1))).clip
        file.write_text(json.dumps({"latency_p50_ms": _exported(model, clip, paths.export(name), runs)}))
    return float(json.loads(file.read_text())["latency_p50_ms"])


def score_file(paths: Paths, name: str) -> Path:
    return paths.root / "scores" / f"{name.replace('/', '-')}.json"


def judged_clips(paths: Paths, classes: list[str]) -> ClipSet:
    """The test clips, by id."""
    split = pd.read_parquet(paths.split)
    rows = split[split["part"] == "test"].sort_values("id")
    return ClipSet(paths.packs, rows["id"].tolist(), [classes.index(label) for label in rows["label"]])


def _exported(model: nn.Module, clip: Tensor, file: Path, runs: int) -> float:
    export_onnx(model, clip, file)
    exported, given = OnnxModel(file, threads=1), clip.numpy()
    file.unlink()
    return latency(lambda: exported(given), runs).p50
