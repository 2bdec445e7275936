"""Inference of P3's students against its teachers: one picture, one thread, the same runtime."""

import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.compare import Call, Result, ratio_result, seconds
from benchmarks.inference import call, noise, present, seen
from slimstream.models import create_model
from slimstream.runtimes import RUNTIMES
from slimstream.runtimes.export import export

TEACHERS = ("vgg16", "vgg19", "resnet18")
STUDENTS = {"light_residual_net": 0.5, "light_residual_net_small": 0.08}
"""Students, and their largest allowed time as a share of the teachers' mean; P3 says 0.5."""
ROUNDS, CALLS = 9, 20


def run() -> list[Result]:
    torch.manual_seed(0)
    pictures = [noise(1, 1, 50) for _ in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in (*TEACHERS, *STUDENTS):
            export(seen(create_model(name, 2), pictures), pictures, root / name, list(RUNTIMES))
        results = []
        for runtime in present():
            nets = {name: call(root / name, runtime, pictures[0]) for name in (*TEACHERS, *STUDENTS)}
            turns = [
                {name: seconds(partial(repeat_calls, net)) for name, net in nets.items()}
                for _ in range(ROUNDS + 1)
            ][1:]
            for name, most in STUDENTS.items():
                ratios = [turn[name] / (sum(turn[t] for t in TEACHERS) / len(TEACHERS)) for turn in turns]
                results.append(
                    ratio_result("students", name, "mean teacher", ratios, most=most, note=runtime)
                )
        return results


def repeat_calls(net: Call) -> None:
    """Call `net` CALLS times, because one call is too short to be timed."""
    for _ in range(CALLS):
        net()
