"""search: find the cheapest input and depth of a network that answers as well as the best one.

A candidate is judged on clips that it has not seen. Without epochs its classifier is fitted in closed form to
frozen features, on inner folds of the train and val clips, by groups. With epochs it is trained for few of
them on the train clips, by successive halving, and judged on the val clips. Its cost is the time from a raw
clip to the answer, measured on this machine. The test part is never read.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any, cast

from slimstream.clips.params import ExtractParams
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import Log
from slimstream.stages.search.candidates import AnyCandidate, Candidate, candidates, describe
from slimstream.stages.search.params import SearchParams
from slimstream.training.params import TrainParams

PARAMS = ("model", "streams", "frames", "size", "depth", "grid", "backbone")
# low and high are one-sided 95 % bounds of the loss against the best.
MEASURED = (
    *("macro_f1", "loss", "low", "high", "decode_ms", "flow_ms", "network_ms", "file_to_answer_ms"),
    *("spread_ms", "megabytes", "macs"),
)
COLUMNS = ["candidate", *PARAMS, "epochs", *MEASURED, "on_front", "chosen"]
"""Columns of plots/search.csv."""


def run(
    search: SearchParams,
    extract: ExtractParams,
    train: TrainParams,
    export__runtimes: list[str],
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Write the choice and the table; returns scores and costs of the chosen and the best candidate.

    With one candidate nothing is measured, and nothing is returned.
    """
    found: list[AnyCandidate] = []
    if search.active:
        found = candidates(search, extract, train.model, train.model_args, train.fit.epochs)
    rows: list[dict[str, Any]] = []
    result: dict[str, Any] = {"tried": len(found)}
    if len(found) > 1:
        rows, judged = _try(found, search, extract, train, export__runtimes, paths)
        result |= {"tried": len(rows), **judged}
        print(f"search: {judged['chosen']['title']}: {judged['why']}", file=sys.stderr)
    else:
        only = describe(found[0], extract, train.model_args) if found else None
        result |= {"chosen": only, "best": only, "why": "one candidate: nothing to search."}
    _write_table(rows, paths)
    paths.search.parent.mkdir(parents=True, exist_ok=True)
    paths.search.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    measured = ("macro_f1", "file_to_answer_ms", "megabytes")
    named = {name: result[name] for name in ("chosen", "best")} if rows else {}
    return ({"candidates": float(len(rows))} if rows else {}) | {
        f"{name}.{key}": float(one[key]) for name, one in named.items() for key in measured
    }


def _try(
    found: list[AnyCandidate],
    search: SearchParams,
    extract: ExtractParams,
    train: TrainParams,
    runtimes: list[str],
    paths: Paths,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    # torch takes seconds to import
    if train.fit.epochs:
        from slimstream.stages.search.halving import try_by_halving

        return try_by_halving(found, search, extract, train, runtimes, paths)
    from slimstream.stages.search.trials import try_all

    frozen = cast(list[Candidate], found)  # without epochs there are no others
    return try_all(frozen, search, extract, train.model_args, runtimes, paths)


def _write_table(rows: list[dict[str, Any]], paths: Paths) -> None:
    import pandas as pd

    paths.curves("search").parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(paths.curves("search"), index=False)


def trials(paths: Paths) -> list[tuple[str, dict[str, Any], dict[str, float]]]:
    """Each candidate of the last run for tracking: its name, its parameters and its metrics.

    Left out are the depth, grid and backbone of networks without, and the loss of what was left behind.
    """
    import pandas as pd

    table = pd.read_csv(paths.curves("search"))
    # `chosen` is a metric, 1 or 0: as a parameter it would take one of the axes of MLflow's charts.
    return [
        (
            str(row["candidate"]),
            {name: row[name] for name in [*PARAMS, "epochs"] if pd.notna(row[name])},
            {name: float(row[name]) for name in [*MEASURED, "on_front", "chosen"] if pd.notna(row[name])},
        )
        for row in table.to_dict("records")
    ]


def preflight(
    search: SearchParams,
    train: TrainParams,
    extract: ExtractParams,
    distill__attention: float,
    publish__models: Sequence[str],
) -> None:
    """Raise UserError for an axis that cannot be searched, and candidates that the packs cannot serve.

    Attention transfer compares maps stream by stream, so that it needs one choice of streams and networks.
    `publish__models` may not name the network of the search alone where nothing is searched.
    """
    if not search.active:
        if list(publish__models) == ["slim"]:
            raise UserError(
                "params.yaml: publish.models names only slim, the network that search finds, and search has "
                "nothing to try; give it lists (search.frames, search.sizes …), or name pruned or distilled."
            )
        return
    from slimstream.stages.search.checks import check_networks  # torch takes seconds to import

    found = candidates(search, extract, train.model, train.model_args, train.fit.epochs)
    check_networks(found, extract, train)
    own = candidates(SearchParams(), extract, train.model, train.model_args, train.fit.epochs)
    seen = {(one.streams, isinstance(one, Candidate) or one.name) for one in (*found, *own)}
    if distill__attention and len(seen) > 1:
        raise UserError(
            "params.yaml: distill.attention compares maps of networks that see the same streams, and search "
            "names other streams or networks than train; set distill.attention to 0."
        )
