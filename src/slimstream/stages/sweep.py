"""sweep: the network pruned at several rates, each as `prune` does it: what is lost for how much time.

Quality is that on validation clips, latency that of the exported network in 32-bit floats. The curve is there
to be looked at: `prune` goes by its own settings.
"""

import json
import shutil
from functools import partial
from pathlib import Path

import pandas as pd

from slimstream.fingerprint import fingerprint
from slimstream.learn.checkpoint import load_model
from slimstream.learn.cost import measure
from slimstream.learn.export import export
from slimstream.learn.latency import latencies
from slimstream.learn.runtimes import open_network
from slimstream.models import create_model
from slimstream.params import Params, Prune
from slimstream.paths import Paths
from slimstream.progress import Log
from slimstream.stages.prune import compress
from slimstream.stages.training import Study, named

COLUMNS = ["rate", "params", "macs", "latency_p50_ms", "val_macro_f1", "val_accuracy"]


def run(params: Params, paths: Paths, log: Log) -> dict[str, float]:
    p = params.sweep
    shutil.rmtree(paths.sweep.with_suffix(""), ignore_errors=True)
    paths.sweep.with_suffix("").mkdir(parents=True)
    rows = {}
    if p.rates:
        study = Study.open(params.extract, paths)
        weights = [paths.model("original") / name for name in ("model.json", "weights.safetensors")]
        key = fingerprint([params.prune.model_dump_json()], [*weights, paths.packs / "index.parquet"])
        work = paths.work("sweep", key)
        for rate in (0.0, *sorted(set(p.rates))):
            rows[rate] = _at(rate, params.prune, study, work / f"{rate:g}", log)
        clip = study.example().numpy()
        speed = latencies(
            {f"{r:g}": partial(open_network(work / f"{r:g}", "openvino"), clip) for r in rows}, p.latency_runs
        )
        for rate, row in rows.items():
            row["latency_p50_ms"] = speed[f"{rate:g}"].p50
        study.forget()
        shutil.rmtree(work)
    table = pd.DataFrame(rows.values(), columns=COLUMNS)
    table.to_csv(paths.sweep, index=False)
    return {f"{row['rate']:g}.{key}": row[key] for row in rows.values() for key in COLUMNS[1:]}


def _at(rate: float, p: Prune, study: Study, work: Path, log: Log) -> dict[str, float]:
    """One point, without its latency; its network is exported into `work`. What is done is not done again."""
    done = work / "row.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    model, _ = load_model(study.paths.model("original"), create_model)
    if rate:
        p = p.model_copy(update={"rate": rate, "target_params": None})
        compress(model, study, p)
        name = f"sweep/{rate:g}"
        objective = study.objective(model, p.fit)
        study.fit(name, model, objective, p.fit, named(log, f"{rate:g}"), settings=[p])
    count, macs = measure(model, tuple(study.example().shape))
    export(model, [study.example().numpy()], work, ["openvino"])
    row = study.validate(model) | {"rate": rate, "params": float(count), "macs": float(macs)}
    done.write_text(json.dumps(row))
    return row
