"""Read and check sensor logs. A log that cannot be used raises UserError."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.core.errors import UserError
from slimstream.sensors.settings import SensorRecipe
from slimstream.training.metrics.classification import Floats, Ints

BREAK_PERIODS = 1.5
"""A time step of more periods is a break in the log. Windows do not cross breaks."""
SINCE_1970 = 1e8
"""Larger numbers of seconds are taken for dates (Unix time), smaller ones count from some start."""
MAX_BREAKS = 0.1
"""A log with a larger share of breaks is refused, because it is not sampled regularly."""


@dataclass(frozen=True)
class SensorLog:
    """A log file of N rows: `values` (N, S), `label` (N,) and `piece` (N,), which counts the breaks."""

    values: Floats
    label: npt.NDArray[np.str_]
    piece: Ints


@dataclass(frozen=True)
class SensorLogs:
    """The log files of one plant: the same S `sensors`, one row per `period` seconds.

    `constant`: constant sensors, which are not used. `broken`: total number of breaks.
    """

    logs: tuple[SensorLog, ...]
    sensors: tuple[str, ...]
    period: float
    constant: tuple[str, ...]
    broken: int


def read_logs(files: Sequence[Path], p: SensorRecipe) -> SensorLogs:
    """Read all `files` in the given order. Raises UserError for the first mistake."""
    _refuse_copies(files)
    tables = [_table(path, p) for path in files]
    sensors = _sensors(files, tables, p)
    times = [_times(path, table, p) for path, table in zip(files, tables, strict=True)]
    values = [
        _values(path, table, sensors, time.piece, p)
        for path, table, time in zip(files, tables, times, strict=True)
    ]
    if not p.sensors:
        _refuse_counters(files, sensors, values)
    for path, table in zip(files, tables, strict=True):
        _check_labels(path, table[p.label], p)

    # Constant columns are dropped unless they are named: logs have many alarms that never occur.
    still = np.ptp(np.concatenate(values), axis=0) == 0
    constant = tuple(name for name, idle in zip(sensors, still, strict=True) if idle)
    if still.all() or (constant and p.sensors):
        names = "no sensor ever changes" if still.all() else f"sensor {constant[0]} never changes"
        raise UserError(
            f"{_all(files)}: {names}, so nothing can be learnt from it; choose others in `sensors`."
        )

    _refuse_overlap(files, times)
    periods = [time.period for time in times]
    if max(periods) > 1.05 * min(periods):
        one, other = int(np.argmin(periods)), int(np.argmax(periods))
        raise UserError(
            f"{files[other]}: a row every {periods[other]:g} s, but {files[one]} has one every "
            f"{periods[one]:g} s; resample one of them."
        )
    return SensorLogs(
        tuple(
            SensorLog(value[:, ~still], table[p.label].to_numpy(str), time.piece)
            for value, table, time in zip(values, tables, times, strict=True)
        ),
        tuple(name for name in sensors if name not in constant),
        float(np.median(periods)),
        constant,
        sum(int(time.piece[-1]) for time in times),
    )


@dataclass(frozen=True)
class _Time:
    """Times of N rows: `piece` (N,) as in Log, `period` in seconds, `first` and `last` date, if any."""

    piece: Ints
    period: float
    first: pd.Timestamp | None = None
    last: pd.Timestamp | None = None


def _refuse_copies(files: Sequence[Path]) -> None:
    """Raise UserError for identical files: a copy could be in another part of the split."""
    seen: dict[str, Path] = {}
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: there is no such log; give CSV files.")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest in seen:
            raise UserError(f"{path}: the same log as {seen[digest]}; name it once.")
        seen[digest] = path


def _refuse_overlap(files: Sequence[Path], times: Sequence[_Time]) -> None:
    """Raise UserError when two files overlap in time. Needs dates: seconds from some start cannot show it."""
    dated = [(t.first, t.last, path) for t, path in zip(times, files, strict=True) if t.first and t.last]
    for (_, end, one), (start, _, other) in pairwise(sorted(dated)):
        if start <= end:
            raise UserError(
                f"{other}: begins at {start}, before {one} ends; cut the time they share from one."
            )


def _table(path: Path, p: SensorRecipe) -> pd.DataFrame:
    how: dict[str, Any] = {"sep": p.separator, "skipinitialspace": True, "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            table = pd.read_csv(path, decimal=p.decimal, low_memory=False, **how)
            if p.label in table:
                # Read as text: pandas would read a state called None or NA as a missing value.
                label = pd.read_csv(path, usecols=[p.label], dtype=str, na_filter=False, **how)
                table[p.label] = label[p.label].str.strip()
    except pd.errors.EmptyDataError as error:
        raise UserError(f"{path}: the log is empty.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"{path}: cannot be read as CSV in UTF-8, set `separator` or mend it: {said}."
        ) from error
    for column in filter(None, (p.label, p.time, *p.sensors)):
        if column not in table:
            hint = f"set `separator`, or name {column!r} as the log does"
            raise UserError(
                f"{path}: there is no column {column!r}, only {_first_names(list(table))}; {hint}."
            )
    if len(table) < 3:
        raise UserError(f"{path}: {len(table)} rows are too few for a log.")
    return table


def _sensors(files: Sequence[Path], tables: Sequence[pd.DataFrame], p: SensorRecipe) -> list[str]:
    if p.sensors:
        return p.sensors
    others = {p.label, p.time, *p.ignore}
    sensors = [str(name) for name in tables[0].columns if name not in others]
    if not sensors:
        raise UserError(
            f"{files[0]}: there is no column besides {_first_names(list(tables[0]))}; sensors are needed."
        )
    for path, table in zip(files, tables, strict=True):
        odd = set(sensors).symmetric_difference(set(map(str, table.columns)) - others)
        if odd:
            name = min(odd)
            has, lacks = (path, files[0]) if name in table else (files[0], path)
            raise UserError(f"{lacks}: there is no column {name!r}, which {has} has; add it or `ignore` it.")
    return sensors


def _refuse_counters(files: Sequence[Path], sensors: Sequence[str], values: Sequence[Floats]) -> None:
    """Raise UserError for a column that rises, or falls, from each row to the next in all files.

    It is a time or the number of the row rather than a sensor, and would tell states by when they were.
    """
    steps = [np.diff(value, axis=0) for value in values]
    counts = np.all([np.all(s > 0, axis=0) for s in steps], axis=0)
    counts |= np.all([np.all(s < 0, axis=0) for s in steps], axis=0)
    if counts.any():
        name = sensors[int(counts.argmax())] or "(no name)"
        raise UserError(
            f"{_all(files)}: column {name} rises or falls from every row to the next, as a time or a row "
            "number does: name it as `time` or under `ignore`; if it is a sensor, name all in `sensors`."
        )


def _refuse_points(path: Path, table: pd.DataFrame, sensors: Sequence[str], p: SensorRecipe) -> None:
    """Raise UserError for a point in a number where `decimal` is a comma: 1.234 may be above a thousand."""
    if p.decimal == ".":
        return
    names = [name for name in sensors if name in table]
    how: dict[str, Any] = {"sep": p.separator, "skipinitialspace": True, "index_col": False}
    text = pd.read_csv(path, usecols=names, dtype=str, na_filter=False, **how)
    for name in names:
        if (pointed := text[name].str.contains(".", regex=False)).any():
            row = int(pointed.argmax())
            raise UserError(
                f"{path}, line {row + 2}: sensor {name} reads {text[name][row]!r}, with a point, and "
                f"`decimal` is {p.decimal!r}: write numbers without separators of thousands."
            )


def _values(path: Path, table: pd.DataFrame, sensors: Sequence[str], piece: Ints, p: SensorRecipe) -> Floats:
    _refuse_points(path, table, sensors, p)
    columns = []
    for name in sensors:
        number = pd.to_numeric(table[name], errors="coerce").astype(float)
        odd = number.isna() & table[name].notna()
        if odd.any():
            row = int(odd.argmax())
            raise UserError(
                f"{path}, line {row + 2}: sensor {name} reads {table[name][row]!r}, which is no number; "
                "correct it, or name the column under `ignore`."
            )
        number = number.where(np.isfinite(number))
        missing = number.isna()
        if p.fill:
            number = number.groupby(piece).ffill(limit=p.fill)  # not across a break
        if number.isna().any():
            row = int(number.isna().argmax())
            gap = int(missing.groupby((~missing).cumsum()).sum().max())
            raise UserError(
                f"{path}, line {row + 2}: sensor {name} has no value ({missing.sum()} of {len(missing)} "
                f"rows, the longest gap {gap}); mend the log, set `fill`, or name the column under `ignore`."
            )
        columns.append(number.to_numpy(float))
    return np.stack(columns, axis=1)


def _check_labels(path: Path, label: pd.Series, p: SensorRecipe) -> None:
    empty = (label == "") & ("" not in p.skip)
    if empty.any():
        raise UserError(
            f"{path}, line {int(empty.argmax()) + 2}: no label; write one, or put '' under `skip` "
            "to leave such rows out."
        )
    known = {*p.states, *p.skip}
    if p.states and not label.isin(known).all():
        row = int((~label.isin(known)).argmax())
        raise UserError(
            f"{path}, line {row + 2}: label {label[row]!r} is unknown; `states` has {', '.join(p.states)}: "
            "correct one of them, or `skip` the label."
        )


def _times(path: Path, table: pd.DataFrame, p: SensorRecipe) -> _Time:
    if p.time is None:
        return _Time(np.zeros(len(table), np.int64), p.period)
    column = table[p.time]
    stamps: pd.Series | None = None
    if pd.api.types.is_numeric_dtype(column):
        seconds = column.astype(float)
    else:
        stamps = pd.to_datetime(column, format="ISO8601", errors="coerce", utc=True)
        seconds = (stamps - stamps.iloc[0]).dt.total_seconds()
    if seconds.isna().any():
        row = int(seconds.isna().argmax())
        raise UserError(
            f"{path}, line {row + 2}: time {column[row]!r} is neither a number of seconds nor ISO 8601 "
            "(2024-05-31T08:00:00)."
        )
    steps = np.diff(seconds.to_numpy(float))
    if (steps <= 0).any():
        row = int((steps <= 0).argmax()) + 1
        how = "repeats the one" if steps[row - 1] == 0 else f"goes back from {column[row - 1]}"
        raise UserError(
            f"{path}, line {row + 2}: time {column[row]} {how} in the line before; sort or mend the log."
        )
    period = float(np.median(steps))
    breaks = steps > BREAK_PERIODS * period
    if breaks.mean() > MAX_BREAKS or (steps < period / BREAK_PERIODS).mean() > MAX_BREAKS:
        raise UserError(
            f"{path}: the time from row to row is not regular (mostly {period:g} s); resample the log."
        )
    piece = np.concatenate([[0], np.cumsum(breaks)])
    if stamps is None and seconds.iloc[0] > SINCE_1970:
        stamps = pd.to_datetime(seconds, unit="s", utc=True)
    if stamps is None:
        return _Time(piece, period)
    return _Time(piece, period, stamps.iloc[0], stamps.iloc[-1])


def _first_names(names: Sequence[object]) -> str:
    shown = ", ".join(map(str, names[:8]))
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def _all(files: Sequence[Path]) -> str:
    return ", ".join(map(str, files))
