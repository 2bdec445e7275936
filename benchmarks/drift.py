"""Watching for drift on a simulated month of the rig: false alarms, and how soon a disturbance is found.

Of each camera some hours are rendered (`drift_streams`). Minutes of the rig are independent of each other, so
the month is drawn from them, minute by minute, and goes through the monitor of `watch` block by block. The
recordings that are watched are not those that were learnt from.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.compare import Result, ratio_result
from benchmarks.drift_streams import Change, Learnt, covered, cycles, dirt, lit, shifted
from slimstream.watch.drift.blocks import SECONDS, Measured
from slimstream.watch.drift.days import Day
from slimstream.watch.drift.kinds import OVER
from slimstream.watch.drift.known import DAY
from slimstream.watch.drift.monitor import Monitor
from slimstream.watch.events import Event

RECORDINGS = (50, 51, 52, 53)
CYCLES, DISTURBED = 90, 8
"""Minutes that are rendered of each camera, and of each disturbance before it."""
MONTHS = 2
"""Of each camera."""
START = 1_767_225_600.0
"""Midnight of some day."""
HOURS = 4
"""Of a disturbance."""
CHANGES: dict[str, tuple[str, Change]] = {
    "dark cover": ("covered", covered(0.04, 3.0)),
    "bag over the lens": ("covered", covered(0.8, 9.0)),
    "moved by 2 %": ("moved", shifted(0.02)),
    "moved by 4 %": ("moved", shifted(0.04)),
    "moved by 15 %": ("moved", shifted(0.15)),
    "turned by 3°": ("moved", shifted(0.0, 3.0)),
    "light at 0.55": ("light", lit(0.55, 1.0, (1, 1, 1))),
    "another lamp": ("light", lit(0.9, 1.5, (0.8, 1.0, 1.15))),
    "dirt, 6 drops": ("drift", dirt(6)),
    "dirt, 14 drops": ("drift", dirt(14)),
}

Cycle = list[Measured]


def run() -> list[Result]:
    torch.manual_seed(0)
    learnt = Learnt()
    pools = {recording: list(cycles(learnt, recording, 0, CYCLES)) for recording in RECORDINGS}
    false: list[str] = []
    for recording, pool in pools.items():
        for month in range(MONTHS):
            rng = np.random.default_rng([recording, month])
            events, _ = watched(learnt, drawn(pool, 30 * DAY, rng))
            false += [f"{recording}: {event.kind}: {event.reason}" for event in events]
    months = MONTHS * len(pools)
    low, high = poisson_interval(len(false))
    print("\n".join(f"  {text}" for text in false))
    results = [
        ratio_result(
            *("drift", f"false alarms in {months} camera-months of the rig", "1 a camera-month"),
            [len(false) / months],
            most=1.0,
            note=f"{len(false)}; with 95 % between {low / months:.2f} and {high / months:.2f} a month",
        )
    ]
    for name, (wanted, change) in CHANGES.items():
        told: Counter[str] = Counter()
        delays = []
        for recording, pool in pools.items():
            rng = np.random.default_rng(recording)
            disturbed = list(cycles(learnt, recording, 10_000, DISTURBED, change))
            before = drawn(pool, DAY + 60, rng)
            events, began = watched(learnt, before, drawn(disturbed, round(HOURS * 3600 / SECONDS), rng))
            found = [event for event in events if event.kind != OVER and seconds(event) >= began]
            told[found[0].kind if found else "nothing"] += 1
            delays.append((seconds(found[0]) + SECONDS - began) / 3600 if found else float("inf"))
        said = ", ".join(f"{kind} {count}" for kind, count in told.most_common())
        most = 1.0 if wanted == "moved" else None
        results.append(ratio_result("drift", name, "an hour", delays, most=most, note=f"told as {said}"))
    return results


def drawn(pool: Sequence[Cycle], blocks: int, rng: np.random.Generator) -> Iterator[Cycle]:
    """Cycles for so many blocks, drawn at random."""
    for _ in range(round(blocks * SECONDS / 60)):
        yield pool[int(rng.integers(len(pool)))]


def watched(
    learnt: Learnt, before: Iterable[Cycle], after: Iterable[Cycle] = ()
) -> tuple[list[Event], float]:
    """The events of a camera that shows `before` and then `after`, and when this began."""
    with tempfile.TemporaryDirectory() as folder:
        days: list[Day] = []
        monitor = Monitor("rig", Path(folder) / "rig.safetensors", days.append)
        now, events = START, []
        for cycle in before:
            events += take(monitor, learnt, cycle, now)
            now += 60
        began = now
        for cycle in after:
            events += take(monitor, learnt, cycle, now)
            now += 60
    return events, began


def take(monitor: Monitor, learnt: Learnt, cycle: Cycle, now: float) -> list[Event]:
    step = 60 / len(cycle)
    return [
        event
        for number, measured in enumerate(cycle)
        for event in monitor.see(now + number * step, measured, learnt.model)
    ]


def seconds(event: Event) -> float:
    """Beginning of the last block that was judged, in seconds since 1970."""
    from datetime import datetime

    return datetime.fromisoformat(event.time).timestamp()


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact interval with 95 % of the mean of a Poisson distribution that gave `count` (Garwood 1936)."""
    from scipy.stats import chi2

    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    return float(low), float(chi2.ppf(0.975, 2 * count + 2) / 2)
