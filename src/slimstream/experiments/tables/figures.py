"""A paper's figures: curves over the epochs or confusion matrices of some rows, as CSV and as SVG."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from slimstream.core.files import atomic_write
from slimstream.experiments.tables.record import write_csv
from slimstream.experiments.tables.results import Seeds
from slimstream.experiments.tables.spec import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(figure: Figure, done: Mapping[str, Seeds], file: Path) -> None:
    """Write `file`.csv and `file`.svg for the finished rows `done`; curves are means over folds and seeds."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    tables = {row: (curves if figure.curves else confusion)(seeds) for row, seeds in done.items()}
    write_csv(pd.concat([table.assign(row=row) for row, table in tables.items()]), file.with_suffix(".csv"))
    panels = len(figure.curves) or len(tables)
    with matplotlib.rc_context({"svg.hashsalt": "slimstream", "svg.fonttype": "none"}):
        canvas = Canvas(figsize=(4.2 * panels, 3.4), layout="constrained")
        axes = canvas.subplots(1, panels, squeeze=False)[0]
        for ax, column in zip(axes, figure.curves, strict=False):
            for row, table in tables.items():
                ax.plot(table["epoch"], table[column], label=row)
            ax.set(title=column, xlabel="epoch")
            ax.legend(frameon=False, fontsize=8)
        if not figure.curves:
            for ax, (row, table) in zip(axes, tables.items(), strict=True):
                _matrix(ax, row, table)
        with atomic_write(file.with_suffix(".svg")) as half:
            canvas.savefig(half, format="svg", metadata={"Date": None, "Creator": None})


def have_curves(seeds: Seeds) -> bool:
    """Whether every cell has its values over the epochs: once recorded, only those of rows in figures do."""
    return all(cell.curves for cells in seeds for cell in cells)


def curves(seeds: Seeds) -> pd.DataFrame:
    """One row per epoch: the mean over all trainings."""
    read = [pd.DataFrame(cell.curves) for cells in seeds for cell in cells]
    return pd.concat(read).groupby("epoch").mean().reset_index()


def confusion(seeds: Seeds) -> pd.DataFrame:
    """One row per pair of classes: actual, predicted, clips (summed over folds, averaged over seeds)."""
    every = [cell.scores for cells in seeds for cell in cells]
    counts = np.sum([scores["confusion"] for scores in every], axis=0) / len(seeds)
    names = every[0]["classes"]
    return pd.DataFrame(
        [(a, p, counts[i, j]) for i, a in enumerate(names) for j, p in enumerate(names)],
        columns=["actual", "predicted", "clips"],
    )


def _matrix(ax: "Axes", row: str, table: pd.DataFrame) -> None:
    """Draw a confusion matrix: colours are shares of each actual class, numbers are counts."""
    wide = table.pivot(index="actual", columns="predicted", values="clips")
    counts = wide.to_numpy(float)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(shares.shape):
        colour = "white" if shares[i, j] > 0.5 else "black"
        ax.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour)
    ax.set(title=row, xlabel="predicted", ylabel="actual")
    ax.set_xticks(range(len(wide)), wide.columns, rotation=30)
    ax.set_yticks(range(len(wide)), wide.index)
