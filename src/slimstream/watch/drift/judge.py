"""Tests of whether two samples of blocks differ, and a name for what has happened.

A test with many blocks finds any difference, and every plant has some from one hour to the next. So samples
are compared after they were moved towards each other by an allowance: how much the known sample varies by
itself. What is left must be unlikely by the test of Kolmogorov and Smirnov, at a level that allows for all
looks of a month.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimstream.runtimes.appearance import APPEARANCE
from slimstream.runtimes.seen import FEATURES
from slimstream.watch.drift.blocks import ALIKE, NAMES

Values = npt.NDArray[np.float64]
FALSE = 0.1
"""Alarms of a camera a month that chance alone may raise, if blocks vary by chance alone."""
LOOKS = 30 * 24 * 6
"""Looks a month, one each ten minutes."""
GROUP = 10
"""Blocks, twenty minutes, whose median counts for how much a sample varies by itself."""
GROUPS = 9
"""Groups of GROUP blocks that show well how much a sample varies; fewer count for less."""
LEAST = dict(
    zip(
        NAMES,
        (0.02, 0.03, 0.1, 0.005, 0.005, 0.15, 0.05, *[0.5] * FEATURES, 0.1, 0.2),
        strict=True,
    )
)
"""The smallest allowance of each measure, in its unit: smaller changes do not matter."""
SHARE = 0.05
"""The same for the share of a state."""
DIM = 0.25
"""A covered lens leaves at most this share of the brightness."""
BLURRED = 0.6
"""Or takes so much of the sharpness, in powers of ten: to a quarter."""


MOVED = 0.75
"""A camera that has moved by a fiftieth of its picture leaves less than this share of the alikeness."""


@dataclass(frozen=True)
class Difference:
    """A measure that differs."""

    name: str
    now: float
    """Median of the sample that is judged."""
    before: float
    """Median of the known one."""
    p: float
    """Of the test, times the number of sides."""

    @property
    def text(self) -> str:
        """As a part of a sentence."""
        return f"{self.name} {self.now:.2f} instead of {self.before:.2f}"


def probability(now: Values, known: Values, allowance: float) -> float:
    """How likely `now` (n,) is, if it differs from `known` (m,) by `allowance` or less: 0..1.

    Twice the smaller one of two one-sided tests of Kolmogorov and Smirnov, as in SciPy's `ks_2samp`.
    """
    from scipy.stats import ks_2samp

    up = ks_2samp(now - allowance, known, alternative="less").pvalue
    down = ks_2samp(now + allowance, known, alternative="greater").pvalue
    return float(min(1.0, 2 * min(up, down)))


def grouped(values: Values) -> Values:
    """Medians (n // GROUP, k) of neighbours among blocks (n, k), without the first few that are left over.

    Fewer than GROUP blocks are one group.
    """
    size = min(GROUP, len(values))
    count = len(values) // size
    return np.asarray(np.median(values[len(values) - count * size :].reshape(count, size, -1), axis=1))


def own_allowance(known: Values, least: Values) -> Values:
    """How much each column (k,) of a sample (m, k) varies by itself: the range of its groups.

    The sample is in the order of time. It is `least` (k,) or more, and more while there are few groups.
    """
    groups = grouped(known)
    return np.asarray(np.maximum(least, np.ptp(groups, axis=0)) * max(1.0, GROUPS / len(groups)))


def group_allowance(known: Values, group: npt.NDArray[np.int64]) -> float | None:
    """How far the median of a new group may lie from those of the groups (n,) of `known` (n,).

    Half the width of the prediction interval in which a new one lies in 999 of 1,000 cases, if they are
    normally distributed. None for fewer than three groups, of which it is not known.
    """
    from scipy.stats import t

    medians = np.array([np.median(known[group == g]) for g in np.unique(group)])
    if (count := len(medians)) < 3:
        return None
    return float(t.ppf(1 - 0.0005, count - 1) * medians.std(ddof=1) * np.sqrt(1 + 1 / count))


def differences(now: Values, known: Values, names: Sequence[str], looks: float) -> list[Difference]:
    """The measures in which blocks (n, k) differ from `known` (m, k), which is in the order of time.

    `names` (k,) are those of the columns. Columns with a NaN are left out.
    `looks` is the number of times a month that such a test is made.
    """
    found = []
    allowance = own_allowance(known, np.array([LEAST.get(name, SHARE) for name in names]))
    here, before = np.median(now, axis=0), np.median(known, axis=0)
    # Where the medians are closer no test is needed; comparisons with NaN are False.
    for column in np.flatnonzero(np.abs(here - before) > allowance):
        name = names[int(column)]
        p = probability(now[:, column], known[:, column], float(allowance[column]))
        if p < FALSE / looks / len(names):
            found.append(Difference(name, float(here[column]), float(before[column]), p))
    return found


def kind(found: Mapping[str, Difference], now: Values, before: Values) -> str | None:
    """One of KINDS for the measures that differ; None if none does.

    `now` and `before` (len(NAMES),) are the medians of all measures.
    """
    if not found:
        return None
    fell = {name for name, difference in found.items() if difference.now < difference.before}
    bright, sharp = NAMES.index("brightness"), NAMES.index("sharpness")
    dark = now[bright] < DIM * before[bright]
    blurred = "sharpness" in fell and now[sharp] < before[sharp] - BLURRED
    if (dark or blurred) and fell & {"alike", "worst part"}:
        return "covered"
    if "alike" in fell and now[ALIKE] < MOVED * before[ALIKE]:
        return "moved"
    if found.keys() & (set(APPEARANCE) - {"sharpness"}):
        return "light"
    return "drift"
