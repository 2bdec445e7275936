"""What the cells of a table come to: docs/results/<paper>-<table>.csv and a section of docs/results.md.

A row's score is the mean over folds of the mean over seeds. Its interval is Student's t over the fold means:
seeds tell how training varies, folds how groups do, and it is groups that a plant adds. Folds share training
clips, so the interval is an approximation, and a narrow one; with four groups it is wide all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan, sqrt
from typing import Any, get_args

import numpy as np
import pandas as pd

from slimstream.paths import Paths
from slimstream.tables.spec import Claim, Metric, Row, Spec, Table

METRICS: tuple[str, ...] = get_args(Metric)
Seeds = Sequence[Sequence["Done"]]
"""Finished cells, by seed and then by fold."""


@dataclass(frozen=True)
class Done:
    """A finished cell: what `score` wrote, and the seconds of the stages it took."""

    fold: str
    scores: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Interval:
    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def interval(values: Sequence[float]) -> Interval:
    """Mean of fold means and Student's 95 % interval around it; unknown (nan) below two folds."""
    from scipy.stats import t

    mean = float(np.mean(values)) if values else nan
    if len(values) < 2:
        return Interval(mean, nan, nan)
    half = float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def by_fold(seeds: Seeds, metric: str) -> dict[str, float]:
    """Mean over seeds of each fold's `metric`."""
    values: dict[str, list[float]] = {}
    for cells in seeds:
        for cell in cells:
            values.setdefault(cell.fold, []).append(cell.scores[metric])
    return {fold: float(np.mean(found)) for fold, found in values.items()}


def difference(of: Seeds, against: Seeds, metric: str) -> Interval:
    """Paired over folds."""
    one, other = by_fold(of, metric), by_fold(against, metric)
    return interval([one[fold] - other[fold] for fold in one if fold in other])


def verdict(claim: Claim, differences: Sequence[Interval]) -> str:
    """Borne out when every interval lies on the claimed side of the threshold, contradicted when one does not
    touch it; not decidable otherwise."""
    sign = 1 if claim.above is not None else -1
    bound = sign * (claim.above if claim.above is not None else claim.below or 0.0)
    ends = [sorted((sign * d.low, sign * d.high)) for d in differences]
    if all(low > bound for low, _ in ends):
        return "borne out"
    if any(high < bound for _, high in ends):
        return "contradicted"
    return "not decidable on this data"


def write_results(spec: Spec, paths: Paths, budget: str, cells: Callable[[Row], Seeds]) -> str:
    """Write CSVs and the section from finished `cells` of each row; return the section."""
    folder = paths.root / "docs/results"
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if budget == "cpu" else f"-{budget}"
    lines = [f"## {spec.title}", "", *_preamble(spec, budget)]
    for name, table in spec.tables.items():
        done = {row.name: cells(row) for row in table.rows if not row.count}
        csv = pd.DataFrame([_line(spec, row, budget, done.get(row.name, [])) for row in table.rows])
        csv.to_csv(folder / f"{spec.paper}-{name}{suffix}.csv", index=False)
        lines += ["", f"### {table.title}", "", *_markdown(csv)]
        claims = [claim for claim in spec.claims if claim.table == name]
        lines += [""] * bool(claims) + [f"- {_answer(claim, table, done)}" for claim in claims]
    section = "\n".join(lines)
    page = paths.root / "docs/results.md"
    text = page.read_text() if page.exists() else "# Results\n"
    page.write_text(put(text, f"tables {spec.paper} {budget}", section))
    return section


def put(text: str, name: str, section: str) -> str:
    """`text` with `section` between the markers of `name`, at the end where there are none yet."""
    begin, end = f"<!-- {name}: begin, written by `python -m slimstream tables` -->", f"<!-- {name}: end -->"
    block = f"{begin}\n{section}\n{end}"
    if begin in text and end in text:
        head, rest = text.split(begin, 1)
        return head + block + rest.split(end, 1)[1]
    return f"{text.rstrip()}\n\n{block}\n"


def _preamble(spec: Spec, budget: str) -> list[str]:
    return [
        f"Budget `{budget}`, the same for all rows (recipes/tables/{spec.paper}.yaml says what was "
        "cut). Means over folds of means over seeds, with Student's 95 % interval over folds; a fold is one "
        f"group left out or, where there are more than {spec.folds}, one of {spec.folds} parts of whole "
        "groups. Macro recall is balanced accuracy. The paper's figures are on its own data: only the order "
        "of rows can be compared.",
    ]


def _line(spec: Spec, row: Row, budget: str, seeds: Seeds) -> dict[str, Any]:
    """One line of the CSV."""
    line: dict[str, Any] = {"row": row.name, "model": row.model, "budget": budget, "state": "not run"}
    if seeds:
        line |= {"state": "run", "seeds": len(seeds), "folds": len(seeds[0])}
        for metric in METRICS:
            found = interval(list(by_fold(seeds, metric).values()))
            line |= {metric: found.mean, f"{metric}_low": found.low, f"{metric}_high": found.high}
        every = [cell for cells in seeds for cell in cells]
        # Pruning by a target may end a channel apart in another fold.
        line |= {key: float(np.mean([cell.scores[key] for cell in every])) for key in ("params", "macs")}
        timed = [cell.scores["latency_p50_ms"] for cell in every if "latency_p50_ms" in cell.scores]
        line |= {"latency_p50_ms": timed[0] if timed else nan}
        line |= {"train_seconds": float(np.mean([cell.seconds for cell in every]))}
        line |= {"pretrained": "yes" if every[0].scores["pretrained"] else "no"}
    elif row.count:
        line |= {"state": "counted", "pretrained": "", **count(spec, row, budget)}
    line |= {"configurations": row.configurations}
    return line | {"paper": "; ".join(f"{key} {value}" for key, value in row.paper.items())}


def count(spec: Spec, row: Row, budget: str) -> dict[str, int]:
    """Parameters and MACs of a network that nobody trains here; nothing is computed."""
    import torch

    from slimstream.learn.cost import measure
    from slimstream.models import MODELS, create_model

    p = spec.params(row, budget)
    if p.train.model not in MODELS:
        return {}
    with torch.device("meta"):
        model = create_model(p.train.model, 3, **p.train.model_args)
    params, macs = measure(model, (1, 1, int(getattr(p.extract, "channels", 5)), *p.extract.size))
    return {"params": params, "macs": macs}


def _markdown(csv: pd.DataFrame) -> list[str]:
    head = [
        "row",
        "accuracy",
        "macro-F1",
        "macro precision",
        "macro recall",
        "the paper's",
        "parameters",
        "MACs",
    ]
    head += ["ONNX, one thread, p50", "training, a fold", "pretrained", "seeds × folds"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for line in csv.to_dict("records"):
        run = line["state"] == "run"
        scores = [
            str(Interval(line[m], line[f"{m}_low"], line[f"{m}_high"])) if run else line["state"]
            for m in ("accuracy", "macro_f1", "macro_precision", "macro_recall")
        ]
        cost = [
            _si(line.get("params"), 1e6, "M"),
            _si(line.get("macs"), 1e9, "G"),
            _si(line.get("latency_p50_ms"), 1, "ms"),
            _si(line.get("train_seconds"), 1, "s"),
        ]
        kind = [line["pretrained"], f"{line['seeds']:.0f} × {line['folds']:.0f}"] if run else ["", ""]
        lines.append(f"| {' | '.join([line['row'], *scores, line['paper'], *cost, *kind])} |")
    return lines


def _si(value: float | None, unit: float, name: str) -> str:
    return "" if value is None or value != value else f"{value / unit:.3g} {name}"


def _answer(claim: Claim, table: Table, done: dict[str, Seeds]) -> str:
    """The claim, the differences it is judged by and the verdict, in a line."""
    missing = [name for name in (claim.of, *claim.against) if not done.get(name)]
    if missing:
        return f"{claim.says}: not run ({', '.join(missing)})."
    found = [difference(done[claim.of], done[name], claim.metric) for name in claim.against]
    shown = "; ".join(f"{claim.of} − {name}: {d}" for name, d in zip(claim.against, found, strict=True))
    side = f"above {claim.above:g}" if claim.above is not None else f"below {claim.below:g}"
    return f"{claim.says}: **{verdict(claim, found)}** ({claim.metric}, {shown}; claimed {side})."
