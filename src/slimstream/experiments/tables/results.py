"""What the cells of a table come to: scores with intervals, differences of rows, and what becomes of a claim.

A row's score is the mean over folds of the mean over seeds. Its interval is Student's t over the fold means:
seeds tell how training varies, folds how groups do, and it is groups that a plant adds. Folds share training
clips, so the interval is an approximation, and a narrow one; with four groups it is wide all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from slimstream.experiments.tables.spec import Claim

Seeds = Sequence[Sequence["FinishedCell"]]
"""Finished cells, by seed and then by fold."""


@dataclass(frozen=True)
class FinishedCell:
    """A finished cell: what `score` wrote, and where the curves lie."""

    fold: str
    scores: dict[str, Any]
    training: float
    """Seconds that its network took to train and those it goes on from; teachers have rows of their own."""
    curves: Path
    current: bool = True
    """Made by today's code; False where what other code made was kept."""


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


def claim_verdict(claim: Claim, differences: Sequence[Interval]) -> str:
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
