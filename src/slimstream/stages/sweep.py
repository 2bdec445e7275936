"""sweep: the network pruned at several rates, each as `prune` does it: what is lost for how much time.

Quality is that on validation clips, latency that of the exported network in 32-bit floats. The curve is there
to be looked at: `prune` goes by its own settings.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.core.errors import UserError
from slimstream.core.files import whole
from slimstream.core.fingerprint import fingerprint
from slimstream.core.params import Params, Prune, Runtime
from slimstream.core.paths import Paths
from slimstream.core.progress import Log

if TYPE_CHECKING:
    from slimstream.models.latency import Latency
    from slimstream.training.study import Study

# `rate` is what was asked for, `removed` the share of channels that really went.
COLUMNS = ["rate", "removed", "params", "macs", "latency_p50_ms", "val_macro_f1", "val_accuracy"]


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.sweep
    shutil.rmtree(paths.sweep.with_suffix(""), ignore_errors=True)
    paths.sweep.with_suffix("").mkdir(parents=True)
    rows = {}
    if p.rates:
        from slimstream.training.study import Study  # torch takes seconds to import

        study = Study.open(params.extract, paths)
        weights = [paths.model("original") / name for name in ("model.json", "weights.safetensors")]
        key = fingerprint([params.prune.model_dump_json()], [*weights, paths.packs / "index.parquet"])
        work = paths.work("sweep", key)
        for rate in (0.0, *sorted(set(p.rates))):
            rows[rate] = _at(rate, params.prune, study, work / f"{rate:g}", log)
            study.forget()
        clip = study.example().numpy()
        for rate in filter(None, rows):
            shutil.copy(work / f"{rate:g}/curves.csv", paths.curves(f"sweep/{rate:g}"))
        speed = _speed({f"{rate:g}": work / f"{rate:g}" for rate in rows}, clip, p.latency_runs)
        for rate, row in rows.items():
            row["latency_p50_ms"] = speed[f"{rate:g}"].p50
        shutil.rmtree(work)
    table = pd.DataFrame(rows.values(), columns=COLUMNS)
    table.to_csv(paths.sweep, index=False)
    return {f"{row['rate']:g}.{key}": row[key] for row in rows.values() for key in COLUMNS[1:]}


def _at(rate: float, p: Prune, study: "Study", work: Path, log: Log) -> dict[str, float]:
    """One point, without its latency; its network is exported into `work`. What is done is not done again."""
    from slimstream.models import create_model
    from slimstream.models.checkpoint import load_model
    from slimstream.models.cost import measure
    from slimstream.runtimes.export import export
    from slimstream.stages.prune.stage import compress
    from slimstream.training.study import named

    done = work / "row.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    model, _ = load_model(study.paths.model("original"), create_model)
    removed = 0.0
    if rate:
        p = p.model_copy(update={"rate": rate, "target_params": None})
        removed = compress(model, study, p)[0].effective_rate
        name = f"sweep/{rate:g}"
        objective = study.objective(model, p.fit)
        of = study.paths.model("original") / "weights.safetensors"
        study.fit(name, model, objective, p.fit, named(log, f"{rate:g}"), inputs=[of], settings=[p])
        work.mkdir(parents=True, exist_ok=True)
        study.paths.curves(name).replace(work / "curves.csv")
    count, macs = measure(model, tuple(study.example().shape))
    export(model, [study.example().numpy()], work, ["openvino"])
    cost = {"params": float(count), "macs": float(macs)}
    row = study.validate(model) | {"rate": rate, "removed": removed} | cost
    with whole(done) as file:
        file.write_text(json.dumps(row))
    return row


def _speed(folders: Mapping[str, Path], clip: npt.NDArray[np.uint8], runs: int) -> "dict[str, Latency]":
    """All in one runtime, or they could not be compared: OpenVINO, or ONNX where it does not run them."""
    from slimstream.models.latency import latencies
    from slimstream.runtimes.base import open_network

    runtimes: tuple[Runtime, ...] = ("openvino", "onnx")
    for runtime in runtimes:
        with suppress(RuntimeError, UserError):
            return latencies(
                {name: partial(open_network(folder, runtime), clip) for name, folder in folders.items()}, runs
            )
    raise RuntimeError("neither OpenVINO nor ONNX Runtime runs the exported networks")
