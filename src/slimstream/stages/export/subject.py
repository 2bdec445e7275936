"""A model that is exported, with the clips that its forms are made, judged and calibrated with."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import nn

from slimstream.core.paths import Paths
from slimstream.models import create_model
from slimstream.models.checkpoint import Card, load_model, weight_hash
from slimstream.runtimes.onnx import FILE as ONNX_FILE
from slimstream.runtimes.split_part import SplitPart, spread_indices
from slimstream.stages.export.own_heads import OwnHeads, takes_own_heads

Identity = tuple[str, str, bool, str]
"""Equal for networks of which one export does for both, see `identity`."""


@dataclass(frozen=True)
class Data:
    """The clips that forms are made, judged and calibrated with, as `extract` packed them."""

    classes: list[str]
    train: SplitPart
    val: SplitPart
    both: SplitPart
    seconds: float
    """Usual length of the train clips; 0 for pictures."""

    @classmethod
    def read(cls, paths: Paths) -> "Data":
        classes = json.loads(paths.split_info.read_text())["classes"]
        split = pd.read_parquet(paths.split)
        train, val = (SplitPart.of(split, part, classes, paths) for part in ("train", "val"))
        both = SplitPart.of(split, "train", classes, paths, "val")
        return cls(classes, train, val, both, usual_seconds(split, paths))


@dataclass(frozen=True)
class Subject:
    """A model that is exported, with clips as it sees them."""

    name: str
    model: nn.Module
    card: Card
    folder: Path
    """Where its forms are written."""
    known: list[npt.NDArray[np.uint8]]
    """Calibration batches (1, T, C, H, W) of train clips."""
    val: SplitPart
    both: SplitPart
    own_heads: OwnHeads | None
    """Set where forms get heads of their own, which inner folds of `both` judge."""
    before: nn.Module | None
    """The network with heads from before `refit`, where these judge its forms on `val`."""


def read_subject(
    name: str, data: Data, calibration_clips: int, strength: float | None, epochs: int, paths: Paths
) -> Subject:
    """The final model `name`, which has learnt from labels for `epochs` in more than its head.

    `strength` is refit.strength, None where heads were not fitted again.
    """
    model, card = load_model(paths.final_model(name), create_model)
    train, val, both = (part.reduced(card.network_input.reduce) for part in (data.train, data.val, data.both))
    known = [train.batch(i) for i in spread_indices(len(train), calibration_clips)]
    own = before = None
    # The layers of a trained network know the clips of all inner folds, so that these would show nothing.
    if strength is not None and not epochs and takes_own_heads(model, both):
        own = OwnHeads(model, strength)
    elif strength is not None:
        before, _ = load_model(paths.model(name), create_model)
    return Subject(name, model, card, paths.export(name), known, val, both, own, before)


def usual_seconds(split: pd.DataFrame, paths: Paths) -> float:
    """Median length in seconds of the videos of train; 0 for pictures."""
    index = pd.read_parquet(paths.packs / "index.parquet", columns=["id", "seconds"])
    return float(index.loc[index["id"].isin(split.loc[split["part"] == "train", "id"]), "seconds"].median())


def identity(subject: Subject) -> Identity:
    """All that the export of a network depends on, besides its clips and the settings.

    Its form for REFERENCE is written already.
    """
    graph = hashlib.sha256((subject.folder / ONNX_FILE).read_bytes()).hexdigest()
    origin = subject.card.model_dump_json(include={"classes", "input"})
    before = weight_hash(subject.before) if subject.before is not None else ""
    return graph, origin, subject.own_heads is not None, before
