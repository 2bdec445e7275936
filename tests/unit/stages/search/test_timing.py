"""Times of candidates and their spread."""

import numpy as np
import pytest

from slimstream.stages.search.timing import _fastest


def test_the_spread_is_how_well_the_fastest_run_is_known() -> None:
    """Ten runs of 20 ms and some load, which only adds: the mean spread is the mean error of the fastest."""
    runs = 20 + np.random.default_rng(0).exponential(3.0, (10, 5000))
    fastest, spread = _fastest(runs)
    assert fastest.min() >= 20 and spread.min() >= 0
    assert spread.mean() == pytest.approx((fastest - 20).mean(), rel=0.15)
    assert spread.mean() == pytest.approx(3.0 / 9, rel=0.05)
