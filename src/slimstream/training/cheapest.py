"""The rule by which one candidate is chosen: the cheapest that surely loses little."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimstream.training.inner_folds import InnerFolds, scores_of_folds
from slimstream.training.metrics.classification import Floats, Ints
from slimstream.training.metrics.intervals import Resampling

LEVEL = 0.95
"""Of the one-sided bound of a loss."""


@dataclass(frozen=True)
class Choice:
    """The result for n candidates."""

    chosen: int
    best: int
    """The one with the highest score; of several, the cheapest."""
    low: Floats
    high: Floats
    """One-sided 95 % bounds (n,) of the loss against the best, in points of the score."""
    undecided: list[int]
    """Cheaper candidates than the chosen one that lose at most the margin on average, but may lose more."""
    why: str


def choose_on_folds(
    predicted: Sequence[Ints],
    truth: Ints,
    folds: InnerFolds,
    draws: Resampling,
    classes: int,
    cost: Floats,
    margin: float,
) -> tuple[Floats, Choice, str]:
    """Choose among n candidates by what each `predicted` (N,) on inner folds, at a `cost` (n,); see `choose`.

    Returns the scores (n,), the mean macro-F1 over the folds, the choice, and what `draws` are made of.
    """
    scores = np.array([scores_of_folds(truth, each, folds, classes)[0] for each in predicted])
    resampled = np.stack([scores_of_folds(truth, each, folds, classes, draws) for each in predicted])
    drawn = f"{draws.groups} groups" if not draws.conditional else f"{draws.units} near-twin sets"
    return scores, choose(scores, resampled, cost, margin, drawn), drawn


def choose(scores: Floats, resampled: Floats, cost: Floats, margin: float, folds: str) -> Choice:
    """Choose the cheapest candidate whose loss against the best has an upper bound of at most `margin`.

    `scores` (n,) and `cost` (n,); `resampled` (n, R) are the scores in the same R resamples of the clips, so
    that differences are paired. `folds` describes the resamples in the reason. The best one is always
    admitted. So where the resamples are too few to say that a cheaper one is as good, it is kept.
    """
    best = int(np.lexsort((cost, -scores))[0])
    losses = resampled[best] - resampled
    low, high = np.quantile(losses, [1 - LEVEL, LEVEL], axis=1)
    mean = scores[best] - scores
    admitted = high <= margin
    chosen = int(np.lexsort((-scores, np.where(admitted, cost, np.inf)))[0])
    cheaper = cost < cost[chosen]
    undecided = np.flatnonzero(cheaper & (mean <= margin)).tolist()
    return Choice(
        chosen, best, low, high, undecided, _why(chosen, best, high, undecided, cheaper, margin, folds)
    )


def _why(
    chosen: int,
    best: int,
    high: Floats,
    undecided: list[int],
    cheaper: npt.NDArray[np.bool_],
    margin: float,
    folds: str,
) -> str:
    open_question = (
        f"cheaper ones may be as good ({len(undecided)} lose at most {margin:g} on average), but the clips "
        f"are too few to say ({folds})"
    )
    if chosen != best:
        first = (
            f"the cheapest whose loss against the best is at most {margin:g} (upper bound "
            f"{max(0.0, high[chosen]):.3f})"
        )
        return f"{first}; {open_question}." if undecided else f"{first}."
    if undecided:
        return f"the best is kept: {open_question}."
    if not cheaper.any():
        return "the best is also the cheapest."
    return f"the best is kept: every cheaper one loses more than {margin:g}."


def front(scores: Floats, cost: Floats) -> npt.NDArray[np.bool_]:
    """Whether no other candidate is both cheaper and better, or one of them and equal in the other; (n,)."""
    better = (scores[:, None] >= scores) & (cost[:, None] <= cost)
    strictly = (scores[:, None] > scores) | (cost[:, None] < cost)
    dominated = np.any(better & strictly, axis=0)
    return np.asarray(~dominated)
