import time

import numpy as np
import pytest

from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics.intervals import (
    MIN_GROUPS,
    draw_resamples,
    percentile_interval,
    resampled_confusions,
)


def groups(n: int, clips: int) -> list[str]:
    return [f"camera {g}" for g in range(n) for _ in range(clips)]


def test_many_groups_are_drawn_whole() -> None:
    r = draw_resamples(groups(MIN_GROUPS, 4), range(32))
    assert (r.by, r.groups, r.units, r.conditional) == ("group", MIN_GROUPS, MIN_GROUPS, False)
    assert (r.draws.sum(1) == MIN_GROUPS).all() and "conditional" not in r.label
    truth = np.zeros(32, int)
    assert (resampled_confusions(truth, truth, 2, r)[:, 0, 0] == 32).all()


def test_few_groups_are_labelled_conditional_and_twins_stay_together() -> None:
    twin = [i // 2 for i in range(24)]  # pairs
    r = draw_resamples(groups(3, 8), twin)
    assert r.conditional and r.units == 12
    assert "conditional on these 3 test groups" in r.label and "near-twin" in r.label
    assert "this one test group" in draw_resamples(groups(1, 8), range(8)).label
    # Each group keeps its size: 4 pairs drawn from its own 4 pairs.
    camera = np.repeat([0, 1, 2], 8)
    for g in range(3):
        assert (r.draws[:, np.unique(r.unit[camera == g])].sum(1) == 4).all()


def test_confusions_equal_counting_the_drawn_clips() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    r = draw_resamples(groups(10, 4), range(40), resamples=20)
    got = resampled_confusions(truth, predicted, 3, r)
    for draw, matrix in zip(r.draws, got, strict=True):
        clips = np.repeat(np.arange(40), draw[r.unit])
        assert (matrix == metrics.confusion(truth[clips], predicted[clips], 3)).all()


def test_the_same_seed_gives_the_same_interval_and_equal_models_differ_by_nothing() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 3, 40), rng.integers(0, 3, 40)
    a, b = (
        metrics.macro_f1(
            resampled_confusions(truth, predicted, 3, draw_resamples(groups(10, 4), range(40), seed=5))
        )
        for _ in range(2)
    )
    assert percentile_interval(a - b) == (0, 0) and percentile_interval(a)[0] < percentile_interval(a)[1]


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_the_interval_covers_the_true_accuracy(spread: float) -> None:
    """30 cameras with an accuracy of their own: clips drawn alone would be far too sure when spread > 0."""
    rng = np.random.default_rng(0)
    covered, trials = 0, 200
    for trial in range(trials):
        of_camera = np.clip(0.8 + rng.normal(0, spread, 30), 0, 1)
        right = rng.random((30, 10)) < of_camera[:, None]
        truth = np.zeros(300, int)
        r = draw_resamples(groups(30, 10), range(300), resamples=300, seed=trial)
        low, high = percentile_interval(
            metrics.accuracy(resampled_confusions(truth, 1 - right.ravel().astype(int), 2, r))
        )
        covered += low <= 0.8 <= high
    assert 0.88 <= covered / trials <= 0.99


def test_a_thousand_resamples_of_five_models_take_no_time() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 200)
    start = time.perf_counter()
    r = draw_resamples([f"g{i // 10}" for i in range(200)], range(200), resamples=1000)
    for _ in range(5):
        percentile_interval(metrics.macro_f1(resampled_confusions(truth, rng.integers(0, 4, 200), 4, r)))
    assert time.perf_counter() - start < 2
