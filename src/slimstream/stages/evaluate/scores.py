"""Scores of the models on the same test clips, with intervals, and their differences."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from slimstream.runtimes.split_part import SplitPart
from slimstream.stages.evaluate.deployed import Prediction
from slimstream.stages.evaluate.times import Times
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics.intervals import (
    Resampling,
    percentile_interval,
    resampled_confusions,
    with_interval,
)

RESAMPLED_METRICS = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
"""Scores that are shown with an interval."""
COMPARISONS = [
    ("slim", "original"),
    ("pruned", "original"),
    ("control", "original"),
    ("distilled", "original"),
    ("distilled", "control"),
]


def score(r: Prediction, test: SplitPart, draws: Resampling, times: Times) -> dict[str, float]:
    """The row of one model in the table."""
    resampled = resampled_confusions(test.truth, r.predicted, r.test.shape[1], draws)
    row = metrics.summary(test.truth, r.test)
    for key, of in RESAMPLED_METRICS.items():
        row |= with_interval(key, row[key], of(resampled))
    row |= by_video(r, test, draws) | told_unknown(r, test)
    network, prepare, total = times.network, times.prepare, times.total
    return (
        row
        | r.card.validation
        | {
            "params": r.card.params,
            "macs": r.card.macs,
            "megabytes": r.form.megabytes,
            "latency_p50_ms": network.p50,
            "latency_p95_ms": network.p95,
            "prepare_p50_ms": prepare.p50,
            "prepare_p95_ms": prepare.p95,
            "file_to_answer_p50_ms": total.p50,
            "total_p50_ms": total.p50,
            "total_p95_ms": total.p95,
        }
    )


def told_unknown(r: Prediction, test: SplitPart) -> dict[str, float]:
    """Calibration error before calibration, and what was measured of the answer `unknown`."""
    row = {"ece_before": metrics.summary(test.truth, r.uncalibrated)["ece"]}
    if r.calibration.reference is not None:
        row["unknown"] = float((r.unlikeness > 1).mean())
    if areas := r.calibration.left_out:
        row["left_out_auroc"] = float(np.mean(list(areas.values())))
    return row


def by_video(r: Prediction, test: SplitPart, draws: Resampling) -> dict[str, float]:
    """Accuracy and macro-F1 per video, from the mean probabilities of its clips, with intervals.

    Empty where every video has a single clip.
    """
    first, votes = metrics.average_by_video(r.test, test.rows["video"].tolist())
    if len(first) == len(r.test):
        return {}
    truth, predicted = test.truth[first], votes.argmax(1)
    matrix = metrics.confusion(truth, predicted, r.test.shape[1])
    # All clips of a video are one twin set, so a video belongs to one unit of the resampling.
    resampled = resampled_confusions(
        truth, predicted, r.test.shape[1], replace(draws, unit=draws.unit[first])
    )
    row = {"videos": float(len(first))}
    for key, of in RESAMPLED_METRICS.items():
        row |= with_interval(f"video_{key}", float(of(matrix)), of(resampled))
    return row


def compare(results: list[Prediction], test: SplitPart, draws: Resampling) -> Iterator[dict[str, Any]]:
    """Paired differences in macro-F1 of `COMPARISONS`, on the same resamples for both models."""
    by_name = {r.name: r for r in results}
    for name, versus in COMPARISONS:
        if name in by_name and versus in by_name:
            a, b = by_name[name], by_name[versus]
            (delta_a, many_a), (delta_b, many_b) = (
                (
                    float(metrics.macro_f1(metrics.confusion(test.truth, r.predicted, r.test.shape[1]))),
                    metrics.macro_f1(resampled_confusions(test.truth, r.predicted, r.test.shape[1], draws)),
                )
                for r in (a, b)
            )
            low, high = percentile_interval(many_a - many_b)
            yield {"name": name, "versus": versus, "delta": delta_a - delta_b, "low": low, "high": high}
