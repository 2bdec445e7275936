"""Results of a table: scores with intervals, differences of rows, and verdicts on the paper's claims.

A row's score is the mean over folds of the mean over seeds. Its interval is Student's t over the fold means:
seeds show how much training varies, folds how much groups vary, and a plant adds groups. Folds share training
clips, so the interval is an approximation and too narrow; with four groups it is wide nevertheless.
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
    """A finished cell: the scores that `score` wrote, and the file of its curves."""

    fold: str
    scores: dict[str, Any]
    training: float
    """Seconds to train its network and the networks it starts from, without teachers, which have own rows."""
    curves: Path
    current: bool = True
    """Whether it was made by the present code; False for a kept result of other code."""


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95 % interval, which may be NaN."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def interval(values: Sequence[float]) -> Interval:
    """Mean of fold means with Student's 95 % interval; bounds are NaN for fewer than two folds."""
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
    """Mean difference of `metric` of two rows, paired over folds, with its interval."""
    one, other = by_fold(of, metric), by_fold(against, metric)
    return interval([one[fold] - other[fold] for fold in one if fold in other])


def claim_verdict(claim: Claim, differences: Sequence[Interval]) -> str:
    """The verdict on a claim about `differences`.

    "borne out" when all intervals lie on the claimed side of the threshold, "contradicted" when one lies
    wholly on the other side, and "not decidable on this data" otherwise."""
    sign = 1 if claim.above is not None else -1
    bound = sign * (claim.above if claim.above is not None else claim.below or 0.0)
    ends = [sorted((sign * d.low, sign * d.high)) for d in differences]
    if all(low > bound for low, _ in ends):
        return "borne out"
    if any(high < bound for _, high in ends):
        return "contradicted"
    return "not decidable on this data"
