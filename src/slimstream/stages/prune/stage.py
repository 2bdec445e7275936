"""prune: remove the least important channels of the network, then fine-tune it (P1, section 3.3)."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import build_on_meta, build_zeroed, create_model
from slimstream.models.checkpoint import load_model
from slimstream.models.cost import count_params
from slimstream.models.latency import latency
from slimstream.stages.prune.channels import unfrozen
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.prune.pruning import PruneReport, check_pruning, prune_channels, recalibrate_batch_norm
from slimstream.stages.prune.rates import COLUMNS, find_rate
from slimstream.stages.prune.reconstruct import reconstruct, refittable
from slimstream.training import distributed
from slimstream.training.closed_form import HasMemory
from slimstream.training.objectives import check_objective
from slimstream.training.params import TrainParams
from slimstream.training.study import Study, with_prefix


def run(
    prune: PruneParams, search__margin: float, extract: ExtractParams, paths: Paths, log: Log
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
    if prune.rate == "auto":
        rate, rows = find_rate(
            model,
            study,
            prune,
            paths.model(parent),
            search__margin,
            lambda net, rate: compress(net, study, at_rate(prune, rate), parent)[0].effective_rate,
        )
        prune = at_rate(prune, rate)
    write_rates(paths, rows)
    report, restored = compress(model, study, prune, parent)
    before_tuning = study.validate(model)
    tuned = study.fit(
        "pruned",
        model,
        study.build_objective(model, prune.fit),
        prune.fit,
        log,
        stage="prune",
        inputs=[paths.model(parent) / "weights.safetensors"],
        settings=[prune],
    )
    after = study.save(
        "pruned", model, base=card.model, args=card.args, pruning=report.history, parent=parent
    ) | {"latency_ms": _eager_latency(model, study)}
    study.remove_finished()
    kept = {f"{what}_kept": after[what] / before[what] for what in ("params", "macs")}
    return (
        tuned
        | kept
        | {"rate": report.effective_rate}  # measured, not the requested rate
        | {f"tried.{row['rate']:g}.{key}": float(row[key]) for row in rows for key in ("macro_f1", "high")}
        | with_prefix("before", before)
        | with_prefix("before_tuning", before_tuning)
        | with_prefix("restore", restored)
        | with_prefix("after", after)
    )


def at_rate(p: PruneParams, rate: float) -> PruneParams:
    """The settings `p` with this rate; 0 removes nothing."""
    return p.model_copy(update={"rate": rate, "target_params": None})


def write_rates(paths: Paths, rows: list[dict[str, Any]]) -> None:
    """Write plots/rates.csv; the names of its columns alone where no rates were tried."""
    if distributed.rank() == 0:
        paths.curves("rates").parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.curves("rates"), index=False)


def trials(paths: Paths) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Each rate of the last run with `rate: auto` for tracking: its name, its parameters and its metrics."""
    metrics = ["macro_f1", "loss", "high", "removed", "params", "macs", "latency_p50_ms", "chosen"]
    rows = pd.read_csv(paths.curves("rates")).to_dict("records")
    return [
        (
            f"rate-{row['rate']:g}",
            {"rate": row["rate"]},
            {name: float(row[name]) for name in metrics if name in row},
        )
        for row in rows
    ]


def compress(
    model: nn.Module, study: Study, p: PruneParams, parent: str
) -> tuple[PruneReport, dict[str, float]]:
    """Remove channels of `model`, the model `parent`, in place, then reconstruct its feature maps.

    Without `p.restore` batch norm is recalibrated instead. Returns the report of the pruning and, where
    `p.restore` is set, the errors of the reconstruction. `study` shows the clips as the network sees them.
    """
    if p.rate == 0:  # `auto` has found no rate that surely loses little
        count = count_params(model)
        return PruneReport({}, 0.0, count, count), {}
    assert p.rate != "auto"
    # The settings were checked for the network of `train`; another one may have fewer layers.
    chosen = parent != "original"
    with unfrozen(model) if p.frozen else nullcontext():
        report = prune_channels(
            model,
            study.example(),
            rate=p.rate,
            target_params=p.target_params,
            importance=p.importance,
            leave=p.leave,
            round_to=p.round_to,
            as_far_as_possible=chosen,
        )
        if chosen and not report.history:
            print(
                "prune: no channel of the network that the search chose can be removed with these settings; "
                "it is kept whole (prune.frozen: true lets layers that are not trained lose channels, too).",
                file=sys.stderr,
            )
            return report, {}

        def clips(of: nn.Module) -> Iterator[Tensor]:
            return study.unlabelled_batches(of, p.restore_clips, raw=p.frozen)

        before, _ = load_model(study.paths.model(parent), create_model)
        if p.restore is None or (chosen and not refittable(model, before, next(clips(model)))):
            recalibrate_batch_norm(model, clips(model))
            return report, {}
        # Batch norm keeps the statistics from before, because the reconstructed maps are those of before.
        restored = reconstruct(model, before, lambda: clips(model), lambda: clips(before), ridge=p.restore)
    return report, asdict(restored)


@torch.inference_mode()
def _eager_latency(model: nn.Module, study: Study) -> float:
    """Median milliseconds for one clip in PyTorch; evaluate times the exported form."""
    clip = study.example()
    return latency(lambda: model.eval()(clip), runs=5, warm_up=1).p50


def preflight(prune: PruneParams, train: TrainParams, extract: ExtractParams) -> None:
    """Raise UserError when the network of `train` cannot be pruned or fine-tuned with these settings."""
    model = build_on_meta(train.model, train.model_args)
    check_objective(model, prune.fit)
    if prune.rate != "auto":
        check_compression({"prune.rate": prune.rate}, prune.target_params, prune, train, extract)
        return
    if isinstance(model, HasMemory):
        raise UserError(
            f"params.yaml: prune.rate: auto fits linear classifiers, and {train.model} has none; set a rate."
        )
    if train.fit.epochs:  # inner folds would be judged by layers that have learnt from their clips
        raise UserError(
            "params.yaml: prune.rate: auto judges by clips that the layers have not learnt from: it needs "
            f"train.fit.epochs 0, not {train.fit.epochs}; set a rate."
        )
    check_compression({"prune.rates": max(prune.rates)}, None, prune, train, extract)


def check_compression(
    rates: Mapping[str, float | None],
    target_params: float | None,
    prune: PruneParams,
    train: TrainParams,
    extract: ExtractParams,
) -> None:
    """Raise UserError when the network of `train` cannot be pruned to `target_params` or at `rates`.

    `rates`: setting of params.yaml → rate, as {"prune.rate": 0.5}.
    """
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
        {setting: rate for setting, rate in rates.items() if rate is not None},
        target_params,
        importance=prune.importance,
        leave=prune.leave,
        round_to=prune.round_to,
    )
