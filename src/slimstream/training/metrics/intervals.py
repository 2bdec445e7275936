"""Bootstrap confidence intervals of scores, resampled by group.

Clips of one camera or one near-twin set are not independent, so whole groups are drawn with replacement
(cluster bootstrap; Davison & Hinkley 1997, section 3.8). With fewer than MIN_GROUPS groups, near-twin sets
are drawn within each group instead; the interval is then valid for these groups only. All models use the same
resamples, so differences between models are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from slimstream.training.metrics.classification import Floats, Ints

MIN_GROUPS = 8
"""With fewer groups the interval cannot describe a new group."""


@dataclass(frozen=True)
class Resampling:
    """Resamples. `draws` (R, U): count of each unit in each resample; `unit` (N,): unit of each clip."""

    by: Literal["group", "twin"]
    groups: int
    unit: Ints
    draws: npt.NDArray[np.int64]

    @property
    def units(self) -> int:
        return int(self.draws.shape[1])

    @property
    def conditional(self) -> bool:
        """True when the interval is valid only for the groups of the test part."""
        return self.by == "twin"

    @property
    def label(self) -> str:
        """Description of the resampling for the report."""
        if not self.conditional:
            return f"95 % intervals from resampling {self.groups} test groups"
        these = "this one test group" if self.groups == 1 else f"these {self.groups} test groups"
        return f"95 % intervals conditional on {these} (resampled: {self.units} near-twin sets within groups)"


def draw_resamples(
    group: Sequence[Any],
    twin: Sequence[Any],
    resamples: int = 1000,
    seed: int = 0,
    min_groups: int = MIN_GROUPS,
) -> Resampling:
    """Draw resamples of N clips with these group and near-twin ids. A twin set must lie in one group.

    Of `min_groups` groups or more whole groups are drawn, of fewer near-twin sets within each group.
    """
    rng = np.random.default_rng(seed)
    names, of_clip = np.unique(np.asarray(group, dtype=str), return_inverse=True)
    if len(names) >= min_groups:
        n = len(names)
        return Resampling("group", n, of_clip, rng.multinomial(n, np.full(n, 1 / n), size=resamples))
    _, unit = np.unique(np.asarray(twin, dtype=str), return_inverse=True)
    draws = np.zeros((resamples, unit.max(initial=-1) + 1), np.int64)
    for g in range(len(names)):
        inside = np.unique(unit[of_clip == g])
        draws[:, inside] = rng.multinomial(len(inside), np.full(len(inside), 1 / len(inside)), size=resamples)
    return Resampling("twin", len(names), unit, draws)


def leave_each_out(r: Resampling) -> Resampling:
    """All units but one, for each unit in turn: the resamples of a jackknife."""
    return replace(r, draws=np.ones((r.units, r.units), np.int64) - np.eye(r.units, dtype=np.int64))


def resampled_confusions(truth: Ints, predicted: Ints, classes: int, r: Resampling) -> npt.NDArray[np.int64]:
    """Confusion matrix of every resample: (R, classes, classes)."""
    counts = np.zeros((r.units, classes, classes), np.int64)
    np.add.at(counts, (r.unit, truth, predicted), 1)
    return np.tensordot(r.draws, counts, axes=1)


def percentile_interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval (low, high) of resampled values (R,)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def with_interval(name: str, value: float, resampled: Floats) -> dict[str, float]:
    """Return `name`, `name_low` and `name_high`; the interval is taken from resampled values (R,)."""
    low, high = percentile_interval(resampled)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
