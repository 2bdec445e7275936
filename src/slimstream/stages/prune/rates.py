"""`prune.rate: auto`: the smallest network that surely loses little, found on inner folds as in `search`."""

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from slimstream.core.files import atomic_write
from slimstream.core.fingerprint import fingerprint
from slimstream.core.progress import progress_bar
from slimstream.models.cost import count_macs, count_params
from slimstream.stages.prune.params import PruneParams
from slimstream.training.cheapest import choose_on_folds
from slimstream.training.inner_folds import MIN_GROUPS, inner_folds, predict_left_out
from slimstream.training.metrics.intervals import draw_resamples
from slimstream.training.study import Study, clip_batches

RESAMPLES = 2000
COLUMNS = ["rate", "removed", "params", "macs", "macro_f1", "loss", "low", "high", "chosen"]
"""Columns of plots/rates.csv: a row for each rate that was tried, 0 is the network before pruning."""

Compress = Callable[[nn.Module, float], float]
"""Prunes a network in place at a rate and restores it; returns the share of channels that was removed."""


@dataclass(frozen=True)
class _Tried:
    removed: float
    params: int
    macs: int
    features: npt.NDArray[np.float32]
    """(N, F) of all train and val clips."""


def find_rate(
    model: nn.Module, study: Study, p: PruneParams, parent: Path, margin: float, compress: Compress
) -> tuple[float, list[dict[str, Any]]]:
    """The rate of `p.rates`, or 0, with the fewest multiply-accumulates that surely loses little.

    That is: the upper 95 % bound of its paired loss of macro-F1 against the best is at most `margin`. Also
    returns a row of COLUMNS for each rate.

    Each network is pruned and restored once, with all train and val clips but without labels. Heads are
    fitted in closed form on inner folds of these clips, so that each clip is judged by a head that has not
    learnt its group. `model`, from the folder `parent`, is not changed. A killed run goes on where it was.
    """
    weights = [parent / name for name in ("model.json", "weights.safetensors")]
    split = study.paths.split
    key = fingerprint("prune", [p.model_dump_json()], [*weights, split, study.paths.packs / "index.parquet"])
    work = study.paths.resume_folder("rates", key)
    rows = pd.read_parquet(split)
    rows = rows[rows["part"].isin(("train", "val"))].sort_values("id").iloc[study.both.given]
    truth, classes = np.array(study.both.labels), len(study.classes)
    group, twin = rows["group"].tolist(), rows["twin"].tolist()
    folds = inner_folds(group, twin, truth)

    rates = [0.0, *sorted(set(p.rates))]
    tried = [_try(rate, model, study, p, compress, work) for rate in progress_bar(rates, "rates tried")]
    study.finished.append(work)
    draws = draw_resamples(group, twin, RESAMPLES, min_groups=MIN_GROUPS)
    assert p.fit.head is not None
    predicted = [predict_left_out(one.features, truth, folds, classes, p.fit.head) for one in tried]
    cost = np.array([float(one.macs) for one in tried])
    scores, choice, _ = choose_on_folds(predicted, truth, folds, draws, classes, cost, margin)
    print(
        f"prune: rate {rates[choice.chosen]:g} of {', '.join(f'{rate:g}' for rate in rates)} "
        f"({folds.label}): {choice.why}",
        file=sys.stderr,
    )
    table = [
        {
            "rate": rate,
            "removed": one.removed,
            "params": one.params,
            "macs": one.macs,
            "macro_f1": float(scores[i]),
            "loss": float(scores[choice.best] - scores[i]),
            "low": float(choice.low[i]),
            "high": float(choice.high[i]),
            "chosen": i == choice.chosen,
        }
        for i, (rate, one) in enumerate(zip(rates, tried, strict=True))
    ]
    return rates[choice.chosen], table


def _try(
    rate: float, model: nn.Module, study: Study, p: PruneParams, compress: Compress, work: Path
) -> _Tried:
    """The network pruned at `rate`. A finished one is only read."""
    file, facts = work / f"{rate:g}.npy", work / f"{rate:g}.json"
    if not facts.exists():
        pruned = copy.deepcopy(model)
        removed = compress(pruned, rate) if rate else 0.0
        work.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as half, half.open("wb") as out:
            np.save(out, _features(pruned, study, raw=p.frozen))
        size = {"params": count_params(pruned), "macs": count_macs(pruned, tuple(study.example().shape))}
        with atomic_write(facts) as half:
            half.write_text(json.dumps({"removed": removed, **size}))
    return _Tried(**json.loads(facts.read_text()), features=np.load(file, allow_pickle=False))


@torch.inference_mode()
def _features(model: nn.Module, study: Study, *, raw: bool) -> npt.NDArray[np.float32]:
    """Features (N, F) of all train and val clips. `raw`: frozen layers are pruned, so nothing is cached."""
    model.eval()
    net: Any = model
    batches = clip_batches(study.both) if raw else study.evaluation(model, study.both)
    found: dict[int, npt.NDArray[np.float32]] = {}
    for batch in batches:
        found |= zip(batch.indices.tolist(), net.features(batch.clip).numpy(), strict=True)
    return np.stack([found[i] for i in range(len(study.both))])
