"""P1's network at 0.66 of its parameters, one clip on one thread: against original and Torch-Pruning."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.compare import Result, compare_times
from benchmarks.inference import call, noise, present, seen
from slimstream.models import create_model
from slimstream.models.cost import count_params
from slimstream.pipeline.recipes import load_recipe
from slimstream.runtimes import RUNTIMES
from slimstream.runtimes.export import export
from slimstream.stages.prune.channels import update_attentions
from slimstream.stages.prune.pruning import prune_channels

KEPT = 0.66
ROUNDS = 15


def run() -> list[Result]:
    torch.manual_seed(0)
    p1 = load_recipe(Path(__file__).parent.parent / "recipes/p1.yaml")
    clips = [noise(p1.extract.frames or 8, 5, p1.extract.size[0]) for _ in range(4)]
    original = create_model(p1.train.model, 3)
    ours, plain = copy.deepcopy(original), torch_pruning(original, torch.from_numpy(clips[0]))
    p = p1.prune
    prune_channels(
        ours,
        torch.from_numpy(clips[0]),
        target_params=KEPT,
        importance=p.importance,
        heads=p.heads,
        leave=p.leave,
        round_to=p.round_to,
    )
    nets = {"original": original, "ours": ours, "plain": plain}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, net in nets.items():
            export(seen(net, clips), clips, root / name, list(RUNTIMES))
        share = {name: f"{count_params(net) / count_params(original):.2f}" for name, net in nets.items()}
        results = []
        for runtime in present():
            calls = {name: call(root / name, runtime, clips[0]) for name in nets}
            for peer, title, most in (
                ("original", "original", 0.55),
                ("plain", f"Torch-Pruning's own, {share['plain']}", None),
            ):
                results.append(
                    compare_times(
                        "pruned",
                        (f"P1's pair, {share['ours']} of its parameters", calls["ours"]),
                        (title, calls[peer]),
                        most=most,
                        rounds=ROUNDS,
                        note=runtime,
                    )
                )
    return results


def torch_pruning(model: Any, clip: torch.Tensor) -> nn.Module:
    """A copy of `model` pruned to KEPT as Torch-Pruning does it: global L1, fusion and head left alone."""
    import torch_pruning as tp

    low, high, net = 0.0, 1.0, model
    for _ in range(8):
        rate = (low + high) / 2
        net = copy.deepcopy(model)
        attentions = [m for m in net.modules() if hasattr(m, "qkv")]
        tp.pruner.BasePruner(
            net,
            clip[:1, :2],
            importance=tp.importance.GroupMagnitudeImportance(p=1),
            global_pruning=True,
            pruning_ratio=rate,
            ignored_layers=[net.fusion, *net.fusion.modules(), net.head],
            num_heads={a.qkv: a.num_heads for a in attentions},
            in_channel_groups={},
            out_channel_groups={},
        ).step()
        update_attentions(net)
        share = count_params(net) / count_params(model)
        if abs(share / KEPT - 1) < 0.01:
            break
        low, high = (rate, high) if share > KEPT else (low, rate)
    return net
