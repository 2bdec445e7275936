"""Pictures of a run's result for its page in Prefect: PNG in data URIs, which Prefect's database keeps."""

import base64
import io
import json
from typing import TYPE_CHECKING

import pandas as pd

from slimstream.core.paths import Paths
from slimstream.stages.evaluate.model_rows import model_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MOST = 30
"""Classes of a confusion matrix that is drawn: its picture grows with their square."""


def front(paths: Paths) -> str:
    """Macro-F1 of every model with its interval, over the time from file to answer and over megabytes.

    Reads metrics/evaluate.json. A model without a measured time or size is left out there.
    """
    figure = _figure(10, 4)
    rows = model_rows(json.loads(paths.metrics("evaluate").read_text()))
    for ax, number in zip(figure.subplots(1, 2, sharey=True), (0, 2), strict=True):
        for place, row in enumerate(rows):
            cost, score = row.costs[number].value, row.scores["macro_f1"]
            if cost is None:
                continue
            ends = [row.scores.get(f"macro_f1_{end}", score) for end in ("low", "high")]
            colour = f"C{place}"
            ax.plot([cost, cost], ends, color=colour, alpha=0.4)
            ax.plot(cost, score, "o", color=colour, label=row.name)
        ax.set(xlabel=f"{row.costs[number].title}, {row.costs[number].unit}", ylim=(0, 1.02))
        ax.set_xlim(0, 1.1 * max((row.costs[number].value or 0 for row in rows), default=0) or 1)
        ax.grid(color="#dddddd")
        ax.set_axisbelow(True)
    figure.axes[0].set_ylabel("macro-F1, 95 % interval")
    if handles := figure.axes[0].get_legend_handles_labels()[0]:
        figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return _uri(figure)


def confusion(paths: Paths) -> str | None:
    """The confusion matrix of the model to publish: rows are the truth. Reads plots/confusion.csv.

    None where there are more than MOST classes, of which the report has the table.
    """
    table = pd.read_csv(paths.confusion, dtype=str, keep_default_na=False)
    names = sorted({*table["actual"], *table["predicted"]})
    if len(names) > MOST:
        return None
    counts = pd.crosstab(table["actual"], table["predicted"]).reindex(
        index=names, columns=names, fill_value=0
    )
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0).to_numpy()
    side = 2 + 0.7 * len(names)
    figure = _figure(side + 1, side)
    ax = figure.subplots()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            ink = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, str(counts.iloc[row, column]), color=ink, ha="center", va="center")
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right", parse_math=False)
    ax.set_yticks(range(len(names)), names, parse_math=False)
    ax.set(xlabel="predicted", ylabel="actual")
    return _uri(figure)


def _figure(width: float, height: float) -> "Figure":
    """An empty figure of that many inches, at 100 pixels an inch."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=100)


def _uri(figure: "Figure") -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
