"""Simulated plastic pellets under a line camera: grey pictures of 50 × 50 pixels, the plant of P3.

Every picture shows one pellet on a belt. A pellet of the class NG has one to three dark specks in its
plastic. The deeper a speck lies, the fainter and softer it is, and the faintest are hard to tell from
nothing. Both classes have, equally often, what looks like a speck and is none: dirt on the belt, fibres and
pale dust on the pellet, pores with a highlight, uneven plastic. A batch is one material, belt, lamp and
focus, and has pictures of both classes. All lengths below are in sides of the picture, with y downwards; grey
values are 0..1.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.core.errors import UserError
from slimstream.stages.ingest.params import PelletsParams
from slimstream.stages.ingest.plants.clip import Picture, SimulatedClip, group_name

SIDE = 50
PIXEL = 3  # pictures are drawn this much finer, then sampled
FINE = PIXEL * SIDE
CLASSES = ("NG", "OK")

Grey = npt.NDArray[np.float32]
"""(FINE, FINE) grey values, 0 black, 1 white."""
_Y, _X = ((np.mgrid[:FINE, :FINE] + 0.5) / FINE - 0.5).astype(np.float32)


@dataclass(frozen=True)
class PelletClip(SimulatedClip):
    """A picture of one pellet."""

    version: ClassVar[int] = 1
    batch: int
    quality: str
    number: int
    seed: int

    @property
    def name(self) -> str:
        return group_name("batch", self.batch, self.seed)

    @property
    def key(self) -> str:
        return f"pellets/{self.name}/{self.quality}_{self.number}.png"

    @property
    def label(self) -> str:
        return self.quality

    @property
    def groups(self) -> dict[str, str]:
        return {"batch": self.name}

    def write(self, path: Path) -> None:
        _, data = cv2.imencode(".png", render(self))
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            raise UserError(f"{path}: cannot write a picture here: {error.strerror}.") from error


def pellet_clips(plant: PelletsParams) -> list[PelletClip]:
    """Every picture of the plant. More batches or more pictures do not change the other pictures."""
    return [
        PelletClip(batch, quality, number, plant.seed)
        for batch in range(plant.batches)
        for quality in CLASSES
        for number in range(plant.pictures)
    ]


def render(clip: PelletClip) -> Picture:
    """The picture (SIDE, SIDE) uint8, grey."""
    batch = Batch(np.random.default_rng([clip.seed, clip.batch]))
    rng = np.random.default_rng([clip.seed, clip.batch, CLASSES.index(clip.quality), clip.number])
    picture = batch.belt(rng)
    pellet = Pellet(batch, rng)
    pellet.draw(picture, rng)
    if clip.quality == "NG":
        pellet.specks(picture, rng)
    return batch.camera(picture, rng)


class Batch:
    """One batch: its material, and the belt, lamp and camera on that day."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.plastic = rng.uniform(0.55, 0.85)  # grey value of the material
        self.milky = rng.uniform(0.25, 0.6)  # how much of the light comes from within
        self.length, self.thickness = rng.uniform(0.28, 0.36), rng.uniform(0.23, 0.28)  # half axes
        self.square = rng.uniform(2.0, 3.4)  # exponent of the outline: an ellipse, or nearly a cylinder's
        self.lamp = np.array([rng.uniform(-0.5, 0.5), rng.uniform(-0.6, -0.2), 1.0])
        self.lamp /= np.linalg.norm(self.lamp)
        self.gloss = rng.uniform(0.05, 0.3)
        self.ground = rng.uniform(0.1, 0.36)
        self.weave, self.pitch = rng.uniform(0.0, 0.04), rng.uniform(0.03, 0.09)  # belt's texture
        self.slant = rng.uniform(0, np.pi)
        self.dirt, self.dust = rng.uniform(0.3, 3.0), rng.uniform(0.3, 2.5)  # mean number of each
        self.focus = rng.uniform(0.35, 0.9) * PIXEL  # blur of the lens
        self.stretch = rng.uniform(0.93, 1.07)  # belt and line rate are never quite in step
        self.gain, self.noise = rng.uniform(0.85, 1.15), rng.uniform(0.008, 0.022)
        self.columns = rng.normal(
            0, rng.uniform(0.002, 0.012), SIDE
        )  # each cell of the line has its own gain

    def belt(self, rng: np.random.Generator) -> Grey:
        along = _X * np.cos(self.slant) + _Y * np.sin(self.slant)
        across = _Y * np.cos(self.slant) - _X * np.sin(self.slant)
        phase = rng.uniform(0, 6.3, 2)
        threads = np.sin(6.283 / self.pitch * along + phase[0]) * np.sin(
            6.283 / self.pitch * across + phase[1]
        )
        ground = self.ground + self.weave * threads + _mottle(rng, 6, 0.02)
        for _ in range(rng.poisson(self.dirt)):
            blot = _blot(rng.uniform(-0.5, 0.5, 2), rng.uniform(0.008, 0.03), rng)
            ground += blot * rng.choice([-0.8, 1.2]) * self.ground * rng.uniform(0.4, 1)
        return ground.astype(np.float32)

    def camera(self, picture: Grey, rng: np.random.Generator) -> Picture:
        """What the line camera makes of it: blurred, sampled, with its own noise."""
        seen = cv2.GaussianBlur(picture, (0, 0), self.focus * rng.uniform(0.85, 1.15))
        seen = cv2.resize(seen, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        seen = seen * self.gain * rng.uniform(0.95, 1.05) * (1 + self.columns)
        seen += rng.normal(0, self.noise, seen.shape)
        return (seen * 255).round().clip(0, 255).astype(np.uint8)


class Pellet:
    """A pellet in its place: an outline, a height over it, and what lies on and in the plastic."""

    def __init__(self, batch: Batch, rng: np.random.Generator) -> None:
        self.batch = batch
        self.middle = rng.uniform(-0.06, 0.06, 2)
        angle = rng.uniform(0, 2 * np.pi)
        self.turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        self.axes = np.array([batch.length, batch.thickness]) * rng.uniform(0.92, 1.08, 2)
        u, v = (axis / half for axis, half in zip(self._own(_X, _Y), self.axes, strict=True))
        power = batch.square * rng.uniform(0.92, 1.08)
        self.radius = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power)  # 1 on the outline
        self.height = np.sqrt(np.clip(1 - self.radius**2.5, 0, 1)).astype(np.float32)
        self.inside = np.clip((1 - self.radius) * FINE * self.axes.min() + 0.5, 0, 1).astype(np.float32)

    def draw(self, picture: Grey, rng: np.random.Generator) -> None:
        batch = self.batch
        slope = np.gradient(cv2.GaussianBlur(self.height, (0, 0), PIXEL) * FINE * 0.2)
        steep = np.sqrt(slope[0] ** 2 + slope[1] ** 2 + 1)
        lit = np.clip((batch.lamp[2] - slope[1] * batch.lamp[0] - slope[0] * batch.lamp[1]) / steep, 0, 1)
        shadow = cv2.GaussianBlur(self.inside, (0, 0), 1.5 * PIXEL)
        picture *= 1 - 0.45 * shadow * (1 - self.inside)
        body = batch.plastic * ((1 - batch.milky) * lit + batch.milky * (0.45 + 0.55 * self.height))
        body += batch.gloss * lit**25 + _mottle(rng, 9, rng.uniform(0.005, 0.03))
        for _ in range(rng.poisson(batch.dust)):  # pale, whatever the plastic is
            body += rng.uniform(0.05, 0.2) * _blot(self.somewhere(rng), rng.uniform(0.008, 0.02), rng)
        for _ in range(rng.poisson(batch.dust * 0.4)):
            body += rng.choice([-0.12, 0.12]) * rng.uniform(0.3, 1) * self._fibre(rng)
        for _ in range(rng.poisson(0.4)):  # a pore: a shadow on one side, a highlight on the other
            place, size = self.somewhere(rng), rng.uniform(0.012, 0.022)
            way = batch.lamp[:2] / np.linalg.norm(batch.lamp[:2]) * size
            depth = rng.uniform(0.08, 0.25)
            body += depth * (_blot(place - way, size, rng) - _blot(place + way, size, rng))
        picture += self.inside * (body.astype(np.float32) - picture)

    def specks(self, picture: Grey, rng: np.random.Generator) -> None:
        """Draw the specks that make it NG."""
        for _ in range(1 + rng.binomial(2, 0.25)):
            depth = rng.uniform(0, 1) ** 1.3
            black = (0.95 - 0.65 * depth) * rng.uniform(0.75, 1)
            speck = _blot(self.somewhere(rng), rng.uniform(0.012, 0.034), rng)
            if depth > 0.1:  # the plastic above it scatters
                speck = cv2.GaussianBlur(speck, (0, 0), PIXEL * depth)
            picture *= 1 - black * speck * self.inside

    def somewhere(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A point (2,) of the pellet, not quite at its edge."""
        angle, way = rng.uniform(0, 2 * np.pi), 0.8 * np.sqrt(rng.uniform())
        return np.array([np.cos(angle), np.sin(angle)]) * way * self.axes @ self.turn + self.middle

    def _own(self, x: Grey, y: Grey) -> tuple[Grey, Grey]:
        """Coordinates along the two axes of the pellet."""
        x, y = x - self.middle[0], (y - self.middle[1]) * self.batch.stretch
        (a, b), (c, d) = self.turn
        return a * x + b * y, c * x + d * y

    def _fibre(self, rng: np.random.Generator) -> Grey:
        start, along = self.somewhere(rng), rng.normal(0, 0.12, 2)
        bend = rng.normal(0, 0.04, 2)
        t = np.linspace(0, 1, 12)[:, None]
        points = ((start + along * t + bend * np.sin(3.14 * t) + 0.5) * FINE).round().astype(np.int32)
        line = np.zeros((FINE, FINE), np.float32)
        cv2.polylines(line, [points], False, 1.0, int(rng.integers(1, 4)), cv2.LINE_AA)
        return line


def _blot(place: npt.NDArray[np.float64], size: float, rng: np.random.Generator) -> Grey:
    """An uneven round spot of radius `size` at `place`: (FINE, FINE), 1 within, 0 outside."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    reach = size * rng.uniform(0.6, 1.2, 12)
    outline = place + np.column_stack([np.cos(angles), np.sin(angles)]) * reach[:, None]
    spot = np.zeros((FINE, FINE), np.float32)
    cv2.fillPoly(spot, [((outline + 0.5) * FINE * 16).round().astype(np.int32)], 1.0, cv2.LINE_8, 4)
    return spot


def _mottle(rng: np.random.Generator, cells: int, depth: float) -> Grey:
    """Soft unevenness with `cells` cells a side and standard deviation of about `depth`."""
    coarse = rng.normal(0, depth, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (FINE, FINE), interpolation=cv2.INTER_CUBIC).astype(np.float32)
