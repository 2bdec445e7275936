"""Drawing of the simulated rig: the scene as one camera shows it, and everything that moves in it.

Lengths are in heights of the picture, with y downwards; colours are blue, green, red in 0..255.
"""

import itertools

import cv2
import numpy as np
import numpy.typing as npt

from slimstream.stages.ingest.plants.camera import View
from slimstream.stages.ingest.plants.clip import Picture, Points

WIDTH, HEIGHT = 192, 144

RISER: Points = np.array([(0.66, 0.97), (0.66, 0.12)])
BYPASS: Points = np.array([(0.66, 0.76), (0.95, 0.76), (0.95, 0.27), (0.66, 0.27)])
DETOUR: Points = np.vstack([RISER[:1], BYPASS, RISER[1:]])
COOLER: Points = np.array(
    [(0.14, 0.64), (0.14, 0.45), (0.42, 0.45), (0.42, 0.27), (0.14, 0.27), (0.14, 0.08), (0.55, 0.08)]
)
JOINT, VENT = (0.66, 0.50), (0.32, 0.62)
PIPE, MIST = 0.08, 60  # width of a pipe; number of droplets when all bubbles escape


class Camera(View):
    """One set-up of camera, wall and light, with the picture of the empty rig."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng, (WIDTH, HEIGHT), (0.64, 0.52))
        self.noise = rng.uniform(2, 7)
        self.shake = rng.uniform(0, 0.25)
        self.speed = rng.uniform(0.4, 0.65)
        tint = rng.uniform(0.85, 1.15, 3)
        self.water = np.clip(rng.uniform(95, 150) * tint * (1.1, 1.0, 0.8), 0, 255)
        self.metal = np.clip(rng.uniform(80, 150) * tint, 0, 255)
        self.lamp = rng.uniform((0.05, 0.05), (1.2, 0.2))
        self.wall = self._wall(rng, tint)
        self.rig, self.mask = self._rig()

    def pipe(self, picture: Picture, path: Points, width: float, colour: npt.ArrayLike) -> None:
        """Draw a pipe along `path`, whose segments are vertical or horizontal."""
        for (x0, y0), (x1, y1) in itertools.pairwise(path):
            half = width / 2
            self.box(
                picture,
                min(x0, x1) - half,
                min(y0, y1) - half,
                max(x0, x1) + half,
                max(y0, y1) + half,
                colour,
            )

    def _wall(self, rng: np.random.Generator, tint: npt.NDArray[np.float64]) -> Picture:
        height, width = self.shape
        base = rng.uniform(70, 170) * tint
        coarse = rng.normal(0, 1, (rng.integers(3, 7), rng.integers(4, 9), 1)).repeat(3, 2) * rng.uniform(
            4, 16
        )
        fine = rng.normal(0, 1, (height // 3, width // 3, 1)).repeat(3, 2) * rng.uniform(2, 9)
        texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + cv2.resize(
            fine, (width, height)
        )
        wall = np.clip(base + texture, 0, 255).astype(np.uint8)
        for _ in range(rng.integers(4, 10)):  # cabinets, signs, far pipework
            (x, y), (w, h) = rng.uniform((-0.1, 0), (1.3, 0.85)), rng.uniform(0.03, 0.3, 2) ** (1, 1.2)
            self.box(
                wall, x, y, x + w, y + h, np.clip(base * rng.uniform(0.6, 1.3) + rng.normal(0, 14, 3), 0, 255)
            )
        self.box(wall, -1, 0.93, 3, 2, np.clip(base * rng.uniform(0.5, 0.9), 0, 255))
        return wall

    def _rig(self) -> tuple[Picture, npt.NDArray[np.bool_]]:
        layers = []
        for mask in (False, True):
            picture = np.zeros((*self.shape, 3), np.uint8)

            def shade(colour: npt.NDArray[np.float64], factor: float, mask: bool = mask) -> npt.ArrayLike:
                return (255, 255, 255) if mask else np.clip(colour * factor, 0, 255)

            self.box(picture, 0.10, 0.60, 0.50, 0.93, shade(self.metal, 0.9))  # tank, with a window
            self.box(picture, 0.14, 0.66, 0.46, 0.88, shade(self.water, 0.8))
            self.box(picture, 0.50, 0.02, 1.20, 0.15, shade(self.metal, 1.1))  # separator
            self.box(picture, 0.50, 0.02, 1.20, 0.05, shade(self.metal, 1.35))
            for path, width in ((COOLER, PIPE * 0.8), (BYPASS, PIPE), (RISER, PIPE * 1.15)):
                self.pipe(picture, path, width, shade(self.metal, 0.55))
                self.pipe(picture, path, width * 0.8, shade(self.water, 1.0))
                self.pipe(picture, path - 0.2 * width, width * 0.12, shade(self.water, 1.2))
            for x, y in (JOINT, (0.66, 0.86), (0.95, 0.52), (0.42, 0.36), (0.14, 0.18)):  # flanges
                self.box(picture, x - 0.065, y - 0.018, x + 0.065, y + 0.018, shade(self.metal, 0.75))
            layers.append(picture)
        return layers[0], layers[1] > 127


class Bubbles:
    """Bubbles that move along a pipe at constant speed, spread uniformly, each with its own oscillation."""

    def __init__(
        self, path: Points, rate: float, speed: float, size: float, rng: np.random.Generator
    ) -> None:
        self.path, self.speed = path, speed
        self.steps = np.concatenate([[0], np.hypot(*np.diff(path, axis=0).T).cumsum()])
        count = round(rate * self.steps[-1] / speed)
        self.phase = rng.uniform(0, self.steps[-1], count)
        self.pace = speed * rng.uniform(0.85, 1.15, count)
        self.radius = size * rng.uniform(0.5, 1.25, count)
        self.wobble = (
            rng.uniform(0.1, 0.3, count) * PIPE,
            rng.uniform(4, 12, count),
            rng.uniform(0, 6.3, count),
        )
        self.shade = rng.uniform(0.8, 1.2, (count, 1))

    def draw(self, picture: Picture, camera: Camera, t: float) -> None:
        way = (self.phase + self.pace * t) % self.steps[-1]
        points = np.column_stack([np.interp(way, self.steps, axis) for axis in self.path.T])
        width, pace, start = self.wobble
        points += (width * np.sin(pace * t + start))[:, None] * (0.7, 0.35)
        # A dark rim and a light centre: on average about as bright as the water around it.
        camera.disc(
            picture,
            np.vstack([points, points - 0.003]),
            np.concatenate([self.radius, self.radius * 0.66]),
            np.clip(camera.water * np.vstack([self.shade * 0.6, self.shade * 1.4]), 0, 255),
        )


class Jet:
    """Mist and bubbles that leave an opening and slow down as they rise."""

    def __init__(
        self, origin: tuple[float, float], droplets: float, side: float, rng: np.random.Generator
    ) -> None:
        self.origin = np.array(origin)
        count = round(droplets)
        self.life = rng.uniform(0.35, 0.8, count)
        self.phase = rng.uniform(0, 1, count)
        self.throw = np.column_stack([side * rng.uniform(0.05, 0.26, count), rng.uniform(-0.24, 0.03, count)])
        self.radius = rng.uniform(0.007, 0.017, count)
        self.colour = np.clip(rng.uniform(60, 240, (count, 1)) + rng.normal(0, 8, (count, 3)), 0, 255)

    def draw(self, picture: Picture, camera: Camera, t: float) -> None:
        age = (self.phase + t / self.life) % 1
        points = self.origin + self.throw * np.sqrt(age + 0.05)[:, None]
        camera.disc(picture, points, self.radius * (1.2 - age), self.colour)


class Nuisance:
    """Moving objects that are the same in every state: operators, beacon, agitator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.people = [Operator(rng) for _ in range(rng.integers(0, 4))]
        self.beacon = rng.uniform(0.6, 2.0), rng.uniform(0, 6.3)
        self.agitator = rng.uniform(3, 11), rng.uniform(0, 6.3)

    def behind(self, picture: Picture, camera: Camera, t: float) -> None:
        pace, start = self.beacon
        on = np.sin(6.283 * pace * t + start) > 0
        camera.disc(picture, camera.lamp[None], np.array([0.022]), np.array([[60, 120, 250 if on else 90]]))
        for person in self.people:
            person.draw(picture, camera, t)

    def before(self, picture: Picture, camera: Camera, t: float) -> None:
        pace, start = self.agitator
        reach = 0.13 * np.cos(pace * t + start)
        camera.box(picture, 0.295, 0.60, 0.305, 0.84, camera.metal * 0.4)
        camera.box(
            picture,
            0.3 - abs(reach),
            0.79,
            0.3 + abs(reach),
            0.83,
            camera.metal * (0.5 + 0.2 * np.sign(reach)),
        )


class Operator:
    """A person in working clothes and a helmet who walks past behind the rig."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.pace = rng.choice([-1.0, 1.0]) * rng.uniform(0.12, 0.5)
        self.start, self.stride = rng.uniform(0, 2.2), rng.uniform(6, 10)
        self.size = rng.uniform(0.85, 1.1)
        self.clothes = np.array([(90, 60, 40), (40, 110, 220), (70, 70, 70), (110, 90, 60)][rng.integers(4)])
        self.helmet = np.array([[(60, 200, 230), (220, 220, 220), (60, 60, 190)][rng.integers(3)]])

    def draw(self, picture: Picture, camera: Camera, t: float) -> None:
        def at(corners: list[tuple[float, float]]) -> Points:
            return np.array([x, 0.95]) + np.array(corners) * self.size

        x = (self.start + self.pace * t) % 2.2 - 0.4
        step = 0.07 * np.sin(self.stride * t)
        for foot in (step, -step):
            camera.polygon(
                picture,
                at([(-0.03, -0.25), (0.03, -0.25), (foot + 0.02, 0), (foot - 0.03, 0)]),
                self.clothes * 0.7,
            )
        camera.polygon(
            picture, at([(-0.07, -0.48), (0.07, -0.48), (0.05, -0.22), (-0.05, -0.22)]), self.clothes
        )
        hand = at([(0.05, -0.46), (0.08, -0.46), (0.07 - step, -0.26), (0.04 - step, -0.26)])
        camera.polygon(picture, hand, self.clothes * 0.85)
        head = at([(0, -0.53), (0, -0.56)])
        camera.disc(
            picture, head, np.array([0.04, 0.042]) * self.size, np.vstack([[(120, 150, 200)], self.helmet])
        )
