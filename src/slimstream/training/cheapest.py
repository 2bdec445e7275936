"""The rule by which one candidate is chosen: the cheapest that surely loses little."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimstream.training.inner_folds import InnerFolds, scores_of_folds
from slimstream.training.metrics.classification import Floats, Ints
from slimstream.training.metrics.intervals import MIN_GROUPS, Resampling, leave_each_out

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
    spread: Floats | None = None,
) -> tuple[Floats, Choice, str]:
    """Choose among n candidates by what each `predicted` (N,) on inner folds, at a `cost` (n,); see `choose`.

    Returns the scores (n,), the mean macro-F1 over the folds, the choice, and what its bounds are made of.
    Of fewer than MIN_GROUPS groups the bounds are those of `few_groups`: resamples of three or four groups
    vary much less than groups do.
    """

    def score(some: Resampling | None = None) -> Floats:
        return np.stack([scores_of_folds(truth, each, folds, classes, some) for each in predicted])

    scores = score()[:, 0]
    best = best_of(scores, cost)
    if draws.conditional or draws.groups >= MIN_GROUPS:
        low, high = percentiles(score(draws), best)
        drawn = f"{draws.units} near-twin sets" if draws.conditional else f"{draws.groups} groups"
    else:
        low, high = few_groups(scores, score(leave_each_out(draws)), best)
        drawn = f"{draws.groups} groups, Student's t"
    return scores, choose(scores, low, high, cost, margin, drawn, spread), drawn


def best_of(scores: Floats, cost: Floats) -> int:
    """The index of the highest of `scores` (n,); of several, of the one with the lowest `cost` (n,)."""
    return int(np.lexsort((cost, -scores))[0])


def percentiles(resampled: Floats, best: int) -> tuple[Floats, Floats]:
    """One-sided bounds (n,) of the loss against `best`, from scores (n, R) in the same resamples."""
    low, high = np.quantile(resampled[best] - resampled, [1 - LEVEL, LEVEL], axis=1)
    return low, high


def few_groups(scores: Floats, left_out: Floats, best: int) -> tuple[Floats, Floats]:
    """One-sided bounds (n,) of the loss against `best` by the jackknife over k groups and Student's t.

    `scores` (n,) are those of all groups, `left_out` (n, k) those without each (Efron & Tibshirani 1993,
    chapter 11). Where a score is the mean over the groups, this is the t interval of their paired losses.
    """
    from scipy.stats import t  # takes a second to import

    count = left_out.shape[1]
    losses = left_out[best] - left_out
    error = np.sqrt((count - 1) / count * ((losses - losses.mean(1, keepdims=True)) ** 2).sum(1))
    loss = scores[best] - scores
    width = t.ppf(LEVEL, count - 1) * error
    return loss - width, loss + width


def choose(
    scores: Floats,
    low: Floats,
    high: Floats,
    cost: Floats,
    margin: float,
    folds: str,
    spread: Floats | None = None,
) -> Choice:
    """Choose the cheapest candidate whose loss against the best has an upper bound of at most `margin`.

    `scores`, the bounds `low` and `high` of the paired loss against the best, and `cost` are (n,). `folds`
    describes in the reason what the bounds are made of. The best one is always admitted. So where the clips
    are too few to say that a cheaper one is as good, it is kept.

    `spread` (n,) is how far each cost may be from its true value; without, costs are exact. Costs whose
    ranges meet are equal: of the candidates that cost as little as the cheapest, the best is chosen.
    """
    apart = np.zeros_like(cost) if spread is None else spread
    best = best_of(scores, cost)
    mean = scores[best] - scores
    admitted = (high <= margin) | (np.arange(len(scores)) == best)
    least = int(np.argmin(np.where(admitted, cost, np.inf)))
    equal = admitted & (cost - apart <= cost[least] + apart[least])
    chosen = int(np.lexsort((cost, np.where(equal, -scores, np.inf)))[0])
    cheaper = cost + apart < cost[chosen] - apart[chosen]
    undecided = np.flatnonzero(cheaper & (mean <= margin)).tolist()
    alike = int(equal.sum())
    return Choice(
        chosen, best, low, high, undecided, _why(chosen, best, high, undecided, cheaper, alike, margin, folds)
    )


def _why(
    chosen: int,
    best: int,
    high: Floats,
    undecided: list[int],
    cheaper: npt.NDArray[np.bool_],
    alike: int,
    margin: float,
    folds: str,
) -> str:
    """The reason, a sentence; `alike` is the number of candidates that cost as little as the chosen one."""
    open_question = (
        f"cheaper ones may be as good ({len(undecided)} lose at most {margin:g} on average), but the clips "
        f"are too few to say ({folds})"
    )
    if chosen != best:
        which = "the cheapest" if alike == 1 else f"the best of the {alike} cheapest, which cost the same,"
        first = (
            f"{which} whose loss against the best is at most {margin:g} (upper bound "
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
