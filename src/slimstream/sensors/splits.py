"""Cross-validation splits of windows: by stretches of time, by runs, and at random (too optimistic)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimstream.sensors.settings import SensorRecipe
from slimstream.sensors.windows import Windows
from slimstream.training.metrics.classification import Ints

WARNINGS = {"random": "windows drawn at random: neighbours on both sides, not an estimate of anything"}
"""Split → warning in the results table."""


@dataclass(frozen=True)
class WindowSplit:
    """A cross-validation split. `fold` (W,): test fold of each window, -1 for none.

    `unit` (W,): unit of each window for resampling. `inner(windows)`: inner folds (N,) of N training windows,
    for choosing settings.
    """

    name: str
    fold: Ints
    unit: Ints
    inner: Callable[[Ints], Ints]

    @property
    def folds(self) -> list[int]:
        return sorted(set(self.fold.tolist()) - {-1})


def make_splits(w: Windows, p: SensorRecipe) -> dict[str, WindowSplit]:
    """Return the splits that `p` names and the log allows, by name.

    `runs` needs two states with two runs each. Other states are only used for training.
    """
    runs = np.unique(w.run, return_inverse=True)[1]

    def inner(windows: Ints) -> Ints:
        state, block = w.state[windows], w.block[windows]
        return block_folds(state, block, min(p.inner, _fewest_blocks(state, block)))

    found = {
        "blocks": WindowSplit("blocks", block_folds(w.state, w.block, p.folds), w.block, inner),
        "runs": WindowSplit("runs", np.where(_repeated(w), runs, -1), w.run, inner),
        "random": WindowSplit(
            "random",
            _shuffled(len(w.state), p.folds),
            w.block,
            lambda windows: _shuffled(len(windows), p.inner),
        ),
    }
    if len(np.unique(w.state[found["runs"].fold >= 0])) < 2:
        del found["runs"]
    return {name: found[name] for name in p.splits if name in found}


def block_folds(state: Ints, block: Ints, folds: int) -> Ints:
    """Divide the blocks of each state, in time order, into `folds` stretches; return the fold (W,).

    Neighbouring blocks stay in one fold, so that a model cannot interpolate a drift.
    """
    fold = np.zeros(len(state), np.int64)
    for one in np.unique(state):
        for number, part in enumerate(np.array_split(np.unique(block[state == one]), folds)):
            fold[np.isin(block, part)] = number
    return fold


def _shuffled(windows: int, folds: int) -> Ints:
    fold: Ints = np.random.default_rng(0).permutation(windows) % folds
    return fold


def _fewest_blocks(state: Ints, block: Ints) -> int:
    return min(len(np.unique(block[state == one])) for one in np.unique(state))


def _repeated(w: Windows) -> npt.NDArray[np.bool_]:
    """Mark windows (W,) whose state has two blocks outside their run, as needed for the inner folds."""
    fits: npt.NDArray[np.bool_] = np.zeros(len(w.state), bool)
    for run in np.unique(w.run):
        inside = w.run == run
        others = (w.state == w.state[inside][0]) & ~inside
        fits[inside] = len(np.unique(w.block[others])) >= 2
    return fits
