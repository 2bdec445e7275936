"""Latency of calls: percentiles over single timed calls."""

import time
from collections.abc import Callable, Mapping, Sequence
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
    """Return the wall time of each call in milliseconds."""
    spent = []
    for call in calls:
        start = time.perf_counter()
        call()
        spent.append((time.perf_counter() - start) * 1000)
    return spent


def latency(call: Callable[[], object], runs: int, warm_up: int = 3) -> Latency:
    """Time `call` `runs` times, after `warm_up` calls that are not counted."""
    return latencies({"": call}, runs, warm_up)[""]


def latencies(calls: Mapping[str, Callable[[], object]], runs: int, warm_up: int = 3) -> dict[str, Latency]:
    """Time several calls alternately; see `time_in_turns`."""
    return {name: percentiles(spent) for name, spent in time_in_turns(calls, runs, warm_up).items()}


def time_in_turns(
    calls: Mapping[str, Callable[[], object]], runs: int, warm_up: int = 3
) -> dict[str, tuple[float, ...]]:
    """Wall times in ms of `runs` calls each, after `warm_up` calls that are not counted.

    The calls alternate, so that other load on the machine affects all equally.
    """
    turns = [time_calls(list(calls.values())) for _ in range(warm_up + runs)][warm_up:]
    return dict(zip(calls, zip(*turns, strict=True), strict=True))
