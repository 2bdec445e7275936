"""How far a score may be off by the luck of the test clips: the bootstrap over groups.

Clips of one camera or one near-twin set are not independent, so whole groups are drawn, with replacement
(the cluster bootstrap: Davison & Hinkley 1997, section 3.8). With few groups that tells nothing, so near-twin
sets are drawn within each group instead, and the interval speaks of these groups alone.
Every model is judged on the same draws, which makes differences between models paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from slimstream.metrics.classification import Floats, Ints

MIN_GROUPS = 8
"""Fewer groups than this say too little about a further one."""


@dataclass(frozen=True)
class Resampling:
    """`draws` (R, U): how often a resample holds each unit; `unit` (N,): the unit each clip belongs to."""

    by: Literal["group", "twin"]
    groups: int
    unit: Ints
    draws: npt.NDArray[np.int64]

    @property
    def units(self) -> int:
        return int(self.draws.shape[1])

    @property
    def conditional(self) -> bool:
        """Whether the interval says nothing about a group that was not in the test part."""
        return self.by == "twin"

    @property
    def label(self) -> str:
        """What was drawn, for a reader."""
        if not self.conditional:
            return f"95 % intervals from resampling {self.groups} test groups"
        these = "this one test group" if self.groups == 1 else f"these {self.groups} test groups"
        return f"95 % intervals conditional on {these} (resampled: {self.units} near-twin sets within groups)"


def resampling(group: Sequence[Any], twin: Sequence[Any], resamples: int = 1000, seed: int = 0) -> Resampling:
    """Draw the resamples for N clips with these group and near-twin ids (a twin set lies in one group)."""
    rng = np.random.default_rng(seed)
    names, of_clip = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    if len(names) >= MIN_GROUPS:
        n = len(names)
        return Resampling("group", n, of_clip, rng.multinomial(n, np.full(n, 1 / n), size=resamples))
    _, unit = np.unique(np.asarray(twin, dtype=str), return_inverse=True)
    draws = np.zeros((resamples, unit.max(initial=-1) + 1), np.int64)
    for g in range(len(names)):
        inside = np.unique(unit[of_clip == g])
        draws[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=resamples)
    return Resampling("twin", len(names), unit, draws)


def confusions(truth: Ints, predicted: Ints, classes: int, r: Resampling) -> npt.NDArray[np.int64]:
    """The confusion matrix of every resample: (R, classes, classes)."""
    counts = np.zeros((r.units, classes, classes), np.int64)
    np.add.at(counts, (r.unit, truth, predicted), 1)
    return np.tensordot(r.draws, counts, axes=1)


def interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of resampled values (R,): (low, high)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def with_interval(name: str, value: float, resampled: Floats) -> dict[str, float]:
    """`name`, and `name_low` and `name_high` from its resampled values (R,)."""
    low, high = interval(resampled)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
