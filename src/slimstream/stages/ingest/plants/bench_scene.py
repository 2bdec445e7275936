"""Drawing of the simulated bench: a person's place, the things on it, and the hand.

Lengths are in units of which 0.7 fill the picture's height, with y downwards; colours are blue, green, red in
0..255.
"""

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.stages.ingest.plants.bench_moves import PIPETTE, Moment, Point
from slimstream.stages.ingest.plants.camera import View
from slimstream.stages.ingest.plants.clip import Picture, Points

SIZE = 256, 192
ZOOM = 1.5
MIDDLE, HALF = (0.5, 0.5), SIZE[0] / SIZE[1] / ZOOM / 2  # middle of the picture, half its width

Colour = npt.NDArray[np.float64]
"""(3,) blue, green, red."""

_SLEEVES = [(235, 235, 230), (190, 120, 60), (70, 70, 70), (120, 160, 90), (60, 60, 150), (220, 200, 170)]
_HANDS = [(150, 175, 225), (110, 140, 195), (70, 95, 140), (45, 60, 95), (200, 140, 60), (225, 225, 225)]
"""Four skins, and gloves of blue and white."""
_LIQUIDS = [(180, 120, 40), (60, 60, 200), (70, 170, 80), (40, 160, 210), (190, 190, 180), (150, 60, 140)]

VESSELS: dict[str, Points] = {
    "beaker": np.array([(-0.062, 0), (0.062, 0), (0.068, -0.15), (-0.068, -0.15)]),
    "flask": np.array(
        [(-0.075, 0), (0.075, 0), (0.024, -0.13), (0.024, -0.19), (-0.024, -0.19), (-0.024, -0.13)]
    ),
    "bottle": np.array(
        [
            *((-0.055, 0), (0.055, 0), (0.055, -0.14), (0.024, -0.165)),
            *((0.024, -0.2), (-0.024, -0.2), (-0.024, -0.165), (-0.055, -0.14)),
        ]
    ),
}
"""Outlines, from the middle of the foot; the first two corners are the foot's."""


class Person(View):
    """A person at their place: the camera before it, wall, bench and light; hand, sleeve and habits."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng, SIZE, MIDDLE, ZOOM)
        tint = rng.uniform(0.92, 1.08, 3)
        self.noise, self.shake = rng.uniform(2, 6), rng.uniform(0, 0.4)
        self.sleeve = np.array(_SLEEVES[rng.integers(len(_SLEEVES))]) * rng.uniform(0.8, 1.05)
        self.skin = np.array(_HANDS[rng.integers(len(_HANDS))]) * rng.uniform(0.85, 1.1)
        self.side = rng.choice([-1.0, 1.0], p=[0.3, 0.7])  # which hand it is: left, right
        self.hand = rng.uniform(0.88, 1.15)  # size
        self.home = np.array([MIDDLE[0] + self.side * rng.uniform(0.1, 0.7), rng.uniform(1.25, 1.35)])
        self.elbow = self.home + np.array([self.side * rng.uniform(0.05, 0.3), 0.2])
        self.pace = rng.uniform(0.8, 1.7)  # circles per second
        self.place = self._place(rng, tint)

    def _place(self, rng: np.random.Generator, tint: Colour) -> Picture:
        height, width = self.shape
        wall, bench = rng.uniform(90, 200) * tint, rng.uniform(50, 190) * rng.uniform(0.92, 1.08, 3)
        soft = rng.normal(0, 1, (rng.integers(3, 6), rng.integers(3, 7), 1)).repeat(3, 2) * rng.uniform(3, 10)
        picture = np.clip(
            wall + cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255
        ).astype(np.uint8)
        edge = rng.uniform(0.3, 0.42)
        for _ in range(rng.integers(2, 7)):  # cupboards, notices, bottles on a shelf
            (x, y), (w, h) = rng.uniform((-0.1, 0.0), (1.1, 0.28)), rng.uniform(0.04, 0.25, 2)
            self.box(picture, x, y, x + w, y + h, _clip(wall * rng.uniform(0.6, 1.25) + rng.normal(0, 18, 3)))
        self.box(picture, -1, edge, 3, 3, _clip(bench))
        self.box(picture, -1, edge, 3, edge + 0.015, _clip(bench * 1.15))
        if rng.random() < 0.5:  # tiles
            for line in np.arange(-0.5, 1.5, rng.uniform(0.12, 0.3)):
                self.box(picture, line, edge + 0.015, line + 0.006, 3, _clip(bench * 0.9))
        return picture


class Scene:
    """One video: how the things stand on a person's bench, the liquids, and what lies about."""

    def __init__(self, person: Person, rng: np.random.Generator) -> None:
        self.person = person
        x = MIDDLE[0] + HALF * np.array([-0.69, -0.23, 0.23, 0.69]) + rng.uniform(-0.03, 0.03, 4)
        y = rng.uniform(0.66, 0.78, 4)
        feet = dict(
            zip(["beaker", "flask", "bottle", "stand"], rng.permutation(np.column_stack([x, y])), strict=True)
        )
        self.stand = feet.pop("stand")
        self.places: dict[str, Point] = {
            **feet,
            "rod": feet["beaker"] - (0.0, 0.008),
            "pipette": self.stand - (0.0, 0.06),
        }
        glass = person.place.reshape(-1, 3).mean(axis=0)
        self.glass = _clip(glass * 0.6 + 95 * rng.uniform(0.8, 1.2))
        kinds = rng.permutation(len(_LIQUIDS))[:3]
        self.liquids = dict(zip(feet, np.array(_LIQUIDS)[kinds] * rng.uniform(0.8, 1.1), strict=True))
        self.levels = dict(zip(feet, rng.uniform(0.3, 0.7, 3), strict=True))
        self.brown = rng.random() < 0.4
        self.metal = np.full(3, rng.uniform(60, 150))
        self.clutter = self._clutter(rng)
        self.rest: dict[frozenset[str], Picture] = {}
        self.before = rng.uniform(0, 1), rng.uniform(0.05, 0.13), rng.uniform(0.05, 0.2)
        self.occluded = rng.random() < 0.2  # something near the camera covers a part
        self.dark = rng.uniform(20, 120, 3)
        self.passer = rng.uniform(-1, 2), rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.4)
        self.passes = rng.random() < 0.4

    def _clutter(self, rng: np.random.Generator) -> Picture:
        picture = self.person.place.copy()
        for _ in range(rng.integers(1, 7)):  # flat things, tubs and jars behind
            x, y, w = rng.uniform(0, 1), rng.uniform(0.42, 0.58), rng.uniform(0.03, 0.1)
            tall, colour = rng.uniform(0.02, 0.16), rng.uniform(60, 190) + rng.normal(0, 30, 3)
            self.person.box(picture, x - w / 2, y - tall, x + w / 2, y, _clip(colour))
            self.person.box(picture, x - w / 2, y - tall, x + w / 2, y - tall * 0.85, _clip(colour * 0.8))
        return picture

    def draw(self, moment: Moment, absent: set[str], t: float) -> Picture:
        """The frame with its margin, `t` seconds after the beginning. `absent` things are not there."""
        person = self.person
        missing = {*absent, moment.gone}
        picture = self._at_rest(frozenset(self.places) - missing - {moment.moved}).copy()
        hand = Hand(person, moment)
        hand.arm(picture)
        if moment.moved and moment.moved not in missing:
            self._thing(picture, moment.moved, moment.shift, moment.tilt)
            if moment.moved == "rod" and np.hypot(*moment.shift) < 0.05:  # the glass is before it
                self._thing(picture, "beaker", np.zeros(2), 0.0)
        if moment.filled is not None:
            self._pipette(picture, moment.hand + np.array([0, PIPETTE]), moment.filled)
        hand.fingers(picture)
        if self.passes:  # a colleague, of whom only the coat is seen
            x = self.passer[0] + self.passer[1] * t
            person.box(picture, x, -0.5, x + 0.22, 0.3, self.dark)
        if self.occluded:
            x, w, h = self.before
            person.box(picture, x - w, 0.9 - h, x + w, 2.0, self.dark)
        return picture

    def _at_rest(self, names: frozenset[str]) -> Picture:
        """The bench with the things `names` in their places; drawn once, as most frames share it."""
        if names not in self.rest:
            picture = self.clutter.copy()
            box = self.person.box
            for (x0, y0), (x1, y1), shade in (
                ((-0.055, -0.012), (0.055, 0.0), 0.8),
                ((0.028, -0.3), (0.038, 0.0), 1.0),
                ((-0.02, -0.235), (0.035, -0.222), 1.0),
            ):  # foot, post and arm of the stand
                x, y = self.stand
                box(picture, x + x0, y + y0, x + x1, y + y1, self.metal * shade)
            for name in sorted(names, key=lambda name: (self.places[name][1], name)):  # from back to front
                self._thing(picture, name, np.zeros(2), 0.0)
            self.rest[names] = picture
        return self.rest[names]

    def _thing(self, picture: Picture, name: str, shift: Point, tilt: float) -> None:
        foot = self.places[name] + shift
        if name in VESSELS:
            self._vessel(picture, name, foot, tilt)
        if name == "bottle":
            label = np.array([(-0.045, -0.04), (0.045, -0.04), (0.045, -0.1), (-0.045, -0.1)])
            self.person.polygon(picture, _put(label, foot, tilt), (225, 225, 225))
        elif name == "rod":
            rod = np.array([(-0.004, 0), (0.004, 0), (0.056, -0.31), (0.047, -0.31)])
            self.person.polygon(picture, _put(rod, foot, tilt), _clip(self.glass * 1.35))
        elif name == "pipette":
            self._pipette(picture, foot, 0.0)

    def _vessel(self, picture: Picture, name: str, foot: Point, tilt: float) -> None:
        outline, glass, liquid = VESSELS[name], self.glass, self.liquids[name]
        if name == "bottle" and self.brown:
            glass, liquid = np.array((30.0, 60.0, 110.0)), np.array((25.0, 45.0, 80.0))
        top = -outline[:, 1].min() * self.levels[name]
        left, right = (_across(outline * (side, 1), top) for side in (-1, 1))
        filling = np.array([outline[0] * 0.92, outline[1] * 0.92, (right * 0.9, -top), (-left * 0.9, -top)])
        self.person.polygon(picture, _put(outline, foot, tilt), _clip(glass * 0.75))
        self.person.polygon(picture, _put(outline * (0.88, 0.98), foot, tilt), glass)
        self.person.polygon(picture, _put(filling, foot, tilt), liquid)
        shine = np.array([(-0.6, 0.9), (-0.45, 0.9), (-0.45, 0.35), (-0.6, 0.35)])
        shine *= outline[1, 0], outline[2, 1]
        if name != "flask":
            self.person.polygon(picture, _put(shine, foot, tilt), _clip(glass * 1.3))
        rim = outline[outline[:, 1] == outline[:, 1].min()] * (1.15, 1)
        edge = np.vstack([rim, rim[::-1] + np.array([0, 0.012])])
        self.person.polygon(picture, _put(edge, foot, tilt), _clip(glass * 1.35))

    def _pipette(self, picture: Picture, tip: Point, filled: float) -> None:
        stem = np.array(
            [(-0.004, 0), (0.004, 0), (0.009, -0.05), (0.009, -0.19), (-0.009, -0.19), (-0.009, -0.05)]
        )
        self.person.polygon(picture, _put(stem, tip, 0.0), _clip(self.glass * 1.25))
        if filled > 0.02:
            high = 0.16 * filled
            liquid = np.array([(-0.005, 0), (0.005, 0), (0.007, -high), (-0.007, -high)])
            self.person.polygon(picture, _put(liquid, tip, 0.0), self.liquids["beaker"])
        half = np.array([(0.012, -0.19), (0.022, -0.22), (0.018, -0.29)])
        bulb = np.vstack([half, half[::-1] * (-1, 1)])
        self.person.polygon(picture, _put(bulb, tip, 0.0), (60, 50, 190))


class Hand:
    """The hand of a person at one moment: the arm and palm behind what it holds, the fingers before it."""

    def __init__(self, person: Person, moment: Moment) -> None:
        self.person, self.at, self.grip = person, moment.hand, moment.grip
        way = person.elbow - self.at
        self.along = way / np.hypot(*way)  # from the finger tips to the elbow
        self.across = np.array([-self.along[1], self.along[0]]) * person.side

    def arm(self, picture: Picture) -> None:
        wrist = 0.15
        self._band(picture, wrist - 0.03, 3.0, 0.036, 0.075, self.person.skin * 0.95)
        self._band(picture, wrist + 0.03, 3.0, 0.05, 0.095, self.person.sleeve)
        self._band(picture, wrist + 0.03, wrist + 0.05, 0.053, 0.055, self.person.sleeve * 0.82)
        turn = 2 * np.pi * np.arange(16)[:, None] / 16
        palm = self._point(0.09, 0.0) + self.person.hand * (
            0.062 * np.cos(turn) * self.along + 0.046 * np.sin(turn) * self.across
        )
        self.person.polygon(picture, palm, _clip(self.person.skin))

    def fingers(self, picture: Picture) -> None:
        spread = 0.026 - 0.012 * self.grip
        for number in range(4):
            side = (number - 1.5) * spread
            knuckle, tip = (
                self._point(0.07, (number - 1.5) * 0.02),
                self._point(-0.035 * (1 - self.grip), side),
            )
            shade = self.person.skin * (1.0 - 0.05 * (number % 2))
            self._finger(picture, knuckle, tip, 0.0115, shade)
        thumb = self._point(0.012 * self.grip, -0.05 + 0.035 * self.grip)
        self._finger(picture, self._point(0.085, -0.038), thumb, 0.0135, self.person.skin * 0.88)

    def _point(self, back: float, aside: float) -> Point:
        return self.at + self.person.hand * (back * self.along + aside * self.across)

    def _band(
        self, picture: Picture, near: float, far: float, thin: float, thick: float, colour: Colour
    ) -> None:
        corners = [
            self._point(near, -thin),
            self._point(near, thin),
            self._point(far, thick),
            self._point(far, -thick),
        ]
        self.person.polygon(picture, np.array(corners), _clip(colour))

    def _finger(self, picture: Picture, start: Point, end: Point, half: float, colour: Colour) -> None:
        way = end - start
        normal = np.array([-way[1], way[0]]) / max(float(np.hypot(*way)), 1e-6) * half * self.person.hand
        corners = np.array([start + normal, start - normal, end - 0.8 * normal, end + 0.8 * normal])
        self.person.polygon(picture, corners, _clip(colour))
        self.person.disc(picture, end[None], np.array([0.8 * half * self.person.hand]), _clip(colour)[None])


def _put(outline: Points, foot: Point, tilt: float) -> Points:
    """The outline (N, 2) of a thing that stands at `foot` and leans by `tilt` radians."""
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    return outline @ turn + foot


def _across(outline: Points, height: float) -> float:
    """Half the width of a vessel at a height."""
    right = outline[outline[:, 0] > 0]
    order = np.argsort(-right[:, 1])
    return float(np.interp(height, -right[order, 1], right[order, 0]))


def _clip(colour: Colour) -> Colour:
    return np.clip(colour, 0, 255)
