"""sweep: quality and latency of the network pruned at several rates, each with the settings of `prune`.

Quality is measured on validation clips, latency on the exported network in 32-bit floats. The curve is for
people to look at; no later stage reads it.
"""

import shutil

import pandas as pd

from slimstream.clips.params import ExtractParams
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.stages.prune.params import PruneParams
from slimstream.stages.sweep.params import SweepParams
from slimstream.training.params import TrainParams

# `rate` is the requested share of channels, `removed` the share that was removed.
COLUMNS = ["rate", "removed", "params", "macs", "latency_p50_ms", "val_macro_f1", "val_accuracy"]


def run(
    sweep: SweepParams, prune: PruneParams, extract: ExtractParams, paths: Paths, log: Log
) -> dict[str, float]:
    """Write the table and the curves of all rates; returns the columns of COLUMNS as "<rate>.<column>"."""
    shutil.rmtree(paths.sweep.with_suffix(""), ignore_errors=True)
    paths.sweep.with_suffix("").mkdir(parents=True)
    rows = []
    if sweep.rates:
        from slimstream.stages.sweep.curve import curve  # torch takes seconds to import

        rows = curve(sweep, prune, extract, paths, log)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.sweep, index=False)
    return {f"{row['rate']:g}.{key}": row[key] for row in rows for key in COLUMNS[1:]}


def preflight(sweep: SweepParams, prune: PruneParams, train: TrainParams, extract: ExtractParams) -> None:
    """Raise UserError when the network of `train` cannot be pruned at the highest of the rates."""
    if sweep.rates:
        from slimstream.stages.prune.stage import check_compression

        check_compression({"sweep.rates": max(sweep.rates)}, None, prune, train, extract)
