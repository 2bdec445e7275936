"""Scores of rows and differences of rows, with intervals over folds, replicates or splits: the units.

A row's score is the mean over units of the mean over seeds. Its interval is Student's t over the unit means:
seeds show how much training varies, units how much clips and groups vary. Replicates are independent. Folds
share training clips, so their interval is an approximation and too narrow; with four groups it is wide
nevertheless. Random splits share training and test clips; their interval is widened for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan, sqrt
from typing import Any

import numpy as np

from slimstream.training.metrics import classification

Seeds = Sequence[Sequence["FinishedCell"]]
"""Finished cells, by seed and then by fold; a replicate or a split is a seed with one cell."""
POWER = 0.8
"""Chance that a test with the needed number of units shows the effect."""
DEFECT = ("precision", "recall")
"""Scores of the class of defects alone."""
MOST_UNITS = 1000
"""More units than these are not counted."""


@dataclass(frozen=True)
class FinishedCell:
    """A finished cell: a line of the CSV that `record` writes."""

    fold: str
    number: int
    """Of the seed, replicate or split."""
    seed: int
    """Of the plant that rendered its clips, otherwise of its training."""
    key: str
    """`cells.Cell.key`."""
    scores: dict[str, Any]
    """What `score` wrote, with confusion matrix, classes, size, device, code and version."""
    training: float
    """Seconds to train its network and the networks it starts from, without teachers, which have own rows."""
    curves: dict[str, list[float]]
    """Values over the epochs by name; empty for a model that has none or, once recorded, is in no figure."""


@dataclass(frozen=True)
class Interval:
    """A mean over units with the bounds of its 95 % interval, which may be NaN."""

    mean: float
    low: float
    high: float
    units: int = 0
    spread: float = nan
    """Standard deviation over the units."""

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + f" ({self.low:.3f} to {self.high:.3f})" * self.known

    @property
    def known(self) -> bool:
        """Whether it has bounds."""
        return self.low == self.low

    def widened(self, comparisons: int) -> "Interval":
        """The interval of one of so many comparisons, all of which hold together in 95 % (Bonferroni)."""
        from scipy.stats import t

        if comparisons < 2 or self.units < 2:
            return self
        level, degrees = 0.975, self.units - 1
        factor = float(t.ppf(1 - (1 - level) / comparisons, degrees) / t.ppf(level, degrees))
        low, high = (self.mean - factor * (self.mean - bound) for bound in (self.low, self.high))
        return replace(self, low=low, high=high)


def interval(values: Sequence[float], overlap: float = 0.0) -> Interval:
    """Mean of unit means with Student's 95 % interval; bounds are NaN for fewer than two units.

    With `overlap`, the number of test clips per training clip, units are random splits of the same clips, and
    the variance of the mean is s² · (1/n + overlap) (Nadeau & Bengio, "Inference for the generalization
    error", Machine Learning 52, 2003: the corrected resampled t-test).
    """
    from scipy.stats import t

    mean, units = float(np.mean(values)) if len(values) else nan, len(values)
    if units < 2:
        return Interval(mean, nan, nan, units)
    spread = float(np.std(values, ddof=1))
    half = float(t.ppf(0.975, units - 1)) * spread * sqrt(1 / units + overlap)
    return Interval(mean, mean - half, mean + half, units, spread)


def units_needed(spread: float, effect: float) -> int | None:
    """Independent units after which a 95 % t interval excludes what lies `effect` away, with POWER.

    `spread` is the standard deviation over units, in the unit of `effect`. None for more than MOST_UNITS.
    """
    from scipy.stats import nct, t

    if effect <= 0:
        return None
    units = np.arange(2, MOST_UNITS + 1)
    if spread == 0:
        return int(units[0])
    away = np.minimum(effect * np.sqrt(units) / spread, 30.0)  # beyond, the distribution is not computed
    enough = units[nct.sf(t.ppf(0.975, units - 1), units - 1, away) >= POWER]
    return int(enough[0]) if len(enough) else None


def units_for_width(spread: float, half: float) -> int | None:
    """Independent units after which a 95 % t interval reaches at most `half` from its mean.

    `spread` is the standard deviation over units, in the unit of `half`. None for more than MOST_UNITS.
    """
    from scipy.stats import t

    units = np.arange(2, MOST_UNITS + 1)
    enough = units[t.ppf(0.975, units - 1) * spread / np.sqrt(units) <= half]
    return int(enough[0]) if len(enough) else None


def with_defect(cell: FinishedCell, defect: str) -> FinishedCell:
    """`cell` with `defect_precision` and `defect_recall`, where it has clips of the class `defect`."""
    if defect not in cell.scores["classes"]:
        return cell
    place, matrix = cell.scores["classes"].index(defect), np.array(cell.scores["confusion"])
    if not matrix[place].any():
        return cell
    own = {f"defect_{name}": float(getattr(classification, name)(matrix)[place]) for name in DEFECT}
    return replace(cell, scores=cell.scores | own)


def by_fold(seeds: Seeds, metric: str) -> dict[str, float]:
    """Mean over seeds of each unit's `metric`, without units that do not have it."""
    values: dict[str, list[float]] = {}
    for cells in seeds:
        for cell in cells:
            if metric in cell.scores:
                values.setdefault(cell.fold, []).append(cell.scores[metric])
    return {fold: float(np.mean(found)) for fold, found in values.items()}


def difference(of: Seeds, against: Seeds | None, metric: str, overlap: float = 0.0) -> Interval:
    """Mean difference of `metric` of two rows, paired over units; without `against` the score of `of`."""
    one = by_fold(of, metric)
    if against is None:
        return interval(list(one.values()), overlap)
    other = by_fold(against, metric)
    return interval([one[fold] - other[fold] for fold in one if fold in other], overlap)


def above_floor(seeds: Seeds, metric: str, overlap: float = 0.0) -> Interval:
    """`metric` minus what whoever always names the commonest class of all test clips has in each unit.

    Of a class alone it is their accuracy that counts: its recall would be perfect for always naming it.
    """
    metric = "accuracy" if metric.startswith("defect_") else metric
    every = [cell for cells in seeds for cell in cells]
    commonest = int(np.sum([cell.scores["confusion"] for cell in every], axis=(0, 2)).argmax())
    floors = {cell.fold: _floor(cell, metric, commonest) for cell in every}
    return interval([score - floors[fold] for fold, score in by_fold(seeds, metric).items()], overlap)


def _floor(cell: FinishedCell, metric: str, named: int) -> float:
    """`metric` of whoever always names the class at the index `named`."""
    clips = np.sum(cell.scores["confusion"], axis=1)
    constant = np.zeros((len(clips), len(clips)), np.int64)
    constant[:, named] = clips
    return float(getattr(classification, metric)(constant))
