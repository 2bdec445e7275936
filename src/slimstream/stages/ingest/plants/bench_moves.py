"""What a hand does at the simulated bench, as a function of time.

A clip is a script of one or two moves. In each the hand comes from where it rests, out of the picture,
stays at a thing for a while and goes back. One move is the action, the other a decoy that half of the clips
of every class have: the hand touches a thing, wipes the bench beside it, or holds a pipette over a vessel
without dipping it. In most moves the hand circles, whether it stirs or not. So all classes have much the same
ways, speeds and turns, and the action may be a part of the clip only. A hand at a thing may be about to do
one of several actions: what it does there decides. Putting down is picking up, backwards.

Lengths are in units of which 0.7 fill the picture's height, with y downwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

ACTIONS = ("mix", "pick_up", "put_down", "stir", "take_liquid")

Point = npt.NDArray[np.float64]
"""(2,) x, y."""

GRASP: Mapping[str, tuple[float, float]] = {
    "beaker": (0.0, -0.12),
    "flask": (0.0, -0.165),
    "bottle": (0.0, -0.15),
    "rod": (0.045, -0.27),
    "pipette": (0.0, -0.27),
}
"""Every thing on the bench, and where it is held, from the middle of its foot."""
MOUTH: Mapping[str, float] = {"beaker": -0.15, "flask": -0.19, "bottle": -0.20}
"""Vessels, and the height of their openings."""
PIPETTE = 0.22
"""From the tip of a pipette to where it is held."""
_REACH = {
    "stir": ("rod",),
    "mix": ("flask",),
    "pick_up": ("flask", "bottle", "rod", "pipette"),
    "take_liquid": tuple(MOUTH),
    "hover": tuple(MOUTH),
    "touch": ("beaker", "flask", "bottle", "rod"),
    "wipe": ("beaker", "flask", "bottle"),
}
"""The things that each kind of move goes to."""


@dataclass(frozen=True)
class Moment:
    """Where everything is at one instant."""

    hand: Point
    """Where thumb and fingers meet."""
    grip: float
    """0 open, 1 closed."""
    moved: str = ""
    """Name of the thing that the hand moves, if any."""
    shift: Point = field(default_factory=lambda: np.zeros(2))
    """How far that thing is from its place."""
    tilt: float = 0.0
    """How far it leans, radians."""
    filled: float | None = None
    """Share of the hand's own pipette that is full; None when it holds none."""
    gone: str = ""
    """Name of the thing that has been carried away, if any."""


class Move:
    """A hand's way to a thing and back."""

    def __init__(
        self, kind: str, thing: str, place: Point, home: Point, pace: float, rng: np.random.Generator
    ) -> None:
        """`place` is the foot of `thing`, `home` where the hand rests, `pace` turns during a whole move."""
        self.kind, self.thing, self.home = kind, thing, home
        self.dwell = rng.uniform(0.55, 0.7)  # share of the time that the hand is at the thing
        self.arc = rng.uniform(0.0, 0.12)
        self.turn = 2 * np.pi * pace
        self.circle = rng.uniform(0.022, 0.036) * np.array([rng.choice([-1.0, 1.0]), 0.45])
        self.lift = rng.uniform(0.08, 0.13)
        self.dip = rng.uniform(0.10, 0.13)
        self.fidget = rng.uniform(0.002, 0.006, 2), rng.uniform(3, 9, 2), rng.uniform(0, 6.3, 2)
        self.full = float(rng.random() < 0.5)
        self.idles = rng.random() < 0.7  # circles as in stir and mix, but no thing does so too
        if kind in ("take_liquid", "hover"):
            above = np.array([0.0, MOUTH[thing] - PIPETTE - rng.uniform(0.015, 0.04)])
            self.goal = place + above
        elif kind == "wipe":
            self.goal = place + np.array([rng.choice([-0.1, 0.1]), rng.uniform(0.0, 0.04)])
        else:
            self.goal = place + GRASP[thing]

    def at(self, u: float) -> Moment:
        """The moment at the share `u` (0..1) of the move."""
        outside = (1 - self.dwell) / 2
        near = _smooth(min(u, 1 - u) / outside)  # 0 at home, 1 at the thing
        inner = min(max((u - outside) / self.dwell, 0.0), 1.0)  # the stay, from 0 to 1
        stay = _smooth(4 * min(inner, 1 - inner))
        hand = self.home + near * (self.goal - self.home) - np.array([0, self.arc * np.sin(np.pi * near)])
        size, speed, phase = self.fidget
        hand = hand + size * np.sin(speed * u + phase)
        grip = _smooth(3 * near - 2)
        circle = self.circle * np.array([np.cos(self.turn * u), np.sin(self.turn * u)])
        turning = stay * circle
        if self.kind == "wipe":
            return Moment(hand + turning, grip)
        if self.kind == "stir":
            return Moment(hand + turning, grip, "rod", turning, turning[0] * 5)
        if self.kind == "mix":
            shift = turning - np.array([0, self.lift * stay])
            return Moment(hand + shift, grip, self.thing, shift, turning[0] * 6)
        if self.idles:
            until = 0.4 if self.kind == "pick_up" else 1.0  # before it picks a thing up
            hand = hand + _smooth(4 * min(inner, until - inner) / until) * circle
        if self.kind == "pick_up" and inner > 0.5:
            hand = hand - np.array([0, self.lift * _smooth(2 * inner - 1) * near])
            return Moment(hand, 1.0, self.thing, hand - self.goal)
        if self.kind == "take_liquid":
            hand = hand + np.array([0, self.dip * stay])
            return Moment(hand, 1.0, filled=_smooth(3 * inner - 1))
        if self.kind == "hover":
            return Moment(hand, 1.0, filled=self.full)
        return Moment(hand, grip)


class Script:
    """The moves of one clip."""

    def __init__(
        self,
        action: str,
        places: Mapping[str, Point],
        home: Point,
        turns: float,
        rng: np.random.Generator,
    ) -> None:
        """`places` has the foot of every thing; `turns` is the number of circles that fill the whole clip."""
        forward = "pick_up" if action == "put_down" else action
        kinds = [str(rng.choice(["touch", "hover", "wipe"]))] if rng.random() < 0.5 else []
        kinds.insert(rng.integers(len(kinds) + 1), forward)
        self.backwards = action == "put_down"
        self.core = kinds.index(forward)
        wanted = str(rng.choice(_REACH[forward]))
        things = [
            wanted if kind == forward else str(rng.choice([n for n in _REACH[kind] if n != wanted]))
            for kind in kinds
        ]
        self.used = {*things}
        shares = rng.uniform(0.75, 1.25, len(kinds))
        shares[self.core] *= 1.5
        shares /= shares.sum()
        self.ends = np.cumsum(shares)
        self.moves = [
            Move(kind, thing, places[thing], home, turns * share, rng)
            for kind, thing, share in zip(kinds, things, shares, strict=True)
        ]

    def at(self, share: float) -> Moment:
        """The moment at the share `share` (0..1) of the clip."""
        share = 1 - share if self.backwards else share
        number = min(int(np.searchsorted(self.ends, share, "right")), len(self.moves) - 1)
        start = self.ends[number - 1] if number else 0.0
        moment = self.moves[number].at((share - start) / (self.ends[number] - start))
        carried = self.moves[self.core]
        if carried.kind == "pick_up" and number > self.core:
            return replace(moment, gone=carried.thing)
        return moment


def _smooth(x: float) -> float:
    """From 0 to 1, beginning and ending gently."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)
