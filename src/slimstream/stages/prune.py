"""prune: the channels of least L1 norm leave the network for good; then it is fine-tuned (P1, 3.3)."""

import torch
from torch import nn

from slimstream.learn.checkpoint import load_model
from slimstream.learn.latency import latency
from slimstream.learn.matching import FeatureMatch, FrameFeatures
from slimstream.learn.pruning import prune_channels, recalibrate
from slimstream.models import create_model
from slimstream.params import Params, Prune
from slimstream.paths import Paths
from slimstream.progress import Log
from slimstream.stages.training import Study, with_prefix


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.prune
    study = Study.open(params.extract, paths)
    model, card = load_model(paths.model("original"), create_model)
    before = {
        "params": float(card.params),
        "macs": float(card.macs),
        "latency_ms": _eager_latency(model, study),
    }

    report = prune_channels(
        model,
        study.example(),
        rate=p.rate,
        target_params=p.target_params,
        leave=p.leave,
        round_to=p.round_to,
    )
    recalibrate(model, study.clips(model))
    cut = study.validate(model)
    restored = {} if p.restore is None else restore(model, study, p, log)
    tuned = study.fit(
        "pruned",
        model,
        study.cross_entropy(p.fit),
        p.fit,
        log,
        inputs=[paths.model("original") / "weights.safetensors"],
        settings=[p],
    )
    after = study.save(
        "pruned", model, base=card.model, args=card.args, pruning=report.history, parent="original"
    ) | {"latency_ms": _eager_latency(model, study)}
    return (
        tuned
        | {"rate": report.effective_rate, "params_kept": after["params"] / before["params"]}
        | with_prefix("before", before)
        | with_prefix("before_tuning", cut)
        | with_prefix("restore", restored)
        | with_prefix("after", after)
    )


def restore(model: nn.Module, study: Study, p: Prune, log: Log) -> dict[str, float]:
    """Let pruned `model` learn to make the original's features again, frame by frame, without labels.

    What pruning took is put right where it was taken, on augmented clips of any class, so that the few labels
    are left to the head (He et al., "Channel pruning for accelerating very deep neural networks", ICCV 2017,
    reconstruct feature maps by least squares; Romero et al., "FitNets", ICLR 2015, match hints by gradient).
    Returns the error at the first and at the last epoch, as a share of the features' variance.
    """
    teacher, _ = load_model(study.paths.model("original"), create_model)
    original = study.paths.model("original") / "weights.safetensors"
    objective = FeatureMatch.of(teacher, study.clips(teacher))
    student = FrameFeatures(model)
    assert p.restore is not None
    last = p.restore.model_copy(update={"select": "last"})  # its loss is all there is to judge by
    history = study.resumable(
        "restored", student, objective, last, log, inputs=[original], settings=[p], validate=lambda _: {}
    )
    return {"first": history[0]["train_loss"], "last": history[-1]["train_loss"]} if history else {}


@torch.inference_mode()
def _eager_latency(model: nn.Module, study: Study) -> float:
    """Median milliseconds for one clip in PyTorch; evaluate times the exported form."""
    clip = study.example()
    return latency(lambda: model.eval()(clip), runs=10).p50
