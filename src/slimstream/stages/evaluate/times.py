"""Times from a raw file to the answer, and intervals of their ratios.

What takes the same time by construction is measured once: the preparation for equal inputs, and networks that
differ in their weights only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import NetworkInput
from slimstream.core.paths import Paths
from slimstream.models.latency import Latency, percentiles, time_calls, time_in_turns
from slimstream.runtimes.onnx import FILE as ONNX_FILE
from slimstream.runtimes.same_body import have_same_layers
from slimstream.runtimes.split_part import spread_indices
from slimstream.stages.evaluate.deployed import Prediction
from slimstream.training.metrics.intervals import percentile_interval

PREPARED_CLIPS = 5
"""Number of raw clips whose preparation (decoding and flow) is timed."""
RESAMPLES = 2000
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Times:
    """Single timed calls of one model in ms, in one thread. Those of two models are paired by position."""

    calls: Sequence[float]
    """Of its network, on one clip."""
    files: Sequence[float]
    """Of the preparation of raw files."""
    clips: int
    """Clips that its network sees of a file."""

    @property
    def network(self) -> Latency:
        return percentiles(self.calls)

    @property
    def prepare(self) -> Latency:
        return percentiles(self.files)

    @property
    def total(self) -> Latency:
        """From a raw file to the answer."""
        network, prepare = self.network, self.prepare
        return Latency(*(self.clips * getattr(network, p) + getattr(prepare, p) for p in ("p50", "p95")))


def time_models(
    results: Sequence[Prediction], files: list[Path], runs: int, paths: Paths
) -> dict[str, Times]:
    """Time the networks of all `results` on one clip, `runs` times each, and the preparation of `files`."""
    alike = share_timings(results, paths)
    timed = {r.name: partial(r.deployed, r.example) for r in results if alike[r.name] == r.name}
    calls = time_in_turns(timed, runs)
    prepared = time_preparations(files, [r.card.network_input for r in results])
    return {
        r.name: Times(calls[alike[r.name]], spent, r.card.network_input.clips)
        for r, spent in zip(results, prepared, strict=True)
    }


def share_timings(results: Sequence[Prediction], paths: Paths) -> dict[str, str]:
    """For each model the first one whose network has the same layers, form and input; often itself."""
    first: dict[str, str] = {}
    for r in results:
        key = (r.form.runtime, r.example.shape, r.card.params, r.card.macs)
        file = paths.export(r.name) / ONNX_FILE
        first[r.name] = next(
            (
                other.name
                for other in results
                if first.get(other.name) == other.name
                and key == (other.form.runtime, other.example.shape, other.card.params, other.card.macs)
                and have_same_layers(paths.export(other.name) / ONNX_FILE, file)
            ),
            r.name,
        )
    return first


def time_preparations(files: list[Path], inputs: list[NetworkInput]) -> list[tuple[float, ...]]:
    """Times in ms of preparing some of the raw `files`, by decoding and optical flow, for each of `inputs`.

    Inputs take turns on each file, so that other load on the machine affects all equally. Each file is read
    once before: else only the first input would wait for the disk. Equal inputs are timed once.
    """
    needed = {input.model_dump_json(): input for input in inputs}
    chosen = [files[i] for i in spread_indices(len(files), PREPARED_CLIPS)]
    for file in chosen:
        pack_clip(file, inputs[0])
    spent = [time_calls([partial(pack_clip, file, input) for input in needed.values()]) for file in chosen]
    times = dict(zip(needed, zip(*spent, strict=True), strict=True))
    return [times[input.model_dump_json()] for input in inputs]


def ratio_intervals(mine: Times, whole: Times, seed: int) -> dict[str, float]:
    """95 % bootstrap intervals of the model's times as shares of those of `whole`.

    `latency_ratio` is that of the network on one clip, `file_to_answer_ratio` that of a raw file, each with
    `_low` and `_high`. The same turns and files are drawn for both models.
    """
    rng = np.random.default_rng(seed)
    turns, files = (
        rng.integers(len(measured), size=(RESAMPLES, len(measured))) for measured in (mine.calls, mine.files)
    )

    def medians(measured: Sequence[float], drawn: npt.NDArray[np.int64]) -> Floats:
        return np.asarray(np.median(np.asarray(measured)[drawn], axis=1))

    networks = [medians(times.calls, turns) for times in (mine, whole)]
    totals = [
        times.clips * network + medians(times.files, files)
        for times, network in zip((mine, whole), networks, strict=True)
    ]
    row = {}
    for name, (one, other) in (("latency_ratio", networks), ("file_to_answer_ratio", totals)):
        row[f"{name}_low"], row[f"{name}_high"] = percentile_interval(one / other)
    return row
