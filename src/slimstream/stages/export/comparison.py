"""The forms of a network compared with it on clips, and timed."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from slimstream.core.parallel import cores
from slimstream.models.latency import Latency, latencies
from slimstream.runtimes import REFERENCE, find_runtime, open_network
from slimstream.runtimes.base import Form, softmax, warm_up
from slimstream.runtimes.export import root_cause
from slimstream.runtimes.onnx import FILE as ONNX_FILE
from slimstream.runtimes.same_body import have_same_layers
from slimstream.runtimes.split_part import Floats, SplitPart, spread_indices
from slimstream.stages.export.choice import PARITY
from slimstream.stages.export.params import ExportParams

PARITY_CLIPS = 32
"""Clips that the network itself predicts; in PyTorch it is slower than all forms."""


@dataclass(frozen=True)
class Timing:
    """Latencies of the forms of the network in `folder`, by runtime, for one clip of the shape `clip`."""

    folder: Path
    clip: tuple[int, ...]
    speed: dict[str, Latency]


def left_out(name: str, runtime: str, reason: str) -> None:
    """Say that the form for `runtime` of the model `name` is not used, and why."""
    print(f"export: {runtime} does not run {name} and is left out ({reason}).", file=sys.stderr)


@contextmanager
def leave_out_on_error(name: str, runtime: str) -> Iterator[None]:
    """Any exception inside means that the form for `runtime` of the model `name` is not used."""
    try:
        yield
    except Exception as error:  # such as I3D for clips shorter than its windows; REFERENCE predicts all
        left_out(name, runtime, root_cause(error))


def predict(
    name: str, folder: Path, val: SplitPart, runtimes: Sequence[str], some: Sequence[int]
) -> dict[str, Floats]:
    """Probabilities (N, n) by REFERENCE and each working one of `runtimes`, of the val clips `some`."""
    networks = {REFERENCE: open_network(folder, REFERENCE)}
    for runtime in (r for r in runtimes if r != REFERENCE and not find_runtime(r).missing()):
        with leave_out_on_error(name, runtime):
            networks[runtime] = open_network(folder, runtime, at_once=cores())
    warm_up(list(networks.values()), val.median_clip())
    answers = {REFERENCE: val.predict(networks.pop(REFERENCE), f"{name}: {REFERENCE}", some)}
    for runtime, network in networks.items():
        with leave_out_on_error(name, runtime):
            answers[runtime] = val.predict(network, f"{name}: {runtime}", some)
    return answers


def measure(
    model: nn.Module,
    folder: Path,
    val: SplitPart,
    answers: Mapping[str, Floats],
    p: ExportParams,
    timings: list[Timing],
) -> list[Form]:
    """Time the forms of `model` in `folder`, and compare them and their `answers` with those of REFERENCE.

    `timings` are those of earlier networks; a new one is appended. Raises RuntimeError when the probabilities
    of REFERENCE differ from those of `model` by more than PARITY.
    """
    networks = {runtime: open_network(folder, runtime) for runtime in answers}
    clip = val.median_clip()
    warm_up(list(networks.values()), clip)
    speed = known_speed(timings, folder, clip.shape, list(networks))
    if speed is None:
        speed = latencies({r: partial(n, clip) for r, n in networks.items()}, p.latency_runs)
        timings.append(Timing(folder, clip.shape, speed))
    some = spread_indices(len(val), PARITY_CLIPS)
    with ThreadPoolExecutor(cores()) as pool:  # each of these networks uses one core
        expected = pool.submit(probabilities, model, val, some)
        predictions = {r: pool.submit(val.predict, n, f"{r}, as deployed", some) for r, n in networks.items()}
    deployed = {runtime: prediction.result() for runtime, prediction in predictions.items()}
    if not (off := largest_change(expected.result(), deployed[REFERENCE])) <= PARITY:
        raise RuntimeError(
            f"{folder}: probabilities are {off:.2g} off the network's; at most {PARITY:g} is allowed."
        )
    return [
        Form(
            runtime,
            changed=float((answers[runtime].argmax(1) != answers[REFERENCE].argmax(1)).mean()),
            off=float(np.max([largest_change(of[runtime], of[REFERENCE]) for of in (answers, deployed)])),
            megabytes=sum(file.stat().st_size for file in find_runtime(runtime).paths(folder)) / 1e6,
            latency_p50_ms=speed[runtime].p50,
            latency_p95_ms=speed[runtime].p95,
        )
        for runtime in networks
    ]


def known_speed(
    timings: Sequence[Timing], folder: Path, clip: tuple[int, ...], runtimes: Sequence[str]
) -> dict[str, Latency] | None:
    """Latencies of an earlier network with the same layers as the one in `folder`; None if there is none.

    Weights do not change the time, so networks with the same layers and clips are timed once.
    """
    for earlier in timings:
        same = earlier.clip == clip and set(earlier.speed) == set(runtimes)
        if same and have_same_layers(earlier.folder / ONNX_FILE, folder / ONNX_FILE):
            return earlier.speed
    return None


@torch.inference_mode()
def probabilities(model: nn.Module, val: SplitPart, some: Sequence[int]) -> Floats:
    """Probabilities (N, n) of the network itself for the clips with the indices `some`."""
    return softmax(np.concatenate([model(torch.from_numpy(val.batch(i))).float().numpy() for i in some]))


def largest_change(one: Floats, other: Floats) -> float:
    """Largest difference of a probability; NaN if any of them is NaN."""
    return float(np.abs(one - other).max())
