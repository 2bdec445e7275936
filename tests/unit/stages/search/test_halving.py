"""Successive halving: how many epochs, who goes on, and what a short training changes."""

import numpy as np
import pytest

from slimstream.stages.search.halving import LEAST, brief, rungs, survivors
from slimstream.training.params import FitParams


@pytest.mark.parametrize(
    ("candidates", "epochs", "expected"),
    [
        (LEAST, 9, [9]),  # nobody would be left behind
        (12, 9, [3, 9]),
        (13, 9, [1, 3, 9]),
        (60, 9, [1, 3, 9]),
        (60, 27, [1, 3, 9, 27]),
        (60, 2, [2]),
    ],
)
def test_the_last_rung_has_as_few_as_the_choice_needs(
    candidates: int, epochs: int, expected: list[int]
) -> None:
    assert rungs(candidates, epochs) == expected


def test_a_third_goes_on_and_the_slower_and_worse_stay_behind() -> None:
    """Cheap ones that are better than all cheaper ones come before expensive ones that are beaten."""
    cost = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 9, 9, 9, 9, 9, 9])
    score = np.array([0.9, 0.1, 0.8, 0.1, 0.7, 0.1, 0.6, 0.1, 0.5, *[0.89] * 6])
    assert survivors(score, cost) == [0, 2, 4, 6, 8]


def test_where_the_front_is_short_the_next_best_go_on() -> None:
    cost = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9])
    score = np.array([0.9, 0.2, 0.8, 0.3, 0.4, 0.5, 0.6, 0.1, 0.7])
    assert survivors(score, cost) == [0, 2, 6, 8]


def test_of_few_all_go_on() -> None:
    assert survivors(np.array([0.1, 0.9, 0.5]), np.array([3.0, 1.0, 2.0])) == [0, 1, 2]


def test_a_short_training_has_one_descent_and_no_mean_of_weights() -> None:
    p = brief(FitParams(epochs=30, cycles=3, warmup_epochs=5, ema=0.99, lr=0.1), 3)
    assert (p.epochs, p.cycles, p.warmup_epochs, p.ema, p.select, p.lr) == (3, 1, 1, 0.0, "last", 0.1)
