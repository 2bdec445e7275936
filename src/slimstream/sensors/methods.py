"""The classical methods: PCA with T² and Q, support vector machine, random forest (P1, introduction).

P1 gives no settings. These follow MacGregor & Kourti 1995 ("Statistical process control of
multivariate processes"), Chiang, Russell & Braatz 2001 ("Fault detection and diagnosis in industrial
systems").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from slimstream.core.errors import UserError
from slimstream.sensors.settings import SensorRecipe
from slimstream.training.metrics.classification import Floats, Ints

MIN_STD = 1e-9
"""A feature with a smaller standard deviation, relative to its mean, is constant."""


class PcaMonitor:
    """PCA model of one state: distance of a window within the model (T²) and from it (Q, also called SPE).

    Features are scaled to unit variance. A constant feature is left out, unless `floor` gives a minimum
    standard deviation.
    """

    def __init__(self, variance: float, floor: float = 0.0) -> None:
        self.variance, self.floor = variance, floor

    def fit(self, x: Floats) -> Self:
        """Fit to windows (N, F) of the state, N ≥ 3. Components are kept up to the share `variance`."""
        if len(x) < 3:
            raise UserError(
                f"{len(x)} windows of a state are too few for a PCA model of it: make `step` smaller."
            )
        self.count = len(x)
        self.mean, spread = x.mean(0), np.maximum(x.std(0, ddof=1), self.floor)
        self.scale = np.where(spread > MIN_STD * (1 + np.abs(self.mean)), spread, np.inf)
        scaled = (x - self.mean) / self.scale
        _, singular, axes = np.linalg.svd(scaled, full_matrices=False)
        powers = singular**2 / (self.count - 1)
        share = np.cumsum(powers) / max(powers.sum(), MIN_STD)
        # At least one component, and at least one degree of freedom left for the F limit of T².
        kept = int(np.clip(np.searchsorted(share, self.variance) + 1, 1, self.count - 2))
        self.axes, self.powers, self.rest = axes[:kept].T, powers[:kept], powers[kept:]
        return self

    def statistics(self, x: Floats) -> Floats:
        """Return T² and Q (N, 2) of windows (N, F)."""
        scaled = (x - self.mean) / self.scale
        scores = scaled @ self.axes
        t2 = (scores**2 / np.maximum(self.powers, MIN_STD)).sum(1)
        q = ((scaled - scores @ self.axes.T) ** 2).sum(1)
        return np.stack([t2, q], axis=1)

    def limits(self, level: float) -> Floats:
        """Return the limits (2,) of T² and Q for a new window of the state at confidence `level` (0..1).

        T²: F distribution (Tracy, Young & Mason 1992, for a new observation). Q: Jackson & Mudholkar 1979.
        Both assume independent, normally distributed windows, which overlapping or drifting windows are not.
        """
        n, a = self.count, len(self.powers)
        t2 = a * (n * n - 1) / (n * (n - a)) * stats.f.ppf(level, a, n - a)
        return np.array([t2, self._q_limit(level)])

    def _q_limit(self, level: float) -> float:
        one, two, three = (float((self.rest**power).sum()) for power in (1, 2, 3))
        if one < MIN_STD:  # no residual variance
            return MIN_STD
        h = 1 - 2 * one * three / (3 * two**2)
        if h < 1e-3:  # one direction dominates, and the formula is inaccurate: scaled χ² (Box 1954)
            return float(two / one * stats.chi2.ppf(level, one**2 / two))
        normal = stats.norm.ppf(level)
        inner = normal * h * np.sqrt(2 * two) / one + 1 + two * h * (h - 1) / one**2
        return float(one * inner ** (1 / h))


class StateModels(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One PCA model per state; a window is assigned to the nearest state (SIMCA, Wold 1976).

    The distance is the sum of T² and Q, each divided by its 95 % limit (combined index, Yue & Qin 2001).
    Features have unit variance over all states. A sensor that is constant in one state, as when the plant
    stands still, gets a standard deviation of 0.01, otherwise every window would be far from that state.
    """

    LEVEL, FLOOR = 0.95, 0.01

    def __init__(self, variance: float = 0.9) -> None:
        self.variance = variance

    def fit(self, x: Floats, y: npt.NDArray[Any]) -> Self:
        self.classes_ = np.unique(y)
        self.monitors_ = [PcaMonitor(self.variance, self.FLOOR).fit(x[y == state]) for state in self.classes_]
        return self

    def predict(self, x: Floats) -> npt.NDArray[Any]:
        distance = [(m.statistics(x) / m.limits(self.LEVEL)).sum(1) for m in self.monitors_]
        states: npt.NDArray[Any] = self.classes_[np.argmin(distance, axis=0)]
        return states


class Classifier(Protocol):
    """The interface of scikit-learn's classifiers."""

    def fit(self, x: Floats, y: Ints) -> Any: ...
    def predict(self, x: Floats) -> Ints: ...


Config = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A classifier and its configurations, simplest first. `random`: the result depends on the seed."""

    grid: tuple[Config, ...]
    build: Callable[[Config, int], Classifier]
    random: bool = False


def methods(p: SensorRecipe, features: int) -> dict[str, Method]:
    """Return the classifiers for windows with `features` features, by name. All classes have equal weight."""
    grids = {
        "pca": _grid(variance=p.pca.variance),
        "svm": _grid(C=sorted(p.svm.c), gamma=[g / features for g in sorted(p.svm.gamma)]),
        "random_forest": _grid(min_samples_leaf=sorted(p.random_forest.leaf, reverse=True)),
    }

    def svm(config: Config, seed: int) -> Classifier:
        return make_pipeline(StandardScaler(), SVC(kernel="rbf", class_weight="balanced", **config))

    def forest(config: Config, seed: int) -> Classifier:
        trees = p.random_forest.trees
        return RandomForestClassifier(trees, class_weight="balanced", random_state=seed, **config)

    return {
        "majority": Method(({},), lambda config, seed: DummyClassifier(strategy="prior")),
        "pca": Method(
            grids["pca"], lambda config, seed: make_pipeline(StandardScaler(), StateModels(**config))
        ),
        "svm": Method(grids["svm"], svm),
        "random_forest": Method(grids["random_forest"], forest, random=True),
    }


def _grid(**values: list[Any]) -> tuple[Config, ...]:
    return tuple(dict(zip(values, point, strict=True)) for point in product(*values.values()))
