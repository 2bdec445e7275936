"""The promotion policy: decide whether a new version (the challenger) replaces the champion.

Pure functions on data frames and numbers. Models are compared only on clips that none of them was trained on.
Comparisons are paired (the same clips for both models) and resampled by group, because clips of one camera or
recording are not independent.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.registry.params import GateParams
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics import intervals

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class TrainingData:
    """The train and val clips of a model: it was trained or selected on them."""

    clips: pd.DataFrame
    """One row per clip: `sha256`, `twin` and the group columns."""
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """Metrics of the challenger from the evaluate stage. Macro-F1 in 0..1, file size in 10⁶ bytes."""

    macro_f1: float
    original_macro_f1: float
    latency_p95_ms: float
    megabytes: float
    time_ratio: float = math.nan
    """Its time from file to answer, as a share of the original's; nan: not measured."""
    time_equal: bool = False
    """Whether no difference between the two times is measurable: then none is saved."""
    bytes_ratio: float = math.nan
    """Its file size, as a share of the original's."""


@dataclass(frozen=True)
class Check:
    passed: bool
    reason: str
    """One sentence with the measured value and the limit, for a passed check too."""


@dataclass(frozen=True)
class Decision:
    """The outcome of all checks."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Reasons of the failed checks; when all passed, the reasons of all checks."""
        return [check.reason for check in self.checks if check.passed == self.passed]


def decide_promotion(
    clips: pd.DataFrame,
    candidate: Candidate,
    policy: GateParams,
    classes: Sequence[str],
    recorded_best: float | None = None,
) -> Decision:
    """Apply all checks of the policy and return the decision.

    Args:
        clips: one row per test clip that no compared model was trained on, with `label`, `group`, `twin` and
            the predicted labels `challenger` and, if these versions exist, `champion` and `best` (None: no
            prediction). With fewer than `policy.min_clips` rows the predictions are not read.
        candidate: metrics of the challenger.
        policy: the limits.
        classes: names of all classes.
        recorded_best: recorded macro-F1 of the best version, used when `clips` has no column `best`.
    """
    checks = [enough_clips(len(clips), policy)]
    if not checks[0].passed:
        return Decision(tuple(checks))
    score = macro_f1(clips["label"], clips["challenger"], classes)
    if "champion" in clips:
        checks.append(not_worse_than_champion(paired_interval(clips, classes), policy))
    else:
        checks.append(reaches_floor(score, policy))
    best = macro_f1(clips["label"], clips["best"], classes) if "best" in clips else recorded_best
    if best is not None:
        checks.append(not_below_best(score, best, policy))
    checks += [
        keeps_up_with_original(candidate, policy),
        *([saves_enough(candidate, policy)] if policy.min_saving else []),
        fast_enough(candidate, policy),
        small_enough(candidate, policy),
    ]
    return Decision(tuple(checks))


def enough_clips(count: int, policy: GateParams) -> Check:
    return Check(
        count >= policy.min_clips,
        f"{count} test clips that no compared model has learnt from; {policy.min_clips} are needed",
    )


def reaches_floor(score: float, policy: GateParams) -> Check:
    return Check(
        score >= policy.min_macro_f1,
        f"macro-F1 {score:.3f} of the first version; the floor is {policy.min_macro_f1:.3f}",
    )


def not_worse_than_champion(bounds: tuple[float, float], policy: GateParams) -> Check:
    low, high = bounds
    return Check(
        low > -policy.margin,
        f"macro-F1 differs from the champion's by {low:+.3f} to {high:+.3f} ({LEVEL:.0%} interval); "
        f"its lower end must be above {-policy.margin:+.3f}",
    )


def not_below_best(score: float, best: float, policy: GateParams) -> Check:
    return Check(
        score >= best - policy.margin,
        f"macro-F1 {score:.3f}; the best version ever promoted has {best:.3f} "
        f"and may be missed by {policy.margin:.3f}",
    )


def keeps_up_with_original(candidate: Candidate, policy: GateParams) -> Check:
    drop = candidate.original_macro_f1 - candidate.macro_f1
    costs = f"costs {drop:.3f}" if round(drop, 3) > 0 else "costs no"
    return Check(
        drop <= policy.max_drop,
        f"compression {costs} macro-F1 against its own original; {policy.max_drop:.3f} is allowed",
    )


def saves_enough(candidate: Candidate, policy: GateParams) -> Check:
    most = 1 - policy.min_saving
    time, size = 1.0 if candidate.time_equal else candidate.time_ratio, candidate.bytes_ratio
    takes = {"time from file to answer": time, "bytes": size}
    known = [
        f"{ratio:.2f} of the original's {what}" for what, ratio in takes.items() if not math.isnan(ratio)
    ]
    if candidate.time_equal:
        known[0] = "the original's time from file to answer (no difference is measurable)"
    if not known:
        return Check(False, "what compression saves was not measured; run evaluate again")
    if len(known) > 1:
        reason = f"it takes {' and '.join(known)}; one of the two must be at most {most:.2f}"
    else:
        unknown = "its time was" if math.isnan(time) else "its bytes were"
        reason = f"it takes {known[0]}, and {unknown} not measured; it must be at most {most:.2f}"
    return Check(time <= most or size <= most, reason)  # comparisons with nan are false


def fast_enough(candidate: Candidate, policy: GateParams) -> Check:
    return Check(
        candidate.latency_p95_ms <= policy.max_latency_ms,
        f"p95 latency {candidate.latency_p95_ms:.1f} ms; the limit is {policy.max_latency_ms:.1f} ms",
    )


def small_enough(candidate: Candidate, policy: GateParams) -> Check:
    return Check(
        candidate.megabytes <= policy.max_megabytes,
        f"model file of {candidate.megabytes:.2f} MB; the limit is {policy.max_megabytes:.2f} MB",
    )


def unseen_clips(test: pd.DataFrame, everything: pd.DataFrame, models: Iterable[TrainingData]) -> pd.Series:
    """Mark the rows of `test` that none of `models` was trained on, directly or by a twin or the same group.

    `everything` holds all current clips with `sha256`, `twin` and the group columns. Training clips are found
    there by their content hash, so a twin set is recognised after its name has changed. Two clips are of the
    same group when they agree in all group columns of any model. Returns booleans on the index of `test`.
    """
    models = list(models)
    keys = {("twin",), *(model.group_by for model in models if model.group_by)}
    groups = {key: _groups(test, key) for key in keys}
    fresh = pd.Series(True, index=test.index)
    for model in models:
        again = everything[everything["sha256"].isin(model.clips["sha256"])]
        fresh &= ~test["sha256"].isin(model.clips["sha256"])
        for key, asked in groups.items():
            known = {*_groups(model.clips, key), *_groups(again, key)} - {None}
            fresh &= np.array([group not in known for group in asked], bool)
    return fresh


def _groups(clips: pd.DataFrame, key: Sequence[str]) -> list[tuple[Any, ...] | None]:
    """The group of each clip: its values in the columns `key`; None where one is missing."""
    if not {*key} <= {*clips.columns}:
        return [None] * len(clips)
    rows = clips[list(key)].itertuples(index=False, name=None)
    return [None if any(pd.isna(value) or value == "" for value in row) else row for row in rows]


def macro_f1(truth: pd.Series, predicted: pd.Series, classes: Sequence[str]) -> float:
    """Mean F1 (0..1) over the `classes` in `truth`. A missing prediction is wrong; nan without clips."""
    if truth.empty:
        return math.nan
    matrix = np.zeros((len(classes) + 1, len(classes) + 1), np.int64)
    np.add.at(matrix, (_codes(truth, classes), _codes(predicted, classes)), 1)
    return float(metrics.macro_f1(matrix))


def paired_interval(clips: pd.DataFrame, classes: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of macro-F1(challenger) − macro-F1(champion), paired on the same resamples.

    Of MIN_GROUPS groups or more whole groups are drawn. Of fewer the interval covers two: that of drawn
    groups, since one of them may get worse, and that of twin sets drawn within each group, since two or three
    groups may agree by chance. It is valid for these groups only.
    """
    truth, *rivals = (_codes(clips[who], classes) for who in ("label", "challenger", "champion"))

    def interval(min_groups: int) -> tuple[float, float]:
        resampling = intervals.draw_resamples(
            [*clips["group"]], [*clips["twin"]], RESAMPLES, seed, min_groups
        )
        challenger, champion = (
            metrics.macro_f1(intervals.resampled_confusions(truth, said, len(classes) + 1, resampling))
            for said in rivals
        )
        return intervals.percentile_interval(challenger - champion, LEVEL)

    groups = clips["group"].nunique()
    found = [interval(intervals.MIN_GROUPS)]
    if 1 < groups < intervals.MIN_GROUPS:
        found.append(interval(groups))
    return min(low for low, _ in found), max(high for _, high in found)


def _codes(labels: pd.Series, classes: Sequence[str]) -> npt.NDArray[np.intp]:
    """Index of each label in `classes`; len(classes) for any other label or a missing prediction."""
    codes = pd.Index(classes).get_indexer(pd.Index(labels))
    return np.where(codes < 0, len(classes), codes)
