"""The learning rate over an epoch axis."""

import pytest

from slimstream.learn.schedules import multiplier


def test_warm_up_is_linear_and_never_zero() -> None:
    at = lambda epoch: multiplier(epoch, epochs=10, warmup=2, schedule="cosine")  # noqa: E731
    assert 0 < at(0.0) < 0.01
    assert at(1.0) == pytest.approx(0.5)
    assert at(2.0) == pytest.approx(1.0)


def test_cosine_falls_to_a_half_midway_and_to_zero_at_the_end() -> None:
    at = lambda epoch: multiplier(epoch, epochs=10, warmup=2, schedule="cosine")  # noqa: E731
    assert at(6.0) == pytest.approx(0.5)
    assert at(10.0) == pytest.approx(0.0)


def test_constant_stays_at_the_peak() -> None:
    assert multiplier(7.3, epochs=10, warmup=2, schedule="constant") == 1.0
