"""prune: remove the least important channels of the network, then fine-tune it (P1, section 3.3)."""

from typing import Any

import pandas as pd
import torch
from torch import nn

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import build_on_meta, build_zeroed, create_model
from slimstream.models.checkpoint import load_model
from slimstream.models.latency import latency
from slimstream.stages.prune.compress import at_rate, compress, tune
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.prune.pruning import check_pruning
from slimstream.stages.prune.rates import find_rate, write_rates
from slimstream.training.closed_form import HasMemory
from slimstream.training.objectives import check_objective
from slimstream.training.params import TrainParams
from slimstream.training.study import Study, with_prefix


def run(
    prune: PruneParams,
    train__fit__epochs: int,
    search__margin: float,
    extract: ExtractParams,
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Write the model `pruned`; returns its scores, and its size and latency before and after.

    The network that `search` chose is pruned where there is one, else the original; "params_kept" and
    "macs_kept" are shares of it. Raises UserError when the network of `train` cannot be pruned with these
    settings. One that the search chose is pruned as far as it allows.
    """
    study = Study.open(extract, paths)
    parent = paths.uncompressed()
    model, card = load_model(paths.model(parent), create_model)
    study = study.seen_with(card.network_input)
    study.check(model, prune.fit)
    before = {
        "params": float(card.params),
        "macs": float(card.macs),
        "latency_ms": _eager_latency(model, study),
    }

    rows: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}
    if prune.rate == "auto":
        # Inner folds would be judged by layers that have learnt from their clips.
        by_heads = prune.fit.head is not None and not (prune.fit.epochs or train__fit__epochs)
        by_heads = by_heads and not isinstance(model, HasMemory)
        found = find_rate(study, prune, parent, search__margin, log, by_heads=by_heads)
        model, history, rows = found.model, found.history, found.rows
        metrics = found.metrics | {"rate": next(row["removed"] for row in rows if row["chosen"])}
        if by_heads:
            metrics |= tune(model, study, at_rate(prune, found.rate), parent, log)
    else:
        report, restored = compress(model, study, prune, parent)
        metrics = with_prefix("restore", restored) | {"rate": report.effective_rate}
        metrics |= tune(model, study, prune, parent, log)
        history = report.history
    write_rates(paths, rows)
    after = study.save("pruned", model, base=card.model, args=card.args, pruning=history, parent=parent)
    after |= {"latency_ms": _eager_latency(model, study)}
    study.remove_finished()
    kept = {f"{what}_kept": after[what] / before[what] for what in ("params", "macs")}
    return metrics | kept | with_prefix("before", before) | with_prefix("after", after)


def trials(paths: Paths) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Each rate that the last run tried, for tracking: its name, its parameters and its metrics."""
    rows = pd.read_csv(paths.curves("rates")).to_dict("records")
    return [
        (
            f"rate {row['rate']:g}",
            {"rate": row["rate"]},
            {str(name): float(value) for name, value in row.items() if name != "rate"},
        )
        for row in rows
    ]


@torch.inference_mode()
def _eager_latency(model: nn.Module, study: Study) -> float:
    """Median milliseconds for one clip in PyTorch; evaluate times the exported form."""
    clip = study.example()
    return latency(lambda: model.eval()(clip), runs=5, warm_up=1).p50


def preflight(prune: PruneParams, train: TrainParams, extract: ExtractParams) -> None:
    """Raise UserError when the network of `train` cannot be pruned or fine-tuned with these settings."""
    check_objective(build_on_meta(train.model, train.model_args), prune.fit)
    setting = "prune.rate"
    highest = prune.rate
    if highest == "auto":
        setting, highest = "prune.rates", max(prune.rates)
    model = build_zeroed(train.model, train.model_args)
    if prune.frozen:
        model.requires_grad_(True)
    clip = torch.zeros(1, 2, extract.channels, *extract.size, dtype=torch.uint8)
    try:
        with torch.no_grad():
            model.eval()(clip)
    except RuntimeError as error:
        height, width = extract.size
        raise UserError(
            f"params.yaml: {train.model} cannot look at frames of {width} × {height} pixels "
            f"({error}); choose a larger extract.size."
        ) from error
    check_pruning(
        model,
        clip,
        {} if highest is None else {setting: highest},
        prune.target_params,
        importance=prune.importance,
        heads=prune.heads,
        leave=prune.leave,
        round_to=prune.round_to,
    )
