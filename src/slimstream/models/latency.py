"""Latency of calls: percentiles over single timed calls."""

import random
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
    """Time several calls in turns; see `time_in_turns`."""
    return {name: percentiles(spent) for name, spent in time_in_turns(calls, runs, warm_up).items()}


def time_in_turns(
    calls: Mapping[str, Callable[[], object]], runs: int, warm_up: int = 3
) -> dict[str, tuple[float, ...]]:
    """Wall times in ms of `runs` calls each, after `warm_up` calls that are not counted.

    Each turn has its own order, so that other load on the machine affects all equally, and so does what the
    call before has left in the caches. The orders are the same every time.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    order, orders = list(calls), random.Random(0)
    for _ in range(warm_up + runs):
        orders.shuffle(order)
        for name, milliseconds in zip(order, time_calls([calls[name] for name in order]), strict=True):
            spent[name].append(milliseconds)
    return {name: tuple(times[warm_up:]) for name, times in spent.items()}
