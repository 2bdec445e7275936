"""How long one call takes, as percentiles of single timed calls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Median and 95th percentile in milliseconds."""

    p50: float
    p95: float


def percentiles(milliseconds: Sequence[float]) -> Latency:
    return Latency(*(float(q) for q in np.percentile(milliseconds, [50, 95])))


def time_calls(calls: Sequence[Callable[[], object]]) -> list[float]:
    """Milliseconds of wall time of each call, in order."""
    spent = []
    for call in calls:
        start = time.perf_counter()
        call()
        spent.append((time.perf_counter() - start) * 1000)
    return spent


def latency(call: Callable[[], object], runs: int, warm_up: int = 3) -> Latency:
    """Time `call` alone, `runs` times, after `warm_up` calls that are not counted (caches, lazy set-up)."""
    time_calls([call] * warm_up)
    return percentiles(time_calls([call] * runs))
