"""A study small enough to train in seconds: a class shows as a bright half and a direction of flow."""

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from slimstream.core.paths import Paths

SIZE = 64
CLASSES = ["left", "right", "still"]
FIT = {"epochs": 3, "batch_size": 4, "frames": 2, "lr": 1e-3, "augment": {"crop": 0.9}}
PARAMS: dict[str, Any] = {
    "recipe": "tiny",
    "extract": {"frames": 3, "size": [SIZE, SIZE]},
    "split": {"group_by": ["camera"]},
    "train": {"model": "two_stream_mobilevit", "fit": FIT},
    "prune": {"target_params": 0.66, "restore": 1e-3, "fit": {**FIT, "epochs": 1}},
    "distill": {"views": 2, "fit": {**FIT, "epochs": 2}},
    # 8 bits take NNCF ten seconds a network; test_export has them.
    "export": {"runtimes": ["onnx", "openvino"], "latency_runs": 5},
    "evaluate": {"resamples": 100, "latency_runs": 5},
}


def study(root: Path, **sections: Any) -> Paths:
    """Write params.yaml, raw clips, packs, clips.parquet and a split of 2, 1 and 1 cameras below `root`."""
    paths = Paths(root)
    paths.packs.mkdir(parents=True)
    paths.ingested.mkdir()
    with paths.params.open("w") as file:
        YAML(typ="safe").dump(PARAMS | sections, file)
    rng = np.random.default_rng(0)
    rows = []
    for camera, part in enumerate(("train", "train", "val", "test")):
        for label in CLASSES:
            for number in range(2):
                name = f"{label}-{camera}-{number}"
                clip = pack(label, rng)
                np.save(paths.packs / f"{name}.npy", clip)
                write_video(paths.ingested / f"{name}.mp4", clip[..., :3])
                rows.append(
                    {"id": name, "label": label, "camera": f"c{camera}", "group": f"c{camera}", "part": part}
                )
    clips = pd.DataFrame(rows)
    clips["twin"] = clips["id"]
    clips["key"] = clips["id"] + ".mp4"
    clips["path"] = clips["key"]
    clips["width"] = clips["height"] = SIZE
    clips["sha256"] = [hashlib.sha256(name.encode()).hexdigest() for name in clips["id"]]
    clips["held_out"] = False
    clips.drop(columns=["group", "part"]).to_parquet(paths.clips)
    clips.drop(columns=["group", "part", "twin"]).to_parquet(paths.manifest)
    clips["video"] = clips["id"]
    clips[["id", "label", "group", "twin", "part", "video"]].to_parquet(paths.split)
    index = clips[["id"]].assign(clip=0, file=clips["id"] + ".npy", first=0, frames=3)
    index.assign(dropped=0, seconds=1.0).to_parquet(paths.packs / "index.parquet")
    parts = {part: clips[clips["part"] == part] for part in ("train", "val", "test")}
    info = {
        "hash": "0123456789ab",
        "classes": CLASSES,
        "counts": {part: rows["label"].value_counts().to_dict() for part, rows in parts.items()},
        "groups": {part: sorted(set(rows["group"])) for part, rows in parts.items()},
        "group_by": ["camera"],
    }
    paths.split_info.write_text(json.dumps(info))
    return paths


def pack(label: str, rng: np.random.Generator) -> np.ndarray:
    """(3, SIZE, SIZE, 5) uint8."""
    clip = rng.integers(60, 120, (3, SIZE, SIZE, 5), dtype=np.uint8)
    clip[..., 3:] = 128
    half = {"left": slice(0, SIZE // 2), "right": slice(SIZE // 2, SIZE), "still": slice(0, 0)}[label]
    clip[:, :, half, :3] += 100
    clip[:, :, half, 3] = 160 if label == "left" else 96
    return clip


def write_video(path: Path, frames: np.ndarray) -> None:
    """`frames` (T, H, W, 3) RGB, twice over so that there is something to sample from."""
    size = (frames.shape[2], frames.shape[1])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, size)
    for frame in [*frames, *frames]:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
