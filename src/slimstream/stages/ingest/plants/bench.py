"""A simulated laboratory bench: rendered clips of P2's actions, whose own videos are not available.

A fixed camera looks at a bench with a beaker and its rod, a flask, a bottle and a pipette in its stand. A
hand stirs with the rod, swirls the flask (mix), takes liquid with a pipette, picks something up or puts it
down. A person is one hand, sleeve, pace, place and camera; a video is one arrangement of things, clutter and
light, and some clips are cut from it. `bench_moves` says how a clip is made of an action and of decoys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from slimstream.stages.ingest.params import BenchParams
from slimstream.stages.ingest.plants.bench_moves import ACTIONS, Script
from slimstream.stages.ingest.plants.bench_scene import SIZE, Person, Scene
from slimstream.stages.ingest.plants.camera import Film
from slimstream.stages.ingest.plants.clip import Picture, SimulatedClip, group_name, write_video

OPTIONAL = ("flask", "bottle", "rod", "pipette")
"""Things that are not on every bench."""


@dataclass(frozen=True)
class BenchClip(SimulatedClip):
    """A clip of one person doing one action."""

    version: ClassVar[int] = 2
    person: int
    action: str
    video: int
    number: int
    seconds: float
    fps: float
    seed: int

    @property
    def name(self) -> str:
        return group_name("person", self.person, self.seed)

    @property
    def key(self) -> str:
        return f"bench/{self.name}/{self.action}_{self.video}_{self.number}.mp4"

    @property
    def label(self) -> str:
        return self.action

    @property
    def groups(self) -> dict[str, str]:
        return {"person": self.name, "video": f"{self.name}_{self.action}_{self.video}"}

    def write(self, path: Path) -> None:
        write_video(render(self), path, self.fps, SIZE)


def bench_clips(bench: BenchParams) -> list[BenchClip]:
    """Every clip of the bench. More persons, videos or clips do not change the other clips."""
    return [
        BenchClip(person, action, video, number, bench.seconds, bench.fps, bench.seed)
        for person in range(bench.persons)
        for action in ACTIONS
        for video in range(bench.videos)
        for number in range(bench.clips)
    ]


def render(clip: BenchClip) -> Iterator[Picture]:
    """Yield the frames (192, 256, 3) uint8 BGR; the same clip always gives the same frames."""
    person = Person(np.random.default_rng([clip.seed, clip.person]))
    take = [clip.seed, clip.person, ACTIONS.index(clip.action), clip.video]
    scene = Scene(person, np.random.default_rng(take))
    rng = np.random.default_rng([*take, clip.number])
    seconds = clip.seconds * rng.uniform(0.5, 1)
    script = Script(
        clip.action, scene.places, person.home, seconds * person.pace * rng.uniform(0.85, 1.15), rng
    )
    absent = {name for name in OPTIONAL if rng.random() < 0.2} - script.used
    film = Film(rng, SIZE, person.noise, person.shake)
    frames = max(1, round(seconds * clip.fps))
    for index in range(frames):
        moment = script.at((index + 0.5) / frames)
        yield film.expose(scene.draw(moment, absent, index / clip.fps), index / clip.fps)
