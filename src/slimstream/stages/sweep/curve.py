"""The points of the curve: the network pruned at each rate, fine-tuned, exported and timed."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.core.fingerprint import fingerprint
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.models import create_model
from slimstream.models.checkpoint import load_card, load_model
from slimstream.models.cost import measure
from slimstream.models.latency import Latency, latencies
from slimstream.runtimes import open_network
from slimstream.runtimes.base import warm_up
from slimstream.runtimes.export import export
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.prune.stage import at_rate, compress
from slimstream.stages.sweep.params import SweepParams
from slimstream.training.study import Study, prefixed_log


def curve(
    sweep: SweepParams, prune: PruneParams, extract: ExtractParams, paths: Paths, log: Log
) -> list[dict[str, float]]:
    """A row for the network that is pruned (rate 0) and one for each rate, ascending.

    It is the one that `search` chose where there is one, else the original. A killed run continues with the
    first unfinished rate.
    """
    parent = paths.model(paths.uncompressed())
    study = Study.open(extract, paths).seen_with(load_card(parent).network_input)
    weights = [parent / name for name in ("model.json", "weights.safetensors")]
    key = fingerprint("sweep", [prune.model_dump_json()], [*weights, paths.packs / "index.parquet"])
    work = paths.resume_folder("sweep", key)
    rows = {}
    for rate in (0.0, *sorted(set(sweep.rates))):
        rows[rate] = _at(rate, prune, study, work / f"{rate:g}", log)
        study.remove_finished()
    for rate in filter(None, rows):
        shutil.copy(work / f"{rate:g}/curves.csv", paths.curves(f"sweep/{rate:g}"))
    clip = study.example().numpy()
    speed = _speed({f"{rate:g}": work / f"{rate:g}" for rate in rows}, clip, sweep.latency_runs)
    for rate, row in rows.items():
        row["latency_p50_ms"] = speed[f"{rate:g}"].p50
    shutil.rmtree(work)
    return list(rows.values())


def _at(rate: float, p: PruneParams, study: Study, work: Path, log: Log) -> dict[str, float]:
    """One point without its latency; its network is exported into `work`. A finished point is only read."""
    done = work / "row.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    parent = study.paths.uncompressed()
    model, _ = load_model(study.paths.model(parent), create_model)
    removed = 0.0
    if rate:
        p = at_rate(p, rate)
        removed = compress(model, study, p, parent)[0].effective_rate
        name = f"sweep/{rate:g}"
        objective = study.build_objective(model, p.fit)
        of = study.paths.model(parent) / "weights.safetensors"
        to = prefixed_log(log, f"{rate:g}")
        study.fit(name, model, objective, p.fit, to, stage="sweep", inputs=[of], settings=[p])
        work.mkdir(parents=True, exist_ok=True)
        study.paths.curves(name).replace(work / "curves.csv")
    count, macs = measure(model, tuple(study.example().shape))
    export(model, [study.example().numpy()], work, ["openvino"])
    cost = {"params": float(count), "macs": float(macs)}
    row = study.validate(model) | {"rate": rate, "removed": removed} | cost
    with atomic_write(done) as file:
        file.write_text(json.dumps(row))
    return row


def _speed(folders: Mapping[str, Path], clip: npt.NDArray[np.uint8], runs: int) -> dict[str, Latency]:
    """Latencies of all networks in one runtime, for comparison: OpenVINO, or ONNX if OpenVINO fails.

    `clip` is (1, T, C, H, W) uint8. Raises RuntimeError when neither runs them all.
    """
    for runtime in ("openvino", "onnx"):
        with suppress(RuntimeError, UserError):
            networks = {name: open_network(folder, runtime) for name, folder in folders.items()}
            warm_up(list(networks.values()), clip)
            return latencies({name: partial(network, clip) for name, network in networks.items()}, runs)
    raise RuntimeError("neither OpenVINO nor ONNX Runtime runs the exported networks")
