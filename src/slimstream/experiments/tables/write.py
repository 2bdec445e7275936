"""Writes the results: docs/results/<paper>-<table>.csv, figures and a section of docs/results.md."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from math import nan
from typing import Any, get_args

import numpy as np
import pandas as pd

from slimstream.core.paths import Paths
from slimstream.experiments.tables.figures import draw
from slimstream.experiments.tables.results import (
    Interval,
    Seeds,
    by_fold,
    claim_verdict,
    difference,
    interval,
)
from slimstream.experiments.tables.spec import Claim, Metric, Row, Spec, Table

METRICS: tuple[str, ...] = get_args(Metric)


def write_results(spec: Spec, paths: Paths, budget: str, cells: Callable[[str, str], Seeds]) -> str:
    """Write CSV files, figures and the section of docs/results.md; return the section.

    `cells` returns the finished cells of a row, by the names of table and row.
    """
    folder = paths.root / "docs/results"
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if budget == "cpu" else f"-{budget}"
    lines = [f"## {spec.title}", "", preamble(spec, budget)]
    for name, table in spec.tables.items():
        done = {row.name: cells(name, row.name) for row in table.rows if not row.count}
        csv = pd.DataFrame([csv_row(spec, row, budget, done.get(row.name, [])) for row in table.rows])
        csv.to_csv(folder / f"{spec.paper}-{name}{suffix}.csv", index=False)
        lines += ["", f"### {table.title}", "", *markdown(csv), *other_code(csv)]
        seeds = {row.name: row.seeds for row in table.rows}
        said = [claim_line(claim, done, seeds) for claim in spec.claims if claim.table == name]
        said += [text for text in (order_line(table, done), table.note.strip()) if text]
        lines += [""] * bool(said) + [f"- {sentence}" for sentence in said]
        for figure, f in spec.figures.items():
            if f.table == name and any(done[row] for row in f.rows):
                file = f"{spec.paper}-{figure}{suffix}"
                draw(f, {row: done[row] for row in f.rows if done[row]}, folder / file)
                lines += ["", f"![{f.title}](results/{file}.svg)"]
    section = "\n".join(lines)
    page = paths.root / "docs/results.md"
    text = page.read_text() if page.exists() else "# Results\n"
    page.write_text(replace_section(text, f"tables {spec.paper} {budget}", section))
    return section


def replace_section(text: str, name: str, section: str) -> str:
    """`text` with `section` between the markers of `name`; they are added at the end when missing."""
    begin, end = f"<!-- {name}: begin, written by `python -m slimstream tables` -->", f"<!-- {name}: end -->"
    block = f"{begin}\n{section}\n{end}"
    if begin in text and end in text:
        head, rest = text.split(begin, 1)
        return head + block + rest.split(end, 1)[1]
    return f"{text.rstrip()}\n\n{block}\n"


def preamble(spec: Spec, budget: str) -> str:
    """The paragraph before the tables: how the numbers were computed."""
    return (
        f"Budget `{budget}`, the same for all rows (recipes/tables/{spec.paper}.yaml says what was cut). "
        "Means over folds of means over seeds, with Student's 95 % interval over folds; a fold is one group "
        f"left out or, where there are more than {spec.folds}, one of {spec.folds} parts of whole groups. "
        "Macro recall is balanced accuracy. The paper's figures are on its own data: only the order of rows "
        "can be compared. Latencies were taken one after another, so a busy machine shows in them; more so "
        "in the time of a training (the median): it is by the clock, of the network and of those it was "
        "pruned or goes on from, without its teachers', which have rows of their own."
    )


def csv_row(spec: Spec, row: Row, budget: str, seeds: Seeds) -> dict[str, Any]:
    """One line of the CSV."""
    found: dict[str, Any] = {"row": row.name, "model": row.model, "budget": budget, "state": "not run"}
    if seeds:
        found |= {"state": "run", "seeds": len(seeds), "folds": len(seeds[0])}
        for metric in METRICS:
            score = interval(list(by_fold(seeds, metric).values()))
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
            name: ", ".join(sorted({cell.scores[name] for cell in every})) for name in ("device", "code")
        }
        found |= {"other_code": "no" if all(cell.current for cell in every) else "yes"}
    elif row.count:
        found |= {"state": "counted", "pretrained": "", **network_cost(spec, row, budget)}
    found |= {"configurations": row.configurations}
    return found | {"paper": "; ".join(f"{name} {value}" for name, value in row.paper.items())}


def network_cost(spec: Spec, row: Row, budget: str) -> dict[str, int]:
    """Parameters and MACs for one frame of a network that is not trained; no weights are created."""
    p = spec.params(row, budget)
    shape = (1, 1, p.extract.channels, *p.extract.size)
    params, macs = _measured(p.train.model, json.dumps(p.train.model_args), shape)
    return {"params": params, "macs": macs}


@cache  # tables are written after each row, and building large networks is slow
def _measured(name: str, args: str, shape: tuple[int, ...]) -> tuple[int, int]:
    import torch

    from slimstream.models import create_model
    from slimstream.models.cost import measure

    with torch.device("meta"):
        return measure(create_model(name, 3, **json.loads(args)), shape)


ORDERED = {"accuracy": "accuracy", "macro_precision": "precision"}
"""Scores by which rows are ordered, and their names in the papers."""

COLUMNS = (
    "row",
    "accuracy",
    "macro-F1",
    "macro precision",
    "macro recall",
    "the paper's",
    "parameters",
    "MACs",
    "ONNX, one thread, p50",
    "training, a fold",
    "on",
    "pretrained",
    "seeds × folds",
)


def markdown(csv: pd.DataFrame) -> list[str]:
    """The lines of a Markdown table with the columns `COLUMNS`."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for row in csv.to_dict("records"):
        run = row["state"] == "run"
        scores = [
            str(Interval(row[m], row[f"{m}_low"], row[f"{m}_high"])) if run else row["state"]
            for m in ("accuracy", "macro_f1", "macro_precision", "macro_recall")
        ]
        cost = [
            _si(row.get("params"), 1e6, "M"),
            _si(row.get("macs"), 1e9, "G"),
            _si(row.get("latency_p50_ms"), 1, "ms"),
            _si(row.get("train_seconds"), 1, "s"),
        ]
        kind = [""] * 3
        if run:
            kind = [row["device"], row["pretrained"], f"{row['seeds']:.0f} × {row['folds']:.0f}"]
        lines.append(f"| {' | '.join([row['row'], *scores, row['paper'], *cost, *kind])} |")
    return lines


def other_code(csv: pd.DataFrame) -> list[str]:
    """Lines of a paragraph that names the rows made by other code; empty when there are none."""
    rows = csv[csv["other_code"] == "yes"] if "other_code" in csv else csv[:0]
    names = rows["row"].tolist()
    return ["", f"Made by other code than today's: {', '.join(names)}."] * bool(names)


def _si(value: float | None, unit: float, name: str) -> str:
    return "" if value is None or value != value else f"{value / unit:.3g} {name}"


def claim_line(claim: Claim, done: Mapping[str, Seeds], seeds: Mapping[str, int]) -> str:
    """One line with the claim, the verdict and the differences; `seeds` is the planned number by row."""
    missing = [name for name in (claim.of, *claim.against) if not done.get(name)]
    if missing:
        return f"{claim.says}: not run ({', '.join(missing)})."
    found = [difference(done[claim.of], done[name], claim.metric) for name in claim.against]
    shown = "; ".join(f"{claim.of} − {name}: {d}" for name, d in zip(claim.against, found, strict=True))
    side = f"above {claim.above:g}" if claim.above is not None else f"below {claim.below:g}"
    few = [name for name in (claim.of, *claim.against) if len(done[name]) < seeds[name]]
    so_far = f"; of {', '.join(few)} not all seeds were run" if few else ""
    return (
        f"{claim.says}: **{claim_verdict(claim, found)}** ({claim.metric}, {shown}; claimed {side}{so_far})."
    )


def order_line(table: Table, done: Mapping[str, Seeds]) -> str:
    """A sentence on whether the rows are in the paper's order; "" when the paper gives too few scores.

    The order is by the first score of ORDERED that the paper gives for at least two rows.
    """
    for metric, printed_as in ORDERED.items():
        printed = {row.name: row.paper.get(printed_as) for row in table.rows if done.get(row.name)}
        theirs = {name: value for name, value in printed.items() if isinstance(value, int | float)}
        if len(theirs) < 2:
            continue
        ours = {name: interval(list(by_fold(done[name], metric).values())).mean for name in theirs}
        ranked = sorted(theirs, key=lambda name: -ours[name])
        same = [theirs[name] for name in ranked] == sorted(theirs.values(), reverse=True)  # ties: any
        return f"The order by {printed_as} is{'' if same else ' not'} the paper's: {' > '.join(ranked)}."
    return ""
