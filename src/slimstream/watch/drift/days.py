"""A whole day of a camera against its first day, and against what was learnt; a line for the operator."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from slimstream.runtimes.seen import MEASURES, Seen
from slimstream.watch.drift.blocks import NAMES
from slimstream.watch.drift.judge import (
    FALSE,
    GROUP,
    LEAST,
    Difference,
    differences,
    group_allowance,
    grouped,
    probability,
)
from slimstream.watch.drift.known import ALL, DAY, Known, Sample

ENOUGH = 90
"""Blocks, three hours, that a day needs to be compared."""
LOOKS = 30
"""Days a month."""
CLIPS = 6
"""Clips of a state that must have been learnt from, and groups of blocks of it, for a comparison."""


@dataclass(frozen=True)
class Day:
    """What was found of a day."""

    camera: str
    day: str
    """The date in UTC."""
    version: str
    hours: float
    """Of pictures."""
    medians: dict[str, float]
    shares: dict[str, float]
    """Of the answers."""
    unlike_first_day: list[Difference]
    unlike_learnt: dict[str, list[Difference]]
    """By state; empty also when the network came without a sample."""
    compared: list[str]
    """What it could be compared with: `its first day`, `what was learnt`."""

    def append(self, file: Path) -> None:
        """Write it as a line of `file`. Raises OSError."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(self)) + "\n")


def judge_day(camera: str, known: Known, seen: Seen | None, classes: Sequence[str]) -> Day | None:
    """Compare the blocks of `known.day`; None if there are too few. `classes` are those of `seen`."""
    day = known.day
    if len(day) < ENOUGH:
        return None
    whole = day.table(ALL)
    medians = {
        name: round(float(np.median(column[np.isfinite(column)])), 4)
        for name, column in zip(NAMES, whole.T, strict=True)
        if np.isfinite(column).any()
    }
    states = sorted({state for shares in [*day.shares, *known.answers.shares] for state in shares})
    shares = {state: float(np.mean([s.get(state, 0.0) for s in day.shares])) for state in states}
    compared, own = [], list[Difference]()
    if len(known.pictures) >= DAY:
        compared.append("its first day")
        own = differences(
            grouped(day.table(ALL)),
            grouped(known.pictures.table(ALL)),
            NAMES,
            LOOKS,
        )
    if len(known.answers) >= DAY:
        both = [
            np.array([[s.get(state, 0.0) for state in states] for s in sample.shares])
            for sample in (day, known.answers)
        ]
        own += differences(grouped(both[0]), grouped(both[1]), [f"share of {s}" for s in states], LOOKS)
    learnt: dict[str, list[Difference]] = {}
    if seen is not None:
        compared.append("what was learnt")
        learnt = unlike_learnt(day, seen, classes)
    rounded = {state: round(share, 4) for state, share in shares.items()}
    return Day(
        camera,
        known.date,
        known.model,
        round(len(day) / DAY * 24, 1),
        medians,
        rounded,
        own,
        learnt,
        compared,
    )


def unlike_learnt(day: Sample, seen: Seen, classes: Sequence[str]) -> dict[str, list[Difference]]:
    """The measures in which the blocks of a state lie further from the clips of it than a new group may."""
    found: dict[str, list[Difference]] = {}
    for number, state in enumerate(classes):
        blocks = day.of(state)
        clips = seen.truth == number
        if len(blocks) < CLIPS * GROUP or clips.sum() < CLIPS:
            continue
        now = grouped(blocks.table(range(len(MEASURES))))
        for column, name in enumerate(MEASURES):
            kept = clips & np.isfinite(seen.values[:, column])
            x, y = now[:, column], seen.values[kept, column].astype(float)
            allowance = group_allowance(y, seen.group[kept]) if kept.any() else None
            if allowance is None or np.isnan(x).any():
                continue
            p = probability(x, y, max(allowance, LEAST[name]))
            if p < FALSE / LOOKS / len(MEASURES) / len(classes):
                difference = Difference(name, float(np.median(x)), float(np.median(y)), p)
                found.setdefault(state, []).append(difference)
    return found
