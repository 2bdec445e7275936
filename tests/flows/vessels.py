"""Vessels before walls of their own, as clips and as live cameras: what is in them tells the state."""

from pathlib import Path

import cv2
import numpy as np

from slimstream.watch.inbox.clip import write_clip
from tests.unit.watch import tiny

Colour = tuple[int, int, int]
STATES: dict[str, Colour] = {"leak": tiny.RED, "normal": tiny.BLUE, "overflow": (60, 190, 60)}
SIZE, FPS, SECONDS = (48, 64), 10, 1.0


class Vessel:
    """One set-up of camera, wall, light and vessel."""

    def __init__(self, number: int) -> None:
        self._rng = np.random.default_rng(number)
        coarse = self._rng.uniform(80, 150, (6, 8, 3)).astype(np.float32)
        self._wall = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        self._light = self._rng.uniform(0.9, 1.1)
        self._top, self._left = self._rng.integers(6, 12), self._rng.integers(10, 20)

    def draw(self, colour: Colour, size: tuple[int, int] = SIZE) -> tiny.Picture:
        """The next picture, with waves in the vessel and noise everywhere; (H, W, 3) uint8."""
        picture = self._wall.copy()
        waves = self._rng.uniform(0.8, 1.0, (8, 9, 1)).astype(np.float32)
        inside = cv2.resize(waves, (36, 32))[..., None] * np.array(colour)
        picture[self._top : self._top + 32, self._left : self._left + 36] = inside
        noise = self._rng.normal(0, 4, picture.shape)
        return np.clip(self._light * picture + noise, 0, 255).astype(np.uint8)


def write_source(folder: Path, recordings: int = 6, clips: int = 3) -> None:
    """Clips of the states `normal` and `leak`, of each so many in every recording, and their metadata.csv."""
    rows = ["path,label,recording"]
    times = [number / FPS for number in range(round(SECONDS * FPS))]
    for recording in range(recordings):
        vessel = Vessel(recording)
        for label in ("normal", "leak"):
            for number in range(clips):
                name = f"r{recording}/{label}_{number}.mp4"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                frames = ((time, vessel.draw(STATES[label])) for time in times)
                write_clip(frames, folder / name)
                rows.append(f"{name},{label},r{recording}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")


def state_like(colour: Colour) -> str:
    """The state whose colour is most like this one, as a person sees it."""
    return min(STATES, key=lambda name: np.abs(np.subtract(STATES[name], colour)).sum())
