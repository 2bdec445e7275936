"""Evaluate each method on held-out windows; settings are chosen on the training windows only."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimstream.sensors.methods import Classifier, Config, Method, PcaMonitor
from slimstream.sensors.settings import Detector
from slimstream.sensors.splits import WindowSplit
from slimstream.sensors.windows import Windows
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics.classification import Floats, Ints
from slimstream.training.metrics.intervals import (
    Resampling,
    draw_resamples,
    resampled_confusions,
    with_interval,
)

SCORES = {
    "macro_f1": metrics.macro_f1,
    "accuracy": metrics.accuracy,
    "macro_precision": metrics.macro_precision,
    "macro_recall": metrics.macro_recall,
}
STATISTICS = ("T²", "Q", "T² or Q")


def classify(method: Method, w: Windows, split: WindowSplit, fold: int, seeds: int) -> Ints:
    """Train `method` on all windows outside `fold` and predict the N windows of `fold`: (seeds, N) states.

    The configuration is chosen once, with seed 0, and then trained with every seed.
    """
    train = np.flatnonzero(split.fold != fold)
    config = choose_config(method, w, train, split.inner(train))
    return np.stack(
        [
            _fit(method, config, seed, w, train).predict(w.features[split.fold == fold])
            for seed in range(seeds)
        ]
    )


def choose_config(method: Method, w: Windows, train: Ints, inner: Ints) -> Config:
    """Return the configuration with the best cross-validated macro-F1.

    `train` (N,): indices of windows; `inner` (N,): their folds. The first configuration wins a tie.
    """
    if len(method.grid) == 1:
        return method.grid[0]

    def score(config: Config) -> float:
        guess = np.empty(len(train), np.int64)
        for fold in np.unique(inner):
            learnt = _fit(method, config, 0, w, train[inner != fold])
            guess[inner == fold] = learnt.predict(w.features[train[inner == fold]])
        return float(metrics.macro_f1(metrics.confusion(w.state[train], guess, len(w.states))))

    return max(method.grid, key=score)


def _fit(method: Method, config: Config, seed: int, w: Windows, windows: Ints) -> Classifier:
    learnt: Classifier = method.build(config, seed).fit(w.features[windows], w.state[windows])
    return learnt


@dataclass(frozen=True)
class Detection:
    """Results of the detector on N windows.

    `statistics` (N, 2): T² and Q divided by their theoretical limits at the first level.
    `alarms`: (kind of limits, level) → (N, 3) alarms of T², of Q, and of either.
    """

    statistics: Floats
    alarms: dict[tuple[str, float], npt.NDArray[np.bool_]]


def detect(d: Detector, w: Windows, normal: int, split: WindowSplit, fold: int) -> Detection:
    """Fit a PCA model to the windows of state `normal` outside `fold`, and apply it to the windows of `fold`.

    Limits are the theoretical ones, and quantiles of held-out normal windows (inner folds).
    """
    train = np.flatnonzero((split.fold != fold) & (w.state == normal))
    monitor = PcaMonitor(d.variance).fit(w.features[train])
    seen = monitor.statistics(w.features[split.fold == fold])
    kept = _held_out(d, w, train, split.inner(train))
    alarms = {}
    for level in d.levels:
        for name, limit in (
            ("theory", monitor.limits(level)),
            ("empirical", np.quantile(kept, level, axis=0)),
        ):
            over = seen > limit
            alarms[name, level] = np.column_stack([over, over.any(1)])
    return Detection(seen / monitor.limits(d.levels[0]), alarms)


def _held_out(d: Detector, w: Windows, train: Ints, inner: Ints) -> Floats:
    """Return T² and Q (N, 2) of normal windows, each from a model of the other inner folds."""
    kept = np.empty((len(train), 2))
    for fold in np.unique(inner):
        monitor = PcaMonitor(d.variance).fit(w.features[train[inner != fold]])
        kept[inner == fold] = monitor.statistics(w.features[train[inner == fold]])
    return kept


def resample_windows(w: Windows, split: WindowSplit, resamples: int) -> Resampling:
    """Resample the evaluated windows by blocks, or by runs if runs were held out and there are enough."""
    judged = split.fold >= 0
    return draw_resamples(split.unit[judged].tolist(), w.block[judged].tolist(), resamples)


def classification_scores(truth: Ints, guesses: Ints, classes: int, r: Resampling) -> dict[str, float]:
    """Return the SCORES of N windows with `_low` and `_high`: means over predictions `guesses` (seeds, N)."""
    matrices = np.stack([metrics.confusion(truth, guess, classes) for guess in guesses])
    drawn = np.stack([resampled_confusions(truth, guess, classes, r) for guess in guesses])
    row: dict[str, float] = {}
    for name, score in SCORES.items():
        row |= with_interval(name, float(score(matrices).mean()), score(drawn).mean(0))
    return row


def alarm_scores(fault: Ints, alarm: Ints, size: Floats, r: Resampling) -> dict[str, float]:
    """Return SCORES, detection rate, false-alarm rate and AUC of alarms (N,) for faults (N,), with intervals.

    `auc`: area under the ROC curve of the statistic `size` (N,). It does not depend on limits.
    """
    drawn = resampled_confusions(fault, alarm, 2, r)
    defined = drawn.sum(-1).all(-1)  # a resample with one class only has no rates
    quiet, found = metrics.recall(metrics.confusion(fault, alarm, 2))
    many = metrics.recall(drawn[defined])
    once = roc_areas(fault, size, r.unit, np.ones((1, r.units), np.int64))[0]
    return {
        **classification_scores(fault, alarm[None], 2, r),
        **with_interval("detection_rate", float(found), many[:, 1]),
        **with_interval("false_alarm_rate", float(1 - quiet), 1 - many[:, 0]),
        **with_interval("auc", float(once), roc_areas(fault, size, r.unit, r.draws[defined])),
    }


def roc_areas(fault: Ints, size: Floats, unit: Ints, drawn: Ints) -> Floats:
    """Return the areas (R,) under the ROC curve of `size` (N,) for `fault` (N,) in R resamples of units.

    `unit` (N,): unit of each window; `drawn` (R, U): count of each unit. The area is the share of (fault, no
    fault) pairs in the right order (Hanley & McNeil 1982). Pairs are counted once per pair of units, so all
    resamples are one matrix product.
    """
    units = drawn.shape[1]
    yes = fault == 1
    wins = np.zeros((units, units))
    for other in np.unique(unit[~yes]):
        below = np.sort(size[~yes & (unit == other)])
        won = (np.searchsorted(below, size[yes], "left") + np.searchsorted(below, size[yes], "right")) / 2
        wins[:, other] = np.bincount(unit[yes], won, units)
    faults, others = (drawn @ np.bincount(unit[which], minlength=units) for which in (yes, ~yes))
    area: Floats = ((drawn @ wins) * drawn).sum(1) / (faults * others)
    return area
