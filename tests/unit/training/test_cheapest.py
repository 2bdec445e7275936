"""The rule: the cheapest candidate that surely loses little; where nothing is sure, the best."""

import numpy as np
import pytest

from slimstream.training.cheapest import (
    Choice,
    best_of,
    choose,
    choose_on_folds,
    few_groups,
    front,
    percentiles,
)
from slimstream.training.inner_folds import inner_folds
from slimstream.training.metrics.intervals import draw_resamples

COST = np.array([100.0, 50.0, 20.0])


def spread(*ranges: tuple[float, float]) -> np.ndarray:
    """Resampled scores (n, 101), evenly spread over a range for each candidate."""
    return np.stack([np.linspace(low, high, 101) for low, high in ranges])


def decide(resampled: np.ndarray, cost: np.ndarray, margin: float, folds: str) -> Choice:
    scores = resampled.mean(1)
    return choose(scores, *percentiles(resampled, best_of(scores, cost)), cost, margin, folds)


def test_the_cheapest_that_surely_loses_little_is_chosen() -> None:
    resampled = spread((0.90, 0.90), (0.888, 0.90), (0.80, 0.85))
    choice = decide(resampled, COST, 0.02, "9 groups")
    assert (choice.chosen, choice.best, choice.undecided) == (1, 0, [])
    assert choice.high == pytest.approx([0, 0.0114, 0.0975]) and choice.low == pytest.approx(
        [0, 0.0006, 0.0525]
    )
    assert "loss against the best is at most 0.02 (upper bound 0.011)" in choice.why


def test_a_loss_that_may_be_larger_is_not_risked() -> None:
    """The third loses 0.01 on average, as the second does, but 0.05 in some resamples."""
    resampled = spread((0.90, 0.90), (0.885, 0.895), (0.84, 0.94))
    choice = decide(resampled, COST, 0.02, "3 groups")
    assert choice.chosen == 1 and choice.undecided == [2]
    assert "cheaper ones may be as good (1 lose at most 0.02 on average)" in choice.why
    assert "too few to say (3 groups)" in choice.why


def test_where_nothing_can_be_said_the_best_is_kept() -> None:
    resampled = spread((0.90, 0.90), (0.84, 0.94), (0.80, 0.99))
    choice = decide(resampled, COST, 0.02, "3 groups")
    assert choice.chosen == choice.best == 0 and choice.undecided == [1, 2]
    assert choice.why.startswith("the best is kept: cheaper ones may be as good (2 lose")


def test_where_every_cheaper_one_is_worse_nothing_is_open() -> None:
    resampled = spread((0.90, 0.90), (0.80, 0.85), (0.70, 0.75))
    choice = decide(resampled, COST, 0.02, "9 groups")
    assert choice.chosen == 0 and not choice.undecided
    assert choice.why == "the best is kept: every cheaper one loses more than 0.02."


def test_the_cheapest_of_the_best_is_the_best() -> None:
    resampled = spread((0.8, 0.9), (0.8, 0.9), (0.8, 0.9))
    choice = decide(resampled, COST, 0.0, "9 groups")
    assert choice.chosen == choice.best == 2 and choice.why == "the best is also the cheapest."


def test_of_those_whose_costs_are_equal_within_their_spread_the_best_is_chosen() -> None:
    scores, none = np.array([0.90, 0.89, 0.885]), np.zeros(3)
    high, cost = np.array([0, 0.011, 0.016]), np.array([100.0, 20.4, 20.0])

    def chosen(apart: float) -> Choice:
        return choose(scores, none, high, cost, 0.02, "9 groups", np.full(3, apart))

    assert chosen(0.1).chosen == 2 and chosen(0.1).why.startswith("the cheapest whose loss")
    assert chosen(0.3).chosen == 1 and not chosen(0.3).undecided
    assert chosen(0.3).why.startswith("the best of the 2 cheapest, which cost the same, whose loss")


def test_losses_are_paired() -> None:
    """Both vary by 0.2 over the resamples, but one is always 0.01 behind the other."""
    resampled = spread((0.7, 0.9), (0.69, 0.89))
    choice = decide(resampled, COST[:2], 0.015, "9 groups")
    assert choice.chosen == 1 and choice.high[1] == pytest.approx(0.01)


def test_of_few_groups_the_bound_is_that_of_a_t_interval() -> None:
    """Three groups: resamples of them never differ as much as a fourth group may."""
    by_group = np.array([[0.95, 0.92, 0.98], [0.94, 0.89, 0.97]])  # losses 0.01, 0.03 and 0.01
    left_out = np.stack([np.delete(by_group, i, axis=1).mean(1) for i in range(3)], axis=1)
    low, high = few_groups(by_group.mean(1), left_out, best=0)
    losses = by_group[0] - by_group[1]
    width = 2.920 * losses.std(ddof=1) / np.sqrt(3)  # Student's t, two degrees of freedom, one-sided 95 %
    assert high == pytest.approx([0, losses.mean() + width], abs=1e-4)
    assert low == pytest.approx([0, losses.mean() - width], abs=1e-4)


def test_what_three_groups_agree_on_by_chance_is_not_believed() -> None:
    """The second errs on one clip of a group more; with ten groups that is too little to matter."""

    def decide_on(groups: int) -> Choice:
        group = np.repeat([f"camera {i}" for i in range(groups)], 20)
        truth = np.tile([0, 1], 10 * groups)
        cheap = truth.copy()
        cheap[0] = 1
        folds = inner_folds(group.tolist(), range(len(group)), truth)
        draws = draw_resamples(group.tolist(), range(len(group)), min_groups=3)
        return choose_on_folds([truth, cheap], truth, folds, draws, 2, np.array([2.0, 1.0]), 0.03)[1]

    assert decide_on(3).chosen == 0 and "3 groups, Student's t" in decide_on(3).why
    assert decide_on(10).chosen == 1


def test_the_front_has_none_that_is_both_dearer_and_worse() -> None:
    scores = np.array([0.9, 0.8, 0.85, 0.9, 0.7])
    cost = np.array([100.0, 10.0, 50.0, 120.0, 10.0])
    assert front(scores, cost).tolist() == [True, True, True, False, False]
