"""Networks of frozen features tried: scores on inner folds, times, choice. A killed run goes on."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from slimstream.clips.params import ExtractParams
from slimstream.core.paths import Paths
from slimstream.core.progress import progress_bar
from slimstream.models import build_on_meta
from slimstream.models.cost import count_macs
from slimstream.stages.search.candidates import Candidate, describe
from slimstream.stages.search.conclusion import Judges, conclude
from slimstream.stages.search.features import compute_pass, passes, pool_frames, streams_of
from slimstream.stages.search.params import SearchParams
from slimstream.stages.search.sampling import sample
from slimstream.stages.search.timing import clip_shape, deployed_precision, total_costs
from slimstream.stages.search.work import raw_files, work_folder
from slimstream.training.feature_cache import write_array
from slimstream.training.inner_folds import MIN_GROUPS, inner_folds, predict_left_out
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
    groups, twins = own["group"].tolist(), own["twin"].tolist()
    folds = inner_folds(groups, twins, truth)
    judges = Judges(
        truth, classes, folds, draw_resamples(groups, twins, search.resamples, min_groups=MIN_GROUPS)
    )
    print(f"search: {len(candidates)} candidates, {folds.label}.", file=sys.stderr)
    precision = deployed_precision(runtimes)
    settings = [precision, json.dumps(dict(args), sort_keys=True, default=str)]
    work = work_folder(candidates, search, extract, settings, paths)

    jobs = {(job.backbone, job.stream, job.size): job for job in passes(candidates)}
    features = {key: compute_pass(job, clips, extract, args, paths.cache) for key, job in jobs.items()}

    def predicted(one: Candidate) -> Ints:
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
            write_array(file, predict_left_out(x, truth, folds, classes, search.strength))
        found: Ints = np.load(file, allow_pickle=False)
        return found

    def judge(one: Candidate) -> tuple[float, float]:
        net = build_on_meta(*one.model(args))
        return judges.score(predicted(one)), float(count_macs(net, clip_shape(one, extract, clips.lengths)))

    tried = sample(candidates, search.trials, judge)
    rows = [predicted(one) for one in progress_bar(tried, "candidates judged", len(tried))]
    files = raw_files(split, search.clips_timed, paths)
    costs = total_costs(tried, extract, args, classes, clips.lengths, files, search, precision, work)
    entries = [describe(one, extract, args) for one in tried]
    result = conclude(entries, costs, rows, judges, search.margin)
    shutil.rmtree(work)
    return result
