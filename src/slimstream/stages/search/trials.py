"""All candidates tried: features, scores on inner folds, times, choice. A killed run goes on where it was."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.clips.params import ExtractParams
from slimstream.core.fingerprint import fingerprint
from slimstream.core.paths import Paths
from slimstream.core.progress import progress_bar
from slimstream.datasets.dataset import ClipDataset
from slimstream.runtimes.split_part import spread_indices
from slimstream.stages.search.candidates import Candidate
from slimstream.stages.search.features import compute_pass, passes, pool_frames, save, streams_of
from slimstream.stages.search.params import SearchParams
from slimstream.stages.search.timing import deployed_precision, network_times, packing_times
from slimstream.training.cheapest import choose_on_folds, front
from slimstream.training.inner_folds import (
    MIN_GROUPS,
    InnerFolds,
    inner_folds,
    predict_left_out,
)
from slimstream.training.metrics.classification import Ints
from slimstream.training.metrics.intervals import draw_resamples
from slimstream.training.study import Study


def try_all(
    candidates: Sequence[Candidate],
    search: SearchParams,
    extract: ExtractParams,
    args: Mapping[str, Any],
    runtimes: Sequence[str],
    paths: Paths,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The row of each candidate for the table, and the choice for search.json.

    `args` are train.model_args, `runtimes` those that a network may be deployed in. Only train and val clips
    are read. Raises UserError when no fold can be made.
    """
    study = Study.open(extract, paths)
    split = pd.read_parquet(paths.split)
    split = split[split["part"].isin(["train", "val"])].sort_values("id")
    clips, classes = study.both, len(study.classes)
    own, truth = split.iloc[clips.given], np.array(clips.labels)
    folds = inner_folds(own["group"].tolist(), own["twin"].tolist(), truth)
    print(f"search: {len(candidates)} candidates, {folds.label}.", file=sys.stderr)
    precision = deployed_precision(runtimes)
    work = _work_folder(candidates, search, extract, args, precision, paths)

    predicted = _predict_all(
        candidates, clips, truth, folds, classes, search, extract, args, paths.cache, work
    )
    files = _raw_files(split, search.clips_timed, paths)
    times = packing_times(candidates, extract, files, work / "times")
    nets = network_times(candidates, extract, args, classes, clips.lengths, search, precision, work / "times")

    draws = draw_resamples(
        own["group"].tolist(), own["twin"].tolist(), search.resamples, min_groups=MIN_GROUPS
    )
    cost = np.array([sum(a.values()) + b["network_ms"] for a, b in zip(times, nets, strict=True)])
    scores, choice, drawn = choose_on_folds(predicted, truth, folds, draws, classes, cost, search.margin)
    leads = front(scores, cost)
    rows = [
        {
            "candidate": one.title,
            "streams": one.streams,
            "frames": "all" if one.frames is None else one.frames,
            "size": f"{one.size[0]}x{one.size[1]}",
            "depth": one.depth,
            "backbone": one.backbone,
            "macro_f1": scores[i],
            "loss": scores[choice.best] - scores[i],
            "low": choice.low[i],
            "high": choice.high[i],
            **times[i],
            **nets[i],
            "file_to_answer_ms": cost[i],
            "on_front": bool(leads[i]),
            "chosen": i == choice.chosen,
        }
        for i, one in enumerate(candidates)
    ]
    judged = {
        name: candidates[i].describe(extract, args) | {key: float(rows[i][key]) for key in _MEASURED}
        for name, i in (("chosen", choice.chosen), ("best", choice.best))
    }
    shutil.rmtree(work)
    return rows, {
        **judged,
        "why": choice.why,
        "undecided": [candidates[i].title for i in choice.undecided],
        "margin": search.margin,
        "folds": {"by": folds.by, "count": folds.count, "note": folds.label, "resampled": drawn},
    }


_MEASURED = (
    *("macro_f1", "loss", "low", "high", "decode_ms", "flow_ms", "network_ms", "file_to_answer_ms"),
    *("megabytes", "macs"),
)


def _predict_all(
    candidates: Sequence[Candidate],
    clips: ClipDataset,
    truth: Ints,
    folds: InnerFolds,
    classes: int,
    search: SearchParams,
    extract: ExtractParams,
    args: Mapping[str, Any],
    cache: Path,
    work: Path,
) -> list[npt.NDArray[np.int64]]:
    """The predictions (N,) of each candidate on inner folds; features that candidates share are made once."""
    jobs = {(job.backbone, job.stream, job.size): job for job in passes(candidates)}
    features = {key: compute_pass(job, clips, extract, args, cache) for key, job in jobs.items()}
    found = []
    for one in progress_bar(candidates, "candidates judged", len(candidates)):
        file = work / "predicted" / f"{one.title}.npy"
        if not file.exists():
            keys = {stream: (one.backbone, stream, one.size) for stream in streams_of(one)}
            x = pool_frames(
                one,
                {stream: features[key] for stream, key in keys.items()},
                {stream: jobs[key] for stream, key in keys.items()},
                clips,
                args,
            )
            save(file, predict_left_out(x, truth, folds, classes, search.strength))
        found.append(np.load(file, allow_pickle=False))
    return found


def _raw_files(split: pd.DataFrame, count: int, paths: Paths) -> list[Path]:
    """The raw files of `count` clips, evenly spread over those of `split`."""
    ids = split["id"].iloc[spread_indices(len(split), count)]
    of_id = pd.read_parquet(paths.clips, columns=["id", "path"]).set_index("id")["path"]
    return [paths.ingested / str(of_id[name]) for name in ids]


def _work_folder(
    candidates: Sequence[Candidate],
    search: SearchParams,
    extract: ExtractParams,
    args: Mapping[str, Any],
    precision: str,
    paths: Paths,
) -> Path:
    key = fingerprint(
        "search",
        [
            *(one.title for one in candidates),  # train.model says what an axis without a list is
            search.model_dump_json(),
            extract.model_dump_json(),
            precision,
            json.dumps(dict(args), sort_keys=True, default=str),
        ],
        [paths.split, paths.packs / "index.parquet", paths.clips, paths.root / "requirements.lock"],
    )
    return paths.resume_folder("search", key)
