"""Blocks of a camera, for tests: as many as a day has, without pictures of their own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from slimstream.runtimes.seen import Seen
from slimstream.watch.drift.blocks import NAMES, SECONDS, Block
from slimstream.watch.drift.monitor import Monitor
from slimstream.watch.events import Event
from tests.unit.watch.drift.test_scene import scene

START = 1_767_225_600.0
"""Midnight in UTC, 2026-01-01."""
RNG = np.random.default_rng(0)
SCENE = scene()


def model(name: str = "rig 1", seen: Seen | None = None, size: tuple[int, int] = (16, 24)) -> Any:
    """What a monitor asks of a network."""
    return SimpleNamespace(
        name=name, size=size, classifier=SimpleNamespace(seen=seen, classes=["leak", "normal"])
    )


class Stream:
    """A camera whose blocks vary by chance, and its monitor."""

    def __init__(self, file: Path) -> None:
        self.file, self.days = file, list[Any]()
        self.monitor = Monitor("gate", file, self.days.append)
        self.count = 0
        self.model = model()

    def restart(self) -> None:
        self.monitor = Monitor("gate", self.file, self.days.append)

    def show(self, hours: float, state: str = "normal", shift: int = 0, **changes: float) -> list[Event]:
        """The events of so many hours; `changes` are added to measures, `shift` moves the picture."""
        told = []
        for _ in range(round(hours * 3600 / SECONDS)):
            values = 0.5 + 0.02 * RNG.normal(size=len(NAMES))
            for name, change in changes.items():
                values[NAMES.index(name)] += change
            picture = np.roll(SCENE, shift, 1)
            began = START + self.count * SECONDS
            told += self.monitor._take(Block(began, values, {state: 0.8, "other": 0.2}, picture), self.model)
            self.count += 1
        return told
