"""Finished cells as CSV in docs/results: what is left of a run on another machine, in another clone.

A line is a row of a table on one fold, replicate or split. Cells are found by `cells.Cell.key`, so a line
counts for as long as settings, clips and protocol are the same, and for every row that has them. The code is
not part of the key: a line says which version of it has made the cell. Lines of other settings or clips stay
in the file: they count again when the settings come back.
"""

import json
from collections.abc import Container, Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from slimstream.core.errors import UserError
from slimstream.core.files import atomic_write
from slimstream.experiments.tables.results import FinishedCell

Key = tuple[str, str]
"""Names of a table and of one of its rows."""
OWN = ("fold", "number", "seed", "key", "training")
"""Fields of `FinishedCell` that are columns as they are; every score is a column, too."""
JSON = ("classes", "confusion", "curves")
"""Columns with JSON in them."""
CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")
"""Beginnings of the lines that git adds where two versions differ."""
TEXT = ("fold", "key", "device", "code", "version")
"""Columns that may look like numbers and are none."""


def write_cells(file: Path, cells: Mapping[Key, Iterable[FinishedCell]], drawn: Container[Key]) -> None:
    """Write the finished `cells`, by names of table and row, before all other lines that `file` has.

    Curves are written only of the rows `drawn`.
    """
    lines: list[dict[str, Any]] = []
    for (table, row), finished in cells.items():
        for cell in finished:
            content = {name: getattr(cell, name) for name in OWN} | cell.scores
            content["curves"] = cell.curves if (table, row) in drawn else {}
            content |= {name: json.dumps(content[name], separators=(",", ":")) for name in JSON}
            lines.append({"table": table, "row": row} | content)
    if not lines:
        return
    written = _as_text(StringIO(pd.DataFrame(lines).to_csv(index=False, float_format="%.6g")))
    if file.exists():
        before = _as_text(file)
        written = pd.concat([written, before[~before["key"].isin(written["key"])]]).fillna("")
    write_csv(written, file)


def write_csv(table: pd.DataFrame, file: Path) -> None:
    """Write `table` without its index; `file` is complete or as it was before."""
    with atomic_write(file) as half:
        table.to_csv(half, index=False)


def _as_text(file: Path | StringIO) -> pd.DataFrame:
    """The columns of a CSV as they are written."""
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def read_cells(file: Path) -> dict[str, FinishedCell]:
    """The cells of a CSV by their keys; empty when there is none.

    Raises UserError for lines that a merge of two versions has left.
    """
    if not file.exists():
        return {}
    if marked := [line for line in file.read_text().splitlines() if line.startswith(CONFLICT)]:
        raise UserError(
            f"{file} has lines '{marked[0]}' of an unfinished merge: delete these lines, and keep all others."
        )
    table = pd.read_csv(file, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=[""])
    found: dict[str, FinishedCell] = {}
    for line in table.drop(columns=["table", "row"]).to_dict("records"):
        own = {name: line.pop(name) for name in OWN}
        scores = {str(name): value for name, value in line.items() if value == value}  # NaN: not measured
        scores |= {name: json.loads(scores[name]) for name in JSON}
        cell = FinishedCell(**own, curves=scores.pop("curves"), scores=scores)
        if cell.key not in found or cell.curves:  # of a row that is drawn, and of others like it
            found[cell.key] = cell
    return found


def read_curves(file: Path) -> dict[str, list[float]]:
    """The values over the epochs of a training, by name; empty for a model without a file of them."""
    if not file.exists():
        return {}
    return {str(name): [float(value) for value in column] for name, column in pd.read_csv(file).items()}
