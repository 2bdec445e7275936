"""A simulated multiphase-flow rig: rendered clips of the plant of P1, whose own videos are not available.

      cooler   separator             normal          all bubbles rise through the riser
     ┌──────════╤═══════════
     └─────┐    ╠═══════╗            diverted_flow   a part takes the bypass on the right
     ┌─────┘    ╫ joint ║ bypass
    ┌┴────┐     ║       ║            air_leakage     a part escapes at the joint, as a jet of mist
    │tank │     ╠═══════╝
    └─────┘     ║ riser

The states differ in *where* the same bubbles move, not in their number, speed or brightness: rates and speeds
are drawn from the same ranges in every state. Bubbles also pass through a cooler with as many bends as the
bypass, and a vent on the tank throws the same mist as the leak. An agitator, a beacon and passing operators
move in the same way in every state. A recording is one set-up of camera, light, wall and clutter, and has
clips of every state. All lengths below are in heights of the picture, with y downwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from slimstream.stages.ingest.plants.camera import Film
from slimstream.stages.ingest.plants.clip import Picture, SimulatedClip, group_name, write_video
from slimstream.stages.ingest.plants.rig_scene import (
    COOLER,
    DETOUR,
    HEIGHT,
    JOINT,
    MIST,
    RISER,
    VENT,
    WIDTH,
    Bubbles,
    Camera,
    Jet,
    Nuisance,
)

STATES = ("air_leakage", "diverted_flow", "normal")


@dataclass(frozen=True)
class RigClip(SimulatedClip):
    """A clip of one recording in one state."""

    version: ClassVar[int] = 2
    recording: int
    state: str
    number: int
    seconds: float
    fps: float
    seed: int

    @property
    def name(self) -> str:
        return group_name("recording", self.recording, self.seed)

    @property
    def key(self) -> str:
        return f"rig/{self.name}/{self.state}_{self.number}.mp4"

    @property
    def label(self) -> str:
        return self.state

    @property
    def groups(self) -> dict[str, str]:
        return {"recording": self.name}

    def write(self, path: Path) -> None:
        write_video(render(self), path, self.fps, (WIDTH, HEIGHT))


def rig_clips(recordings: int, per_state: int, seconds: float, fps: float, seed: int) -> list[RigClip]:
    """Every clip of the rig. More recordings or more clips per state do not change the other clips.

    `seconds` is the length of a clip, `fps` its frames per second.
    """
    return [
        RigClip(recording, state, number, seconds, fps, seed)
        for recording in range(recordings)
        for state in STATES
        for number in range(per_state)
    ]


def render(clip: RigClip) -> Iterator[Picture]:
    """Yield the frames (HEIGHT, WIDTH, 3) uint8 BGR; the same clip always gives the same frames."""
    camera = Camera(np.random.default_rng([clip.seed, clip.recording]))
    rng = np.random.default_rng([clip.seed, clip.recording, STATES.index(clip.state), clip.number])
    flows = _flows(clip.state, camera.speed, rng)
    nuisance = Nuisance(rng)
    film = Film(rng, (WIDTH, HEIGHT), camera.noise, camera.shake)
    for index in range(max(1, round(clip.seconds * clip.fps))):
        t = index / clip.fps
        frame = camera.wall.copy()
        nuisance.behind(frame, camera, t)
        np.copyto(frame, camera.rig, where=camera.mask)
        nuisance.before(frame, camera, t)
        for flow in flows:
            flow.draw(frame, camera, t)
        yield film.expose(frame, t)


def _flows(state: str, speed: float, rng: np.random.Generator) -> list[Bubbles | Jet]:
    rate, size = rng.uniform(14, 30), rng.uniform(0.017, 0.024)  # bubbles a second; radius
    speed *= rng.uniform(0.75, 1.3)
    lost = rng.uniform(0.45, 0.8)  # share of the bubbles that do not go all the way up the riser
    cooled, vented = rng.uniform(0, 1.5), rng.uniform(0.1, 0.8) * (rng.random() < 0.6)
    flows: list[Bubbles | Jet] = [
        Bubbles(COOLER, rate * cooled, speed * rng.uniform(0.7, 1.2), size, rng),
        Jet(VENT, MIST * vented, rng.choice([-1.0, 1.0]), rng),
    ]
    if state == "normal":
        return [*flows, Bubbles(RISER, rate, speed, size, rng)]
    if state == "diverted_flow":
        through = Bubbles(RISER, rate * (1 - lost), speed, size, rng)
        return [*flows, through, Bubbles(DETOUR, rate * lost, speed, size, rng)]
    below = np.array([RISER[0], JOINT])
    through = Bubbles(RISER, rate * (1 - lost), speed, size, rng)
    return [
        *flows,
        through,
        Bubbles(below, rate * lost, speed, size, rng),
        Jet(JOINT, MIST * lost, rng.choice([-1.0, 1.0]), rng),
    ]
