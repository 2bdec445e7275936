"""prune: remove the least important channels of the network, then fine-tune it (P1, section 3.3)."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict

import torch
from torch import Tensor, nn

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import build_on_meta, build_zeroed, create_model
from slimstream.models.checkpoint import load_model
from slimstream.models.latency import latency
from slimstream.stages.prune.channels import unfrozen
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.prune.pruning import PruneReport, check_pruning, prune_channels, recalibrate_batch_norm
from slimstream.stages.prune.reconstruct import reconstruct
from slimstream.training.objectives import check_objective
from slimstream.training.params import TrainParams
from slimstream.training.study import Study, with_prefix


def run(prune: PruneParams, extract: ExtractParams, paths: Paths, log: Log) -> dict[str, float]:
    """Write the model `pruned`; returns its scores, and its size and latency before and after.

    "params_kept" and "macs_kept" are shares of the original. Raises UserError when the network cannot be
    pruned with these settings.
    """
    study = Study.open(extract, paths)
    model, card = load_model(paths.model("original"), create_model)
    study.check(model, prune.fit)
    before = {
        "params": float(card.params),
        "macs": float(card.macs),
        "latency_ms": _eager_latency(model, study),
    }

    report, restored = compress(model, study, prune)
    before_tuning = study.validate(model)
    tuned = study.fit(
        "pruned",
        model,
        study.build_objective(model, prune.fit),
        prune.fit,
        log,
        stage="prune",
        inputs=[paths.model("original") / "weights.safetensors"],
        settings=[prune],
    )
    after = study.save(
        "pruned", model, base=card.model, args=card.args, pruning=report.history, parent="original"
    ) | {"latency_ms": _eager_latency(model, study)}
    study.remove_finished()
    kept = {f"{what}_kept": after[what] / before[what] for what in ("params", "macs")}
    return (
        tuned
        | kept
        | {"rate": report.effective_rate}  # measured, not the requested rate
        | with_prefix("before", before)
        | with_prefix("before_tuning", before_tuning)
        | with_prefix("restore", restored)
        | with_prefix("after", after)
    )


def compress(model: nn.Module, study: Study, p: PruneParams) -> tuple[PruneReport, dict[str, float]]:
    """Remove channels of `model` in place with the settings `p`, then reconstruct the original's maps.

    Without `p.restore` batch norm is recalibrated instead. Returns the report of the pruning and, where
    `p.restore` is set, the errors of the reconstruction.
    """
    with unfrozen(model) if p.frozen else nullcontext():
        report = prune_channels(
            model,
            study.example(),
            rate=p.rate,
            target_params=p.target_params,
            importance=p.importance,
            leave=p.leave,
            round_to=p.round_to,
        )

        def clips(of: nn.Module) -> Iterator[Tensor]:
            return study.unlabelled_batches(of, p.restore_clips, raw=p.frozen)

        if p.restore is None:
            recalibrate_batch_norm(model, clips(model))
            return report, {}
        # Batch norm keeps the original's statistics, because the reconstructed maps are the original's.
        original, _ = load_model(study.paths.model("original"), create_model)
        restored = reconstruct(
            model, original, lambda: clips(model), lambda: clips(original), ridge=p.restore
        )
    return report, asdict(restored)


@torch.inference_mode()
def _eager_latency(model: nn.Module, study: Study) -> float:
    """Median milliseconds for one clip in PyTorch; evaluate times the exported form."""
    clip = study.example()
    return latency(lambda: model.eval()(clip), runs=5, warm_up=1).p50


def preflight(prune: PruneParams, train: TrainParams, extract: ExtractParams) -> None:
    """Raise UserError when the network of `train` cannot be pruned or fine-tuned with these settings."""
    check_objective(build_on_meta(train.model, train.model_args), prune.fit)
    check_compression({"prune.rate": prune.rate}, prune.target_params, prune, train, extract)


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
