"""Times of all candidates from a raw clip to the answer: decoding, optical flow, network; on one thread.

The fastest of several runs counts. Other load on the machine only adds to a time, and candidates that are
timed minutes apart must be comparable. The spread of such a time is the gap to the second fastest run: so
much, on average, a few runs miss the time that very many would reach (Robson & Whitlock, "Estimation of a
truncation point", 1964).
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.core.files import atomic_write
from slimstream.core.progress import progress_bar
from slimstream.models import create_model
from slimstream.models.cost import count_macs
from slimstream.models.latency import time_calls
from slimstream.runtimes.openvino import has_bf16
from slimstream.stages.search.candidates import AnyCandidate
from slimstream.stages.search.compiled import compiled, convert, megabytes
from slimstream.stages.search.params import SearchParams
from slimstream.training.metrics.classification import Floats

ROUNDS = 5
"""Times that each clip is packed for each input."""

Row = dict[str, float]


def total_costs(
    candidates: Sequence[AnyCandidate],
    extract: ExtractParams,
    args: Mapping[str, Any],
    classes: int,
    lengths: Sequence[int],
    files: Sequence[Path],
    search: SearchParams,
    precision: str,
    work: Path,
) -> list[Row]:
    """`packing_times` and `network_times` of each candidate, and of both together `file_to_answer_ms`.

    `spread_ms` is the spread of this sum.
    """
    done = work / "times"
    packing = packing_times(candidates, extract, files, done)
    nets = network_times(candidates, extract, args, classes, lengths, search, precision, done)
    return [
        {
            **time,
            **net,
            "file_to_answer_ms": time["decode_ms"] + time["flow_ms"] + net["network_ms"],
            "spread_ms": time["spread_ms"] + net["spread_ms"],
        }
        for time, net in zip(packing, nets, strict=True)
    ]


def packing_times(
    candidates: Sequence[AnyCandidate], extract: ExtractParams, files: Sequence[Path], done: Path
) -> list[Row]:
    """`decode_ms` and `flow_ms` of each candidate: mean over the raw clips `files`, packed as it needs them.

    `spread_ms` is the spread of their sum. What flow costs is the difference to packing the same frames
    without it. All inputs are timed in turns.
    """
    inputs = {one: one.input(extract) for one in candidates}
    alone = {one: _without_flow(found) for one, found in inputs.items()}
    needed = {found.model_dump_json(): found for found in (*inputs.values(), *alone.values())}
    file = done / "packing.json"
    if not file.exists():
        _write_json(file, _time_packing(needed, files))
    spent = json.loads(file.read_text())
    rows = []
    for one in candidates:
        (whole, spread), (decoding, _) = (spent[found[one].model_dump_json()] for found in (inputs, alone))
        decoding = min(decoding, whole)
        rows.append({"decode_ms": decoding, "flow_ms": whole - decoding, "spread_ms": spread})
    return rows


def network_times(
    candidates: Sequence[AnyCandidate],
    extract: ExtractParams,
    args: Mapping[str, Any],
    classes: int,
    lengths: Sequence[int],
    search: SearchParams,
    precision: str,
    done: Path,
) -> list[Row]:
    """`network_ms`, its `spread_ms`, `megabytes` and `macs` of each candidate; `lengths` are of the clips.

    `precision` is that of `deployed_precision`.

    Networks that differ only in frames and picture size are exported once, and timed in turns.
    """
    of_network: dict[tuple[Any, ...], list[AnyCandidate]] = {}
    for one in candidates:
        of_network.setdefault(one.network, []).append(one)
    rows: dict[AnyCandidate, Row] = {}
    for network, group in progress_bar(of_network.items(), "networks timed", len(of_network)):
        file = done / ("-".join(map(str, network)) + ".json")
        if not file.exists():
            found = _time_networks(group, extract, args, classes, lengths, search, precision, done / "export")
            _write_json(file, found)
        rows |= dict(zip(group, json.loads(file.read_text()), strict=True))
    return [rows[one] for one in candidates]


def clip_shape(
    one: AnyCandidate, extract: ExtractParams, lengths: Sequence[int]
) -> tuple[int, int, int, int, int]:
    """(1, T, C, H, W) of what it sees of a clip of typical length, of packs of `lengths` frames."""
    typical = int(np.median(lengths))
    return 1, min(one.frames or typical, typical), one.input(extract).channels, *one.size


def deployed_precision(runtimes: Sequence[str]) -> str:
    """The fastest numbers, 'bf16' or 'f32', in which one of `runtimes` computes a network on this processor.

    The stage `export` deploys the fastest of these forms that answers as the network does. Networks in 8 bits
    are not timed: to calibrate them takes a minute each.
    """
    return "bf16" if "openvino-bf16" in runtimes and has_bf16() else "f32"


def _time_packing(
    needed: Mapping[str, NetworkInput], files: Sequence[Path]
) -> dict[str, tuple[float, float]]:
    """Milliseconds a clip and their spread, by input.

    Inputs and clips take turns, so that other load affects all equally.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        spent = np.empty((ROUNDS, len(files), len(needed)))
        pack_clip(files[0], next(iter(needed.values())))  # warm up
        turns = [(i, j) for i in range(ROUNDS) for j in range(len(files))]
        for i, j in progress_bar(turns, "packing timed", len(turns)):
            spent[i, j] = time_calls([partial(pack_clip, files[j], found) for found in needed.values()])
    finally:
        cv2.setNumThreads(threads)
    fastest, spread = (each.mean(0).tolist() for each in _fastest(spent))
    return dict(zip(needed, zip(fastest, spread, strict=True), strict=True))


def _fastest(spent: Floats) -> tuple[Floats, Floats]:
    """The fastest of the runs (R, …), and how much longer the second fastest took."""
    first, second = np.sort(spent, axis=0)[:2]
    return first, second - first


def _time_networks(
    group: Sequence[AnyCandidate],
    extract: ExtractParams,
    args: Mapping[str, Any],
    classes: int,
    lengths: Sequence[int],
    search: SearchParams,
    precision: str,
    folder: Path,
) -> list[Row]:
    model = create_model(group[0].model(args)[0], classes, **group[0].model(args)[1]).eval()
    shapes = [clip_shape(one, extract, lengths) for one in group]
    graph = convert(model, shapes[0])
    rng = np.random.default_rng(0)
    calls = [
        partial(compiled(graph, shape, 1, precision), rng.integers(0, 256, shape, np.uint8))
        for shape in shapes
    ]
    spent = _fastest(np.array([time_calls(calls) for _ in range(search.latency_runs)]))
    size = megabytes(graph, folder)
    return [
        {
            # A video that is cut into several clips is answered once for each.
            "network_ms": extract.clips * float(fastest),
            "spread_ms": extract.clips * float(spread),
            "megabytes": size,
            "macs": float(extract.clips * count_macs(model, shape)),
        }
        for fastest, spread, shape in zip(*spent, shapes, strict=True)
    ]


def _without_flow(found: NetworkInput) -> NetworkInput:
    """The same frames and size without flow."""
    if not found.sees_flow:
        return found
    reduction = found.reduce or Reduction()
    return found.model_copy(update={"reduce": reduction.model_copy(update={"streams": "rgb"})})


def _write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as half:
        half.write_text(json.dumps(content))
