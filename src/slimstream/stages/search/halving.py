"""Successive halving: candidates that learn by gradient steps; few of them get many epochs.

All are trained for few epochs on the train clips and judged on the val clips. The better third goes on to
three times the epochs, and so on (Jamieson & Talwalkar, "Non-stochastic best arm identification and
hyperparameter optimization", AISTATS 2016). Each training starts anew, so that its learning rate has come
down by its end. A killed run goes on where it was.
"""

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from slimstream.clips.params import ExtractParams
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.models import build_on_meta, create_model
from slimstream.models.cost import count_macs
from slimstream.stages.search.candidates import AnyCandidate, describe
from slimstream.stages.search.conclusion import Judges, conclude, table_row
from slimstream.stages.search.params import SearchParams
from slimstream.stages.search.sampling import sample
from slimstream.stages.search.timing import clip_shape, deployed_precision, total_costs
from slimstream.stages.search.work import raw_files, work_folder
from slimstream.training.cheapest import front
from slimstream.training.feature_cache import write_array
from slimstream.training.inner_folds import MIN_GROUPS, val_fold
from slimstream.training.loop import fit
from slimstream.training.metrics.classification import Floats, Ints
from slimstream.training.metrics.intervals import draw_resamples
from slimstream.training.params import FitParams, TrainParams
from slimstream.training.study import Study, predict

FACTOR = 3
"""A rung has so many times the epochs of the one before, and a share of 1 / FACTOR of its candidates."""
LEAST = 4
"""Candidates that the last rung has at least, where there are as many: the choice is between these."""


def try_by_halving(
    candidates: Sequence[AnyCandidate],
    search: SearchParams,
    extract: ExtractParams,
    train: TrainParams,
    runtimes: Sequence[str],
    paths: Paths,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The row of each candidate for the table, and the choice for search.json.

    `runtimes` are those that a network may be deployed in. Only train and val clips are read. The choice is
    between the candidates of the last rung, by the rule of `training.cheapest`.
    """
    study = Study.open(extract, paths)
    split = pd.read_parquet(paths.split)
    val = split[split["part"] == "val"].sort_values("id").iloc[study.val.given]
    truth, classes = np.array(study.val.labels), len(study.classes)
    whole = val_fold(val["group"].tolist())
    draws = draw_resamples(
        val["group"].tolist(), val["twin"].tolist(), search.resamples, min_groups=MIN_GROUPS
    )
    judges = Judges(truth, classes, whole, draws)
    precision = deployed_precision(runtimes)
    texts = [train.model_dump_json(), precision]
    work = work_folder([*candidates], search, extract, texts, paths)
    trials = min(search.trials or len(candidates), len(candidates))
    levels = rungs(trials, min(search.epochs, train.fit.epochs))
    print(
        f"search: {trials} candidates, {' → '.join(map(str, levels))} epochs, judged on {whole.label}.",
        file=sys.stderr,
    )

    predicted = partial(_predicted, study=study, train=train, work=work)

    def score(one: AnyCandidate, epochs: int) -> float:
        return judges.score(predicted(one, epochs))

    def judge(one: AnyCandidate) -> tuple[float, float]:
        net = build_on_meta(*one.model(train.model_args))
        return score(one, levels[0]), float(count_macs(net, clip_shape(one, extract, study.both.lengths)))

    alive = sample(candidates, search.trials, judge)
    seen = split[split["part"].isin(["train", "val"])].sort_values("id")
    files = raw_files(seen, search.clips_timed, paths)
    costs = total_costs(
        alive, extract, train.model_args, classes, study.both.lengths, files, search, precision, work
    )
    of, left = dict(zip(alive, costs, strict=True)), []
    entries = {one: describe(one, extract, train.model_args) for one in alive}
    for epochs, more in pairwise(levels):
        scores = np.array([score(one, epochs) for one in alive])
        kept = survivors(scores, np.array([of[one]["file_to_answer_ms"] for one in alive]))
        print(
            f"search: {len(kept)} of {len(alive)} go on to {more} epochs; after {epochs} all have macro-F1 "
            f"{scores.min():.2f} to {scores.max():.2f} (guessing: {1 / classes:.2f}).",
            file=sys.stderr,
        )
        left += [
            table_row(entries[one], of[one], scores[i], epochs)
            for i, one in enumerate(alive)
            if i not in kept
        ]
        alive = [alive[i] for i in kept]
    rows, choice = conclude(
        [entries[one] for one in alive],
        [of[one] for one in alive],
        [predicted(one, levels[-1]) for one in alive],
        judges,
        search.margin,
        levels[-1],
    )
    shutil.rmtree(work)
    return [*rows, *reversed(left)], choice


def rungs(candidates: int, epochs: int) -> list[int]:
    """The epochs of each rung, ascending to `epochs`; so many that LEAST candidates are left in the last."""
    found = [epochs]
    while candidates > LEAST and found[0] // FACTOR:
        found.insert(0, found[0] // FACTOR)
        candidates = _share(candidates)
    return found


def survivors(scores: Floats, cost: Floats) -> list[int]:
    """Indices of the candidates that go on, ascending: a third of those with `scores` (n,) and `cost` (n,).

    First those that no other is both better and cheaper than, then the others; the higher score first.
    """
    order = np.lexsort((cost, -scores, ~front(scores, cost)))
    return sorted(order[: _share(len(scores))].tolist())


def _share(candidates: int) -> int:
    return min(candidates, max(LEAST, -(-candidates // FACTOR)))


def brief(p: FitParams, epochs: int) -> FitParams:
    """`p` for few epochs: one descent of the learning rate, and the weights of the last step.

    A mean of the weights over many steps would still hold those of the start.
    """
    warmup = min(p.warmup_epochs, epochs // FACTOR)
    changed = {"epochs": epochs, "cycles": 1, "warmup_epochs": warmup, "ema": 0.0, "select": "last"}
    return p.model_copy(update=changed)


def _predicted(one: AnyCandidate, epochs: int, *, study: Study, train: TrainParams, work: Path) -> Ints:
    """Classes (N,) of the val clips after a training of `epochs`; a finished training is only read."""
    file = work / "predicted" / f"{one.title}-{epochs}.npy"
    if not file.exists():
        seen, p = study.seen_with(one.input(study.input)), brief(train.fit, epochs)
        name, args = one.model(train.model_args)
        torch.manual_seed(p.seed)
        model = create_model(name, len(study.classes), **args)
        if p.head is not None:
            seen.fit_head(model.eval(), seen.train, p.head)
        folder = work / "training"
        fit(
            model,
            objective=seen.build_objective(model, p),
            batches=lambda epoch: seen.training_batches(model, p, epoch, None),
            validate=seen.validate if p.schedule == "plateau" else lambda _: {},  # nothing else asks for it
            p=p,
            clips=len(seen.train),
            folder=folder / file.stem,
            log=null_log,
            title=f"{one.title}, {epochs} epochs",
        )
        logits, _ = predict(model, seen.evaluation(model, seen.val))
        write_array(file, logits.argmax(1).numpy())
        shutil.rmtree(folder)
    found: Ints = np.load(file, allow_pickle=False)
    return found
