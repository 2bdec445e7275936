"""Time of the stage `search` for each candidate, against features that every candidate computes alone.

What one would write without the stage is a loop over candidates: build the network, show it what it looks at,
keep the features. The stage shares the pictures' passes among candidates, and besides fits and judges a
classifier for each on inner folds and times it from file to answer. Both use all cores.
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.compare import Result, ratio_result, seconds
from benchmarks.overhead import ROOT, run_command
from benchmarks.project import QUIET, split_project, stage_command
from slimstream.core.parallel import cores
from slimstream.core.paths import Paths
from slimstream.datasets.dataset import ClipDataset, evaluation_batches
from slimstream.models import create_model
from slimstream.pipeline.params import load_params
from slimstream.stages.search.candidates import candidates

AXES: dict[str, list[Any]] = {
    "streams": ["rgb", "both"],
    "frames": [8, 4],
    "sizes": [[128, 128], [96, 96]],
    "depths": [7, 5],
}
COUNT = math.prod(map(len, AXES.values()))
RENDERED: dict[str, dict[str, Any]] = {
    "ingest": {"rig": {"recordings": 6, "clips": 2, "seconds": 2.0}},
    "extract": {"flow": "dis"},
    "search": AXES,
}
"""Settings in place of those of the recipe `rig`: 36 short clips of six recordings."""
BATCH = 8
MOST = 10.0
"""Seconds for a candidate: six a minute."""


def run(source: Path | None = None) -> list[Result]:
    """`source`: a folder of clips for the recipe `tank`, whose own candidates are then searched."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if source is None:
            split_project(root, "rig", RENDERED)
        else:
            split_project(root, "tank", {"ingest": {"source": str(source.resolve())}})
        paths = Paths(root)
        settings = QUIET | {"OMP_NUM_THREADS": str(cores())}
        spent = seconds(lambda: run_command(stage_command(root, "search"), ROOT, **settings))
        found = json.loads(paths.search.read_text())
        count = int(found["tried"])
        assert source or count == COUNT
        clips = int(pd.read_parquet(paths.split)["part"].isin(["train", "val"]).sum())
        note = f"{count} candidates, {clips} clips, {cores()} cores"
        results = [
            ratio_result(
                "search",
                "a candidate, all included",
                "10 s",
                [spent / count / MOST],
                most=1.0,
                note=f"{60 * count / spent:.1f} a minute; {note}",
            )
        ]
        if source is None:
            alone = seconds(lambda: features_one_by_one(paths))
            results.append(
                ratio_result(
                    "search",
                    "the whole stage",
                    "features of each candidate alone",
                    [spent / alone],
                    note=note,
                )
            )
        return results


@torch.inference_mode()
def features_one_by_one(paths: Paths) -> None:
    """Features of the train and val clips for one candidate after the other, by eager PyTorch."""
    p = load_params(paths.params)
    split = pd.read_parquet(paths.split)
    ids = sorted(split[split["part"].isin(["train", "val"])]["id"])
    clips = ClipDataset(paths.packs, ids, [0] * len(ids))
    torch.set_num_threads(cores())
    for one in candidates(p.search, p.extract, p.train.model, p.train.model_args):
        name, settings = one.model(p.train.model_args)
        network = create_model(name, len(p.validate_.classes), **settings).eval()
        for batch in evaluation_batches(clips.reduced(one.input(p.extract).reduce), BATCH):
            network.features(batch.clip)
    torch.set_num_threads(1)
