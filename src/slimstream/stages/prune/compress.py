"""Compression of a network at one rate: channels removed, feature maps restored, fine-tuned."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict

from torch import Tensor, nn

from slimstream.core.progress import Log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_model
from slimstream.models.cost import count_params
from slimstream.stages.prune.channels import unfrozen
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.prune.pruning import PruneReport, prune_channels, recalibrate_batch_norm
from slimstream.stages.prune.reconstruct import reconstruct, refittable
from slimstream.training.study import Row, Study, with_prefix


def at_rate(p: PruneParams, rate: float) -> PruneParams:
    """The settings `p` with this rate. 0 removes nothing and trains nothing: the network stays as it is."""
    fit = p.fit if rate else p.fit.model_copy(update={"epochs": 0, "head": None})
    return p.model_copy(update={"rate": rate, "target_params": None, "fit": fit})


def compress(
    model: nn.Module, study: Study, p: PruneParams, parent: str
) -> tuple[PruneReport, dict[str, float]]:
    """Remove channels of `model`, the model `parent`, in place, then reconstruct its feature maps.

    Without `p.restore` batch norm is recalibrated instead. Returns the report of the pruning and, where
    `p.restore` is set, the errors of the reconstruction. `study` shows the clips as the network sees them.
    """
    if p.rate == 0:
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
            heads=p.heads,
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


def tune(model: nn.Module, study: Study, p: PruneParams, parent: str, log: Log) -> Row:
    """Fine-tune the pruned `model` in place as `p.fit` says and write plots/pruned.csv.

    Returns its validation metrics, those from before under `before_tuning`.
    """
    before = study.validate(model)
    tuned = study.fit(
        "pruned",
        model,
        study.build_objective(model, p.fit),
        p.fit,
        log,
        stage="prune",
        inputs=[study.paths.model(parent) / "weights.safetensors"],
        settings=[p],
    )
    return tuned | with_prefix("before_tuning", before)
