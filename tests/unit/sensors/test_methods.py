"""PCA's limits hold what they promise where their assumptions do; states are told by their own models."""

import numpy as np
import pytest

from slimstream.core.errors import UserError
from slimstream.sensors.methods import PcaMonitor, StateModels, methods
from slimstream.sensors.settings import SensorRecipe

MIXING = np.random.default_rng(5).normal(size=(4, 12))


def plant(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Four sources seen by twelve sensors with noise of their own."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4)) @ MIXING + 0.3 * rng.normal(size=(n, 12)) + shift


@pytest.mark.parametrize("level", [0.95, 0.99])
@pytest.mark.parametrize("count", [40, 400])
def test_limits_cover_independent_normal_windows(level: float, count: int) -> None:
    below = []
    for seed in range(20):
        monitor = PcaMonitor(0.95).fit(plant(count, seed))
        below.append((monitor.statistics(plant(2000, 1000 + seed)) < monitor.limits(level)).mean(0))
    t2, q = np.mean(below, axis=0)
    assert t2 == pytest.approx(level, abs=0.01)
    # Jackson and Mudholkar take the residual variances for known: few windows make Q over-alarm.
    assert q == pytest.approx(level, abs=0.01 if count == 400 else 0.12)


def test_t2_sees_what_is_far_within_the_model_and_q_what_is_off_it() -> None:
    monitor = PcaMonitor(0.95).fit(plant(500, 0))
    t2_limit, q_limit = monitor.limits(0.99)
    far = np.array([[8.0, 0, 0, 0]]) @ MIXING
    off = np.linalg.svd(MIXING)[2][-1:] * 5
    t2, q = monitor.statistics(far)[0]
    assert t2 > t2_limit and q < q_limit
    t2, q = monitor.statistics(off)[0]
    assert t2 < t2_limit and q > q_limit


def test_t2_equals_mahalanobis_when_all_is_kept() -> None:
    x = plant(200, 0)[:, :3]
    monitor = PcaMonitor(1 - 1e-12).fit(x)
    t2, q = monitor.statistics(x).T
    centred = x - x.mean(0)
    expected = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(np.cov(x.T)), centred)
    np.testing.assert_allclose(t2, expected)
    assert q.max() < 1e-12


def test_a_feature_that_never_moved_is_left_out() -> None:
    x = np.column_stack([plant(100, 0), np.full(100, 7.0)])
    monitor = PcaMonitor(0.9).fit(x)
    moved = x.copy()
    moved[:, -1] = 99
    np.testing.assert_array_equal(monitor.statistics(x), monitor.statistics(moved))


@pytest.mark.parametrize("rest", [[1.0, 1.0, 1.0], [3.0, 0.5, 0.1], [1.0, *[0.1] * 20], [0.0]])
@pytest.mark.parametrize("level", [0.9, 0.99])
def test_the_q_limit_is_the_quantile_of_the_residuals_sum(rest: list[float], level: float) -> None:
    monitor = PcaMonitor(0.9).fit(plant(100, 0))
    monitor.rest = np.array(rest)
    drawn = (np.random.default_rng(0).normal(size=(200_000, len(rest))) ** 2) @ monitor.rest
    assert monitor.limits(level)[1] == pytest.approx(np.quantile(drawn, level), rel=0.12, abs=1e-6)


def test_the_nearest_state_is_named() -> None:
    x = np.concatenate([plant(100, 0), plant(100, 1, shift=4.0), plant(100, 2, shift=-4.0)])
    y = np.repeat([3, 5, 8], 100)
    model = StateModels(0.9).fit(x, y)
    fresh = np.concatenate([plant(50, 3), plant(50, 4, shift=4.0), plant(50, 5, shift=-4.0)])
    assert (model.predict(fresh) == np.repeat([3, 5, 8], 50)).mean() > 0.97


def test_a_state_at_rest_is_not_the_nearest_to_everything() -> None:
    x, still = plant(100, 0), np.full((100, 12), 3.0)
    model = StateModels(0.9).fit(np.concatenate([x, still]), np.repeat([0, 1], 100))
    assert (model.predict(plant(50, 1)) == 0).all() and (model.predict(still) == 1).all()


def test_two_windows_make_no_model() -> None:
    with pytest.raises(UserError, match="2 windows of a state are too few"):
        PcaMonitor(0.9).fit(plant(2, 0))


def test_grids_are_what_the_settings_say() -> None:
    known = methods(SensorRecipe.model_validate({"svm": {"c": [10, 1], "gamma": [1]}}), features=20)
    assert known["svm"].grid == ({"C": 1, "gamma": 0.05}, {"C": 10, "gamma": 0.05})
    assert [len(known[name].grid) for name in ("majority", "pca", "random_forest")] == [1, 5, 3]
    assert [name for name, method in known.items() if method.random] == ["random_forest"]
