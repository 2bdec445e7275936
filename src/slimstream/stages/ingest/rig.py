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

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from slimstream.clips.video import probe
from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo
from slimstream.stages.ingest.rig_scene import (
    COOLER,
    DETOUR,
    HEIGHT,
    JOINT,
    MARGIN,
    MIST,
    RISER,
    VENT,
    WIDTH,
    Bubbles,
    Camera,
    Jet,
    Nuisance,
    Picture,
)

VERSION = 2
"""Version of the renderer: raise it when the pictures change, so that a scan lists the clips as changed."""
STATES = ("air_leakage", "diverted_flow", "normal")


@dataclass(frozen=True)
class RigClip:
    """One clip and everything that its pixels depend on."""

    recording: int
    state: str
    number: int
    seconds: float
    fps: float
    seed: int

    @property
    def name(self) -> str:
        return f"recording_{self.recording:02d}"

    @property
    def key(self) -> str:
        return f"rig/{self.name}/{self.state}_{self.number}.mp4"

    @property
    def etag(self) -> str:
        """Hash of everything that the pictures depend on."""
        text = json.dumps([VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


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
    gain, drift, flicker = rng.uniform(0.8, 1.2), rng.uniform(-0.03, 0.03), rng.uniform(0, 0.015)
    noise = rng.normal(0, camera.noise, (HEIGHT + 32, WIDTH + 32, 3)).astype(np.int16)
    shake = camera.shake * rng.normal(0, 1, (2, 3)), rng.uniform(4, 25, (2, 3))
    for index in range(max(1, round(clip.seconds * clip.fps))):
        t = index / clip.fps
        frame = camera.wall.copy()
        nuisance.behind(frame, camera, t)
        np.copyto(frame, camera.rig, where=camera.mask)
        nuisance.before(frame, camera, t)
        for flow in flows:
            flow.draw(frame, camera, t)
        light = gain + drift * t + flicker * rng.normal()
        shift = (shake[0] * np.sin(shake[1] * t)).sum(axis=1) - MARGIN
        frame = cv2.warpAffine(frame, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (WIDTH, HEIGHT))
        frame = cv2.convertScaleAbs(frame, alpha=light)
        y, x = rng.integers(0, 32, 2)
        yield cv2.add(frame, noise[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)


def write_clip(clip: RigClip, path: Path) -> None:
    """Render `clip` into an MPEG-4 file (suffix .mp4). Raises UserError when it cannot be written."""
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, clip.fps, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise UserError(
            f"{path}: cannot write a video here; check that the folder exists and may be written."
        )
    try:
        for frame in render(clip):
            writer.write(frame)
    finally:
        writer.release()
    try:
        probe(path)  # OpenCV does not report a full disk, but then the header is missing
    except UnreadableVideo as error:
        raise UserError(f"{path}: the video could not be finished; is the disk full?") from error


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
