"""Rows of the results table: every method on every split, with the numbers of windows, blocks and runs.

`seconds` is processor time, which does not depend on other load.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from slimstream.core.progress import progress_bar
from slimstream.sensors import evaluate
from slimstream.sensors.methods import methods
from slimstream.sensors.settings import SensorRecipe
from slimstream.sensors.splits import WARNINGS, WindowSplit
from slimstream.sensors.windows import Windows
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics.classification import Ints
from slimstream.training.metrics.intervals import Resampling, percentile_interval, resampled_confusions

Row = dict[str, Any]
STATE_SCORES = ("recall", "precision", "f1")
Bools = npt.NDArray[np.bool_]


def classifier_rows(
    p: SensorRecipe, w: Windows, found: dict[str, WindowSplit]
) -> tuple[list[Row], list[Row]]:
    """Return one row per method and split, and one row per method, split and state."""
    known = {name: methods(p, w.features.shape[1])[name] for name in p.methods}
    seeds = {name: p.seeds if method.random else 1 for name, method in known.items()}
    keys = [(split, name) for split in found for name in known]
    guesses = {(split, name): np.zeros((seeds[name], len(w.state)), np.int64) for split, name in keys}
    seconds = dict.fromkeys(keys, 0.0)
    jobs = [(split, name, fold) for split, name in keys for fold in found[split].folds]
    for split_name, name, fold in progress_bar(jobs, "classifiers"):
        split, start = found[split_name], time.process_time()
        guess = evaluate.classify(known[name], w, split, fold, seeds[name])
        guesses[split_name, name][:, split.fold == fold] = guess
        seconds[split_name, name] += time.process_time() - start

    rows, by_state = [], []
    for (split_name, name), guess in guesses.items():
        split = found[split_name]
        judged, r = split.fold >= 0, evaluate.resample_windows(w, split, p.resamples)
        named = {"task": "classify", "method": name, "split": split_name}
        cost = {"seconds": seconds[split_name, name], "configurations": len(known[name].grid)}
        rows.append(
            named
            | evaluate.classification_scores(w.state[judged], guess[:, judged], len(w.states), r)
            | cost
            | {"seeds": len(guess)}
            | _judged(w, split, r)
        )
        by_state += [named | row for row in _state_rows(w, guess, judged, r)]
    return rows, by_state


def _state_rows(w: Windows, guesses: Ints, judged: Bools, r: Resampling) -> Iterator[Row]:
    """Yield recall (with its interval), precision and F1 of each evaluated state, as means over the seeds."""
    truth, guesses = w.state[judged], guesses[:, judged]
    drawn = np.mean(
        [metrics.recall(resampled_confusions(truth, guess, len(w.states), r)) for guess in guesses], 0
    )
    per_seed = [metrics.per_class(truth, guess, w.states) for guess in guesses]
    for state in np.unique(truth):
        low, high = percentile_interval(drawn[:, state])
        mean = {key: float(np.mean([rows[state][key] for rows in per_seed])) for key in STATE_SCORES}
        inside = judged & (w.state == state)
        yield {
            "state": w.states[state],
            "recall_low": low,
            "recall_high": high,
            **mean,
            "windows": int(inside.sum()),
            "blocks": len(np.unique(w.block[inside])),
            "runs": len(np.unique(w.run[inside])),
        }


def detector_rows(p: SensorRecipe, w: Windows, found: dict[str, WindowSplit]) -> list[Row]:
    """Return the rows of the PCA monitor, without the random split."""
    rows: list[Row] = []
    if p.normal is None:
        return rows
    normal = w.states.index(p.normal)
    for split in found.values():
        judged = split.fold >= 0
        fault = (w.state[judged] != normal).astype(np.int64)
        if split.name in WARNINGS or fault.all() or not fault.any():
            continue
        start = time.process_time()
        watched = {fold: evaluate.detect(p.detector, w, normal, split, fold) for fold in split.folds}
        seconds = time.process_time() - start
        r = evaluate.resample_windows(w, split, p.resamples)
        size = np.zeros((len(w.state), 3))
        for fold, watch in watched.items():
            size[split.fold == fold] = np.column_stack([watch.statistics, watch.statistics.max(1)])
        for limits, level in next(iter(watched.values())).alarms:
            alarms = np.zeros((len(w.state), 3), np.int64)
            for fold, watch in watched.items():
                alarms[split.fold == fold] = watch.alarms[limits, level]
            for number, statistic in enumerate(evaluate.STATISTICS):
                rows.append(
                    {"task": "detect", "method": "pca_normal", "split": split.name}
                    | {"statistic": statistic, "limits": limits, "level": level}
                    | evaluate.alarm_scores(fault, alarms[judged, number], size[judged, number], r)
                    | {"seconds": seconds, "configurations": 1, "seeds": 1}
                    | _judged(w, split, r)
                )
    return rows


def _judged(w: Windows, split: WindowSplit, r: Resampling) -> Row:
    judged = split.fold >= 0
    return {
        "windows": int(judged.sum()),
        "blocks": len(np.unique(w.block[judged])),
        "runs": len(np.unique(w.run[judged])),
        "states": " | ".join(w.states[i] for i in np.unique(w.state[judged])),
        "resampled": "runs" if split.name == "runs" and not r.conditional else "blocks",
        "warning": WARNINGS.get(split.name, ""),
    }
