"""Verdicts on the claims of a paper.

A claim is *borne out* when the whole interval lies on its side of the threshold for every pair of rows, and
*contradicted* when it lies wholly on the other side for one; with several pairs that interval is wider,
because one of many is wrong by chance more often. Else it is *not decided*. It is *not testable* where
neither row of a pair is clearly above whoever always names the commonest class: networks that have learnt
nothing cannot tell what helps learning. A claim about counts needs no clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import nan
from statistics import mean

from slimstream.experiments.tables.results import (
    Interval,
    Seeds,
    above_floor,
    difference,
    units_for_width,
    units_needed,
)
from slimstream.experiments.tables.spec import Claim, Table

Counted = Callable[[Sequence[str], str], Mapping[str, float]]
"""Returns params or macs by row, for the named rows; it lacks those that have to be run first."""


@dataclass(frozen=True)
class Pair:
    """Two rows of a claim, or one row and its threshold."""

    of: str
    against: str | None
    ours: Interval
    """Difference of the scores, or ratio of the counts."""
    theirs: float | None = None
    """The paper's difference."""
    testable: bool = True


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict."""

    claim: Claim
    pairs: list[Pair]
    reported: str
    """What the paper reports."""
    missing: list[str]
    """Rows that have not been run."""
    independent: bool = True
    """Whether more units would make the intervals narrower, as those of random splits would not."""
    first: int = 0
    """Units that judge it. With fewer there is no verdict."""
    second: bool = False
    """Whether these are more than those that judged it first: see `judge_twice`."""

    @property
    def verdict(self) -> str:
        if self.missing:
            return "not run"
        if self.units < self.first:
            return "not decided"
        if any(self._contradicts(pair) for pair in self.pairs):
            return "contradicted"
        if not all(pair.testable for pair in self.pairs):
            return "not testable"
        if all(self._side(pair.ours.low, pair.ours.high) > 0 for pair in self.pairs):
            return "borne out"
        return "not decided"

    def _contradicts(self, pair: Pair) -> bool:
        wide = pair.ours.widened(len(self.pairs))
        return pair.testable and self._side(wide.low, wide.high) < 0

    def _side(self, low: float, high: float) -> int:
        """1 when an interval lies wholly on the claimed side, -1 on the other, 0 when it holds the bound."""
        sign, bound = self.claim.sign, self.claim.threshold
        low, high = sorted((sign * (low - bound), sign * (high - bound)))
        return int(low > 0) - int(high < 0)

    @property
    def units(self) -> int:
        """Units that all pairs have."""
        return min((pair.ours.units for pair in self.pairs), default=0)

    @property
    def waits(self) -> bool:
        """Whether the first units have left it open, and those that it needs are not all there."""
        return self.second and not self.missing and self.units < self.first

    @property
    def needed(self) -> int | None:
        """Units that its open pairs need, at the measured spread.

        They are as many as show the paper's differences, if these are true and not ruled out already, or as
        make the intervals as narrow as `half_width`, if the claim has it. 0 when there is nothing to need, or
        when that cannot be told; None for more than are counted.
        """
        half = self.claim.half_width
        if not self.independent or (half is None and self.rules_out_theirs):
            return 0
        sizes: list[int | None] = []
        for pair in self.pairs:
            if not pair.ours.known or self._side(pair.ours.low, pair.ours.high):
                continue
            if half is not None:
                sizes.append(units_for_width(pair.ours.spread, half))
            elif pair.theirs is not None:
                away = self.claim.sign * (pair.theirs - self.claim.threshold)
                sizes.append(units_needed(pair.ours.spread, away))
        return None if None in sizes else max((size for size in sizes if size), default=0)

    @property
    def rules_out_theirs(self) -> bool:
        """Whether all differences that the paper reports are larger, on the claimed side, than the intervals
        allow."""
        sign = self.claim.sign
        reported = [(pair.theirs, pair.ours) for pair in self.pairs if pair.theirs is not None]
        return bool(reported) and all(
            ours.known and sign * theirs > max(sign * ours.low, sign * ours.high) for theirs, ours in reported
        )

    @property
    def ours(self) -> str:
        """What was measured: differences in points, an order, a score or a share."""
        if self.missing:
            return f"not run: {'; '.join(self.missing)}"
        if self.claim.ordered:
            differ = sum(bool(self._side(pair.ours.low, pair.ours.high)) for pair in self.pairs)
            wrong = [f"{pair.against} > {pair.of}" for pair in self.pairs if self._contradicts(pair)]
            said = f"{differ} of {len(self.pairs)} pairs differ beyond their intervals"
            return said + (f", against the paper: {', '.join(wrong)}" if wrong else "")
        if self.claim.counts:
            return " and ".join(f"{100 * (pair.ours.mean - 1):+.1f} %" for pair in self.pairs)
        if not self.claim.against:
            score = self.pairs[0].ours
            return str(replace(score, low=max(score.low, 0.0), high=min(score.high, 1.0)))
        shown = [points(pair.ours) for pair in self.pairs]
        if len(shown) > 1:
            shown = [f"{text} against {p.against}" for text, p in zip(shown, self.pairs, strict=True)]
        return "; ".join(shown)

    def status(self, unit: str) -> str:
        """The verdict, and where it is not decided how many units it has and needs."""
        if self.verdict != "not decided":
            return self.verdict
        has = f"{self.units} {unit}{'s' * (self.units != 1)}"
        if self.units < self.first:
            return f"not decided yet: {self.units} of the {self.first} {unit}s that judge"
        if self.rules_out_theirs:
            return f"not decided by {has}, but an effect as large as the paper's is ruled out"
        if self.needed is None or self.needed > self.units:
            half = self.claim.half_width
            wanted = "the paper's effect needs" if half is None else f"± {100 * half:g} points need"
            about = f"about {self.needed}" if self.needed else "very many"
            return f"not decided by {has}; given up: {wanted} {about}"
        if self.claim.half_width is not None or self.needed == 0:
            return f"not decided by {has}"
        return f"not decided by {has}, which would show the paper's effect"


def points(found: Interval) -> str:
    """A difference of scores in points, with its interval."""
    return f"{100 * found.mean:+.1f}" + f" ({100 * found.low:+.1f} to {100 * found.high:+.1f})" * found.known


def judge(
    claim: Claim,
    table: Table,
    done: Mapping[str, Seeds],
    counted: Counted,
    overlap: float = 0.0,
    first: int = 0,
    independent: bool = True,
) -> Judged:
    """The verdict on `claim` by the finished cells `done` of the rows of its table.

    `overlap` is that of `results.interval`; `first` and `independent` are those of `Judged`, for claims that
    no counting answers.
    """
    if claim.counts:
        names = [claim.of, *claim.against]
        counts = counted(names, claim.metric)
        missing = [name for name in names if name not in counts]
        others = [[name] for name in claim.against] if not claim.mean else [claim.against]
        shares = [nan if missing else counts[claim.of] / mean(counts[n] for n in each) for each in others]
        pairs = [
            Pair(claim.of, ", ".join(each), Interval(share, share, share))
            for each, share in zip(others, shares, strict=True)
        ]
        return Judged(claim, pairs, claim.paper, missing)
    missing = [name for name in claim.rows(table) if not _has(done.get(name, []), claim.metric)]
    learnt = {
        name: name in missing or _learnt(done[name], claim.metric, overlap) for name in claim.rows(table)
    }
    pairs = []
    for of, against in claim.pairs(table):
        printed = table.row(of).printed(claim.metric)
        base = table.row(against).printed(claim.metric) if against else 0.0
        theirs = None if printed is None or base is None else round(printed - base, 6)
        ours = Interval(nan, nan, nan)
        if of not in missing and against not in missing:
            ours = difference(done[of], done[against] if against else None, claim.metric, overlap)
            if not ours.units:
                missing.append(f"{of} and {against} on the same clips")
        # A score that is claimed outright is a claim on learning, and wrong where nothing was learnt.
        testable = learnt[of] or not against or learnt[against]
        pairs.append(Pair(of, against, ours, theirs, testable))
    reported = claim.paper or _reported(claim, table, pairs)
    return Judged(claim, pairs, reported, missing, independent, first)


def _reported(claim: Claim, table: Table, pairs: Sequence[Pair]) -> str:
    """The paper's order, score or differences in points; "" when it gives none."""
    if claim.ordered:
        scores = {name: table.row(name).printed(claim.metric) or 0.0 for name in claim.rows(table)}
        names = sorted(scores, key=lambda name: -scores[name])
        signs = (" = " if scores[one] == scores[next_] else " > " for one, next_ in pairwise(names))
        return names[0] + "".join(f"{sign}{name}" for sign, name in zip(signs, names[1:], strict=True))
    theirs = [pair.theirs for pair in pairs if pair.theirs is not None]
    if not claim.against:
        return ", ".join(f"{score:.3f}" for score in theirs)
    return f"{', '.join(f'{100 * points:+.1f}' for points in theirs)} points" * bool(theirs)


def _has(seeds: Seeds, metric: str) -> bool:
    """Whether a row has been run on clips that have `metric`: not all have the class of defects."""
    return any(metric in cell.scores for cells in seeds for cell in cells)


def _learnt(seeds: Seeds, metric: str, overlap: float) -> bool:
    """Whether a row is clearly above the commonest class; of a single unit nothing is clear either way."""
    above = above_floor(seeds, metric, overlap)
    return not above.known or above.low > 0


def judge_twice(judge_by: Callable[[int], Judged], first: int, most: int) -> Judged:
    """The verdict by the `first` replicates or, where they leave it open, by as many as the claim needs.

    `judge_by(n)` is the verdict by the first n replicates. How many are needed follows from the spread of the
    first; where that is more than `most`, or nothing is needed (`Judged.needed`), the first have the last
    word. Until what is needed is there, the claim is not decided. Looking after every
    replicate, and stopping when it pleases, would decide claims that are not true.
    """
    found = judge_by(first)
    open_still = found.verdict == "not decided" and found.units >= first
    if not open_still or not found.needed or not found.units < found.needed <= most:
        return found
    return replace(judge_by(found.needed), first=found.needed, second=True)
