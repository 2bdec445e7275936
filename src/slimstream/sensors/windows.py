"""Windows of a sensor log, grouped into blocks so that a split has no leaks.

    log     ──────────── run of one state ───────────┬───── run of another ──
    blocks  ▒▒▒▒├──────────┤▒▒▒▒├──────────┤▒▒▒▒├────┤▒▒▒▒├──────────┤
    windows     [────]          [────]          …         [────]
                   [────]          [────]                    [────]

Neighbouring rows are nearly equal. Therefore the first window length of each block is not used (▒, the
embargo): windows of two blocks are at least one window length apart (Lopez de Prado 2018, section 7.4).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from slimstream.core.errors import UserError
from slimstream.sensors.log import SensorLog, SensorLogs
from slimstream.sensors.settings import SensorRecipe
from slimstream.training.metrics.classification import Floats, Ints


def _slope(rows: Floats) -> Floats:
    time = np.arange(rows.shape[-1]) - (rows.shape[-1] - 1) / 2
    slope: Floats = rows @ time / (time @ time)
    return slope


FEATURES: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": lambda rows: rows.mean(-1),
    "std": lambda rows: rows.std(-1),
    "slope": _slope,
}
"""Feature functions: (windows, sensors, rows) -> (windows, sensors). Slopes are per row."""


@dataclass(frozen=True)
class Windows:
    """W windows in order of time.

    `features` (W, F). Per window (W,): `state` (index into `states`), `block`, `run` (rows of equal label in
    a file), `file` and `first`, its first row in the file. `rows`: length of a window in rows. `short`:
    number of stretches that were too short for a window.
    """

    features: Floats
    state: Ints
    block: Ints
    run: Ints
    file: Ints
    first: Ints
    states: tuple[str, ...]
    rows: int
    short: int

    def counts(self) -> pd.DataFrame:
        """Return one row per state: numbers of windows, blocks and runs."""
        table = pd.DataFrame({"state": self.state, "block": self.block, "run": self.run})
        by = table.groupby("state").agg(
            windows=("block", "size"), blocks=("block", "nunique"), runs=("run", "nunique")
        )
        return by.set_index(pd.Index(self.states, name="state"))


def cut_windows(logs: SensorLogs, p: SensorRecipe) -> Windows:
    """Cut the logs into blocks and these into windows. Raises UserError when they are too short."""
    rows, step, block = (max(1, round(seconds / logs.period)) for seconds in (p.window, p.step, p.block))
    if rows < 3:
        raise UserError(
            f"a window of {p.window:g} s holds {rows} rows of {logs.period:g} s and needs 3; "
            "make `window` longer."
        )
    found: list[Floats] = []
    places: list[tuple[str, int, int, int, int]] = []
    runs = short = 0
    for file, log in enumerate(logs.logs):
        for run, start, stop in _stretches(log):
            if log.label[start] in p.skip:
                continue
            for part in np.array_split(np.arange(start, stop), max(1, (stop - start) // block)):
                inside = log.values[part[0] + rows : part[-1] + 1]
                if len(inside) < rows:
                    short += 1
                    continue
                views = np.lib.stride_tricks.sliding_window_view(inside, rows, axis=0)[::step]
                places += [
                    (str(log.label[start]), len(found), runs + run, file, int(part[0]) + rows + step * number)
                    for number in range(len(views))
                ]
                found.append(np.concatenate([FEATURES[name](views) for name in p.features], axis=1))
        runs += int(np.count_nonzero(log.label[1:] != log.label[:-1])) + 1
    _check_states(logs, {place[0] for place in places}, p)
    label, *columns = zip(*places, strict=True)
    states, state = np.unique(label, return_inverse=True)
    of_block, of_run, of_file, first = (np.array(column) for column in columns)
    windows = Windows(
        np.concatenate(found), state, of_block, of_run, of_file, first, tuple(map(str, states)), rows, short
    )
    blocks = windows.counts()["blocks"]
    if blocks.min() < p.folds:
        raise UserError(
            f"the log is too short: state {blocks.idxmin()} has {blocks.min()} blocks of {p.block:g} s, and "
            f"{p.folds} folds need {p.folds}; make `block` or `folds` smaller, or `skip` the state."
        )
    return windows


def _stretches(log: SensorLog) -> Iterator[tuple[int, int, int]]:
    """Yield (run, start, stop) of stretches with one label and no break. A break does not start a new run."""
    other = log.label[1:] != log.label[:-1]
    run = np.concatenate([[0], np.cumsum(other)])
    edges = np.flatnonzero(other | (log.piece[1:] != log.piece[:-1])) + 1
    bounds = [0, *edges, len(log.label)]
    for start, stop in pairwise(bounds):
        yield int(run[start]), int(start), int(stop)


def _check_states(logs: SensorLogs, cut: set[str], p: SensorRecipe) -> None:
    labels = {str(name) for log in logs.logs for name in np.unique(log.label)} - set(p.skip)
    if len(labels) < 2:
        states = f"one state only, {min(labels)}" if labels else "no state that is not skipped"
        raise UserError(f"the log knows {states}: there is nothing to tell apart; add a log of another.")
    if p.normal is not None and p.normal not in labels:
        raise UserError(
            f"no row has the label {p.normal!r}, set as `normal`; the log's are {', '.join(sorted(labels))}."
        )
    if lost := labels - cut:
        raise UserError(
            f"the log is too short: no stretch of state {min(lost)} lasts two windows of {p.window:g} s; "
            "make `window` smaller, or `skip` the state."
        )
