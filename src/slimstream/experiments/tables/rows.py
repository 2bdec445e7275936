"""The rows of a table: as lines of a CSV file and of Markdown, and sentences about them."""

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from math import nan
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from slimstream.core.paths import TEACHERS
from slimstream.experiments.tables.claims import judge
from slimstream.experiments.tables.protocols import FLATTERS, Protocol
from slimstream.experiments.tables.results import Interval, Seeds, by_fold, interval
from slimstream.experiments.tables.spec import PRINTED_AS, Claim, Metric, Row, Spec, Table
from slimstream.pipeline.params import Params

METRICS: tuple[str, ...] = get_args(Metric)


def csv_row(protocol: Protocol, row: Row, seeds: Seeds) -> dict[str, Any]:
    """One line of the CSV."""
    spec, budget = protocol.spec, protocol.budget
    found: dict[str, Any] = {"row": row.name, "model": row.model, "budget": budget, "state": "not run"}
    if seeds:
        units = len({cell.fold for cells in seeds for cell in cells})
        many = len(seeds) if protocol.unit == "fold" else 1
        found |= {"state": "run", "seeds": many, f"{protocol.unit}s": units}
        counted = f"{units} {protocol.unit}{'s' * (units != 1)}"
        found["runs"] = f"{many} × {counted}" if protocol.unit == "fold" else counted
        for metric in METRICS:
            if not any(metric in cell.scores for cells in seeds for cell in cells):
                continue  # of a class of defects that these clips do not have
            score = interval(list(by_fold(seeds, metric).values()), protocol.overlap)
            low, high = max(score.low, 0.0), min(score.high, 1.0)  # the t interval may exceed 0..1
            found |= {metric: score.mean, f"{metric}_low": low, f"{metric}_high": high}
        every = [cell for cells in seeds for cell in cells]
        # With a target of parameters, folds may differ by a channel after pruning.
        found |= {name: float(np.mean([cell.scores[name] for cell in every])) for name in ("params", "macs")}
        timed = [cell.scores["latency_p50_ms"] for cell in every if "latency_p50_ms" in cell.scores]
        found |= {"latency_p50_ms": timed[0] if timed else nan}
        # The median over cells: a training that was paused or ran beside others would distort a mean.
        found |= {"train_seconds": float(np.median([cell.training for cell in every]))}
        found |= {"pretrained": "yes" if every[0].scores["pretrained"] else "no"}
        found |= {
            name: ", ".join(sorted({cell.scores[name] for cell in every if cell.scores.get(name)}))
            for name in ("device", "version")
        }
    elif row.count:
        found |= {"state": "counted", "pretrained": "", **network_cost(spec, row, budget)}
    found |= {"configurations": row.configurations}
    return found | {"paper": "; ".join(f"{name} {value}" for name, value in row.paper.items())}


def network_cost(spec: Spec, row: Row, budget: str) -> dict[str, int]:
    """Parameters and MACs for one frame of a row's network; no weights are created.

    Empty for a network that only a run makes, as a pruned one.
    """
    p = spec.params(row, budget)
    if (network := _network(p, row.model)) is None:
        return {}
    name, args = network
    params, macs = _measured(name, json.dumps(args), (1, 1, p.extract.channels, *p.extract.size))
    return {"params": params, "macs": macs}


def _network(p: Params, model: str) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of the network of `model`, if the settings alone say what it is."""
    if model.startswith(TEACHERS):
        teacher = p.teachers[model.removeprefix(TEACHERS)]
        return teacher.model, teacher.model_args
    if model == "original" or (model in ("control", "distilled") and p.distill.student == "scratch"):
        return p.train.model, p.train.model_args
    return None


@cache  # tables are written after each row, and building large networks is slow
def _measured(name: str, args: str, shape: tuple[int, ...]) -> tuple[int, int]:
    import torch

    from slimstream.models import create_model
    from slimstream.models.cost import measure

    with torch.device("meta"):
        return measure(create_model(name, 3, **json.loads(args) | {"pretrained": False}), shape)


SCORES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "defect_precision": "precision of the defects",
    "defect_recall": "recall of the defects",
}
"""Columns of scores, and their titles."""
COLUMNS = (
    "the paper's",
    "parameters",
    "MACs",
    "ONNX, one thread, p50",
    "one training",
    "on",
    "pretrained",
    "runs",
)


def markdown(csv: pd.DataFrame, flattered: Mapping[str, Interval]) -> list[str]:
    """The lines of a Markdown table; `flattered` are accuracies as printed."""
    shown = {m: title for m, title in SCORES.items() if m in csv or not m.startswith("defect_")}
    more = [f"accuracy, split as printed ({FLATTERS})"] * bool(flattered)
    columns = ("row", *shown.values(), *COLUMNS, *more)
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in csv.to_dict("records"):
        run = row["state"] == "run"
        scores = [
            str(Interval(row[m], row[f"{m}_low"], row[f"{m}_high"])) if run else row["state"] for m in shown
        ]
        cost = [
            _si(row.get("params"), 1e6, "M"),
            _si(row.get("macs"), 1e9, "G"),
            _si(row.get("latency_p50_ms"), 1, "ms"),
            _si(row.get("train_seconds"), 60, "min"),
        ]
        kind = [""] * 3
        if run:
            kind = [row["device"], row["pretrained"], row["runs"]]
        if flattered:
            kind.append(str(flattered.get(row["row"], "")))
        lines.append(f"| {' | '.join([row['row'], *scores, row['paper'], *cost, *kind])} |")
    return lines


def read_accuracy(file: Path) -> dict[str, Interval]:
    """The accuracy of every row of a CSV of results that has been run."""
    if not file.exists():
        return {}
    csv = pd.read_csv(file)
    run = csv[csv["state"] == "run"]
    return {
        row["row"]: Interval(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
        for row in run.to_dict("records")
    }


def versions(rows: Mapping[str, Seeds]) -> list[str]:
    """Lines of a paragraph that names the versions of the code that made the cells of a table."""
    every = [cell for seeds in rows.values() for cells in seeds for cell in cells]
    count = Counter(cell.scores.get("version") or "not in git" for cell in every)
    said = ", ".join(f"{version} ({number})" for version, number in sorted(count.items()))
    return ["", f"Made by these versions of the code (number of cells): {said}."] if said else []


def _si(value: float | None, unit: float, name: str) -> str:
    return "" if value is None or value != value else f"{value / unit:.3g} {name}"


def order_line(protocol: Protocol, name: str, table: Table, done: Mapping[str, Seeds]) -> str:
    """A sentence on the order of the rows; "" when the paper gives too few scores or a claim is about it.

    The order is by the first of accuracy and precision that the paper gives for at least two rows.
    """
    for metric in ("accuracy", "macro_precision"):
        claim = Claim.model_construct(says="", table=name, ordered=True, metric=metric)
        if not list(claim.pairs(table)):
            continue
        if any(c.ordered and c.table == name for c in protocol.spec.claims):
            return ""
        found = judge(claim, table, done, lambda *_: {}, protocol.overlap, protocol.first)
        order = {"borne out": "is the paper's", "contradicted": "is not the paper's"}.get(found.verdict)
        if found.verdict == "not testable":
            order = "cannot be compared with the paper's: rows are not above the commonest class"
        if found.units < found.first:
            order = f"is {found.status(protocol.unit)}"
        said = f"The order by {PRINTED_AS[metric]} {order or 'is not decided'}"
        return "" if found.missing else f"{said} ({found.ours}; the paper: {found.reported})."
    return ""
