"""search: find the cheapest input and depth of a network that answers as well as the best one.

A candidate is judged on clips that it has not seen: inner folds of the train and val clips, by groups. Its
classifier is fitted in closed form to frozen features. Its cost is the time from a raw clip to the answer,
measured on this machine. The test part is never read.
"""

import json
import sys
from typing import Any

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.stages.search.candidates import Candidate, candidates, check_networks
from slimstream.stages.search.params import SearchParams
from slimstream.training.params import TrainParams

PARAMS = ["streams", "frames", "size", "depth", "backbone"]
# low and high are one-sided 95 % bounds of the loss against the best.
COLUMNS = [
    "candidate",
    *PARAMS,
    *("macro_f1", "loss", "low", "high", "decode_ms", "flow_ms", "network_ms", "file_to_answer_ms"),
    *("megabytes", "macs", "on_front", "chosen"),
]
"""Columns of plots/search.csv."""


def run(
    search: SearchParams,
    extract: ExtractParams,
    train__model: str,
    train__model_args: dict[str, Any],
    export__runtimes: list[str],
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Write the choice and the table; returns scores and costs of the chosen and the best candidate.

    With one candidate nothing is measured, and nothing is returned.
    """
    found: list[Candidate] = []
    if search.active:
        found = candidates(search, extract, train__model, train__model_args)
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {"tried": len(found)}
    if len(found) > 1:
        from slimstream.stages.search.trials import try_all  # torch takes seconds to import

        rows, judged = try_all(found, search, extract, train__model_args, export__runtimes, paths)
        result |= judged
        print(f"search: {judged['chosen']['title']}: {judged['why']}", file=sys.stderr)
    else:
        only = found[0].describe(extract, train__model_args) if found else None
        result |= {"chosen": only, "best": only, "why": "one candidate: nothing to search."}
    _write_table(rows, paths)
    paths.search.parent.mkdir(parents=True, exist_ok=True)
    paths.search.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    measured = ("macro_f1", "file_to_answer_ms", "megabytes")
    named = {name: result[name] for name in ("chosen", "best")} if rows else {}
    return ({"candidates": float(len(rows))} if rows else {}) | {
        f"{name}.{key}": float(one[key]) for name, one in named.items() for key in measured
    }


def _write_table(rows: list[dict[str, Any]], paths: Paths) -> None:
    import pandas as pd

    paths.curves("search").parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.curves("search"), index=False)


def trials(paths: Paths) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Each candidate of the last run for tracking: its name, its parameters and its metrics."""
    import pandas as pd

    table = pd.read_csv(paths.curves("search"))
    metrics = ["macro_f1", "loss", "high", "decode_ms", "flow_ms", "network_ms", "file_to_answer_ms"]
    # `chosen` is a metric, 1 or 0: as a parameter it would take one of the axes of MLflow's charts.
    return [
        (
            str(row["candidate"]),
            {name: row[name] for name in PARAMS},
            {name: float(row[name]) for name in [*metrics, "megabytes", "macs", "on_front", "chosen"]},
        )
        for row in table.to_dict("records")
    ]


def preflight(
    search: SearchParams, train: TrainParams, extract: ExtractParams, distill__attention: float
) -> None:
    """Raise UserError for an axis that cannot be searched, and candidates that the packs cannot serve.

    Attention transfer compares maps stream by stream, so that it needs one choice of streams for all.
    """
    if not search.active:
        return
    found = candidates(search, extract, train.model, train.model_args)
    check_networks(found, extract, train.model_args)
    own = candidates(SearchParams(), extract, train.model, train.model_args)
    if distill__attention and len({one.streams for one in (*found, *own)}) > 1:
        raise UserError(
            "params.yaml: distill.attention compares maps of networks that see the same streams, and "
            "search.streams names others than those of train.model; set distill.attention to 0."
        )
