"""A finished pipeline in miniature: real clips, a real ONNX network, hand-written tables. No training."""

import hashlib
import json
import zlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams, NetworkInput
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.registry.params import GateParams, PublishParams
from slimstream.runtimes.base import Form, write_forms
from slimstream.runtimes.calibration import Calibration, Reference, write_calibration
from slimstream.runtimes.onnx import OnnxModel
from slimstream.splits.params import SplitParams

CLASSES = ["leak", "normal"]
COLOURS = {"leak": (200, 60, 60), "normal": (60, 60, 200)}
EXTRACT = ExtractParams(frames=2, size=(16, 24))
WHOLE = NetworkInput.of(EXTRACT)
GATE = GateParams(margin=0.05, max_drop=0.1, min_clips=8, min_macro_f1=0.6)
PARAMS = Params(
    recipe="tiny",
    extract=EXTRACT,
    split=SplitParams(group_by=["camera"]),
    publish=PublishParams(name="tiny", gate=GATE),
)


def render(path: Path, label: str, strength: float) -> None:
    """A red (leak) or blue (normal) clip of eight noisy frames, 32 × 24 pixels; no two are alike."""
    rng = np.random.default_rng(zlib.crc32(path.stem.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (32, 24))
    for _ in range(8):
        noise = rng.integers(-20, 20, (24, 32, 3))
        writer.write(np.clip(strength * np.array(COLOURS[label])[::-1] + noise, 0, 255).astype(np.uint8))
    writer.release()


def network(path: Path, red: float, bias: float = 0.0, channels: int = 5) -> None:
    """logit(leak) − logit(normal) = red · (mean red − mean blue) / 255 + bias; good for red > 0.

    The features are the means of the channels, 0..255.
    """
    weights = np.zeros((channels, 2), np.float32)
    weights[0, 0], weights[2, 1] = red / 255, red / 255
    nodes = [
        helper.make_node("Cast", ["clip"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f", "axes"], ["features"], keepdims=0),
        helper.make_node("MatMul", ["features", "w"], ["s"]),
        helper.make_node("Add", ["s", "b"], ["logits"]),
    ]
    constants = {"axes": np.array([1, 3, 4]), "w": weights, "b": np.array([bias, 0], np.float32)}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("clip", TensorProto.UINT8, ["b", "t", channels, "h", "w"])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["b", channels]),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def write_reference(folder: Path) -> None:
    """Make the network in `folder` know red and blue clips that are at least half as bright as COLOURS."""
    means = np.zeros((2, 5))
    means[:, :3] = 0.75 * np.array([COLOURS[name] for name in CLASSES])
    project = np.diag([1, 1, 1, 0, 0]).astype(float)  # not the flow
    reference = Reference(np.zeros(5), np.ones(5), project, means)
    write_calibration(Calibration(2.0, reference, limits=(2, 40)), folder)


def write_clips(paths: Paths, cameras: dict[str, str], per_class: int = 4) -> None:
    """Render the clips of `cameras` (camera: part) and write the tables that validate and split would."""
    rows = []
    for camera in cameras:
        for label in CLASSES:
            for i in range(per_class):
                clip = f"{camera}-{label}-{i}"
                file = paths.ingested / f"{clip}.mp4"
                if not file.exists():
                    render(file, label, strength=(i + 1) / per_class)
                sha = hashlib.sha256(file.read_bytes()).hexdigest()
                rows.append((clip, file.name, label, sha, camera))
    write_split(paths, pd.DataFrame(rows, columns=["id", "path", "label", "sha256", "camera"]), cameras)


def write_split(paths: Paths, table: pd.DataFrame, cameras: dict[str, str]) -> None:
    """Write the tables that validate and split would, of clips with id, path, label, sha256 and camera."""
    table = table.assign(twin=table["id"])
    table.to_parquet(paths.clips)
    part = table["camera"].map(cameras)
    split = table.assign(group=table["camera"], part=part)
    split[["id", "label", "group", "twin", "part"]].to_parquet(paths.split)
    digest = hashlib.sha256(json.dumps(cameras).encode()).hexdigest()
    info = {"hash": digest, "classes": CLASSES, "counts": {}, "groups": {}, "group_by": ["camera"]}
    paths.split_info.write_text(json.dumps(info))


def write_evaluation(
    paths: Paths,
    red: float,
    bias: float = 0.0,
    model: str = "distilled",
    input: NetworkInput = WHOLE,
    **scores: float,
) -> None:
    """What evaluate leaves behind for the network `model`, which sees `input`.

    `scores`, with __ for a point, overrule what is written into its metrics.
    """
    folder = paths.export(model)
    network(folder / "network.onnx", red, bias, input.channels)
    form = Form("onnx", changed=0, off=0, megabytes=0.1, latency_p50_ms=0.9, latency_p95_ms=1)
    write_forms(folder, form, [form])
    shown = {"classes": CLASSES, "extract": input.model_dump(mode="json")}
    (folder / "preprocessing.json").write_text(json.dumps(shown))
    card = {"model": "tiny", "classes": CLASSES, "input": input.model_dump(mode="json"), "split_hash": "x"}
    paths.final_model(model).mkdir(parents=True, exist_ok=True)
    (paths.final_model(model) / "model.json").write_text(json.dumps(card))
    split = pd.read_parquet(paths.split)
    test = split[split["part"] == "test"].merge(pd.read_parquet(paths.clips)[["id", "path"]], on="id")
    deployed = OnnxModel(folder / "network.onnx")
    logits = np.concatenate(
        [
            deployed(pack_clip(paths.ingested / path, input).array.transpose(0, 3, 1, 2)[None].copy())
            for path in test["path"]
        ]
    )
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    table = test[["id", "label"]].assign(model=model, p_leak=p[:, 0], p_normal=p[:, 1])
    table["predicted"] = np.array(CLASSES)[p.argmax(1)]
    table.to_parquet(paths.predictions)
    accuracy = float((table["predicted"] == table["label"]).mean())
    metrics = {
        "original.macro_f1": accuracy,
        f"{model}.macro_f1": accuracy,
        f"{model}.val_macro_f1": accuracy,
        f"{model}.latency_p95_ms": 1.0,
        f"{model}.megabytes": 0.1,
    } | {name.replace("__", "."): value for name, value in scores.items()}
    paths.metrics("evaluate").parent.mkdir(exist_ok=True)
    paths.metrics("evaluate").write_text(json.dumps(metrics))
