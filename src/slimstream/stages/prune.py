"""prune: the channels that matter least leave the network for good; then it is fine-tuned (P1, 3.3)."""

from dataclasses import asdict

import torch
from torch import nn

from slimstream.learn.checkpoint import load_model
from slimstream.learn.latency import latency
from slimstream.learn.pruning import PruneReport, prune_channels, recalibrate
from slimstream.learn.reconstruct import Reconstruction, reconstruct
from slimstream.models import create_model
from slimstream.params import Params, Prune
from slimstream.paths import Paths
from slimstream.progress import Log
from slimstream.stages.training import Study, with_prefix


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.prune
    study = Study.open(params.extract, paths)
    model, card = load_model(paths.model("original"), create_model)
    study.check(model, p.fit)
    before = {
        "params": float(card.params),
        "macs": float(card.macs),
        "latency_ms": _eager_latency(model, study),
    }

    report = cut(model, study, p)
    before_tuning = study.validate(model)
    restored = {} if p.restore is None else asdict(restore(model, study, p.restore))
    tuned = study.fit(
        "pruned",
        model,
        study.objective(model, p.fit),
        p.fit,
        log,
        inputs=[paths.model("original") / "weights.safetensors"],
        settings=[p],
    )
    after = study.save(
        "pruned", model, base=card.model, args=card.args, pruning=report.history, parent="original"
    ) | {"latency_ms": _eager_latency(model, study)}
    study.forget()
    return (
        tuned
        | {"rate": report.effective_rate, "params_kept": after["params"] / before["params"]}
        | with_prefix("before", before)
        | with_prefix("before_tuning", before_tuning)
        | with_prefix("restore", restored)
        | with_prefix("after", after)
    )


def cut(model: nn.Module, study: Study, p: Prune) -> PruneReport:
    """Remove channels as `p` says, and let what is left see the clips again."""
    report = prune_channels(
        model,
        study.example(),
        rate=p.rate,
        target_params=p.target_params,
        importance=p.importance,
        leave=p.leave,
        round_to=p.round_to,
    )
    recalibrate(model, study.clips(model))
    return report


def restore(model: nn.Module, study: Study, ridge: float) -> Reconstruction:
    """Let what is left of `model` make the original's maps of train and val clips again, without labels."""
    original, _ = load_model(study.paths.model("original"), create_model)
    return reconstruct(
        model, original, lambda: study.clips(model), lambda: study.clips(original), ridge=ridge
    )


@torch.inference_mode()
def _eager_latency(model: nn.Module, study: Study) -> float:
    """Median milliseconds for one clip in PyTorch; evaluate times the exported form."""
    clip = study.example()
    return latency(lambda: model.eval()(clip), runs=10).p50
