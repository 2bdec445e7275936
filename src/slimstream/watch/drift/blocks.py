"""Windows of a camera as blocks of two minutes, whose means are compared: neighbours are too alike."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimstream.runtimes.appearance import appearance, mean_picture
from slimstream.runtimes.seen import FEATURES, MEASURES
from slimstream.watch.drift.scene import Scene, median_scene, small_scene
from slimstream.watch.looks import Look

SECONDS = 120.0
"""Of a block."""
WINDOWS = 3
"""A block with fewer of them says nothing."""
SCENES = 12
"""Pictures of a block that its scene is the median of, at most."""
NAMES = (*MEASURES, "alike", "worst part")
"""Measures of a block: those of a clip, and both of `scene.alikeness`."""
ALIKE = NAMES.index("alike")
Row = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """What is measured of a window."""

    values: Row
    """(len(MEASURES),); NaN where the network has no reference."""
    state: str
    """What the network answered."""
    scene: Scene


@dataclass
class Block:
    """Some minutes of a camera."""

    began: float
    """In seconds since 1970."""
    values: Row
    """(len(NAMES),), means of the windows."""
    shares: dict[str, float]
    """Share of the windows that had each answer; they sum up to 1."""
    scene: Scene

    @property
    def state(self) -> str:
        """The answer that most windows had."""
        return max(self.shares, key=self.shares.__getitem__)


class Blocks:
    """Collects the windows of one camera."""

    def __init__(self) -> None:
        self._number: float | None = None
        self._sum = np.zeros(len(MEASURES))
        self._states: Counter[str] = Counter()
        self._scenes: list[Scene] = []
        self._next_scene = 0.0

    def add(self, time: float, measured: Measured) -> Block | None:
        """Take a window of the time in seconds since 1970. Returns the block that ended with it, if any."""
        number, done = time // SECONDS, None
        if number != self._number:
            done = self._block()
            self._number, self._next_scene = number, time
            self._sum, self._states, self._scenes = np.zeros(len(MEASURES)), Counter(), []
        self._sum += measured.values
        self._states[measured.state] += 1
        if time >= self._next_scene:
            self._scenes.append(measured.scene)
            self._next_scene = time + SECONDS / SCENES
        return done

    def _block(self) -> Block | None:
        count = self._states.total()
        if self._number is None or count < WINDOWS:
            return None
        values = np.append(self._sum / count, (np.nan, np.nan))
        shares = {state: windows / count for state, windows in self._states.items()}
        return Block(self._number * SECONDS, values, shares, median_scene(self._scenes))


def measure(look: Look) -> Measured:
    """Measure a window that was answered."""
    mean = mean_picture(look.window.pictures)
    features = np.full(FEATURES, np.nan)
    few = look.window.model.classifier.place(look.features)[:FEATURES]
    features[: len(few)] = few
    unlikeness = look.answer.get("unlikeness")
    confidence = max(p for name, p in look.answer.items() if name.startswith("p_"))
    said = [np.nan if unlikeness is None else unlikeness, confidence]
    values = np.concatenate([appearance(mean), said, features]).astype(np.float64)
    return Measured(values, look.answer["label"], small_scene(mean))
