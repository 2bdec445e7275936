"""`rig://NUMBER`: an endless camera before the simulated rig, whose state follows a script.

rig://40                                         recording 40, the usual script
rig://40?script=normal:20,air_leakage:15&fps=10  20 s normal, 15 s air leakage, and again
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from slimstream.core.errors import UserError
from slimstream.core.media import Frame
from slimstream.stages.ingest.plants.clip import Picture
from slimstream.stages.ingest.plants.rig import STATES, RigClip, render

USUAL = "normal:20,air_leakage:15,normal:10,diverted_flow:15"
FPS = 25.0


def rig_clips(address: str) -> Iterator[RigClip]:
    """The clips that the camera shows one after another, for ever. Raises UserError for a wrong address."""
    parts = urlsplit(address)
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    try:
        steps = [step.split(":") for step in asked.pop("script", USUAL).split(",")]
        script = [(state, float(seconds)) for state, seconds in steps]
        recording, fps = int(parts.netloc), float(asked.pop("fps", FPS))
        fits = not asked and not parts.path and fps > 0 and all(seconds > 0 for _, seconds in script)
    except ValueError:
        fits = False
    if not fits or not {state for state, _ in script} <= set(STATES):
        raise UserError(
            f"{address} is no camera of the rig: rig://NUMBER?script=STATE:SECONDS,…&fps=NUMBER, with the "
            f"states {', '.join(STATES)}."
        )
    turn = recording % len(script)  # neighbours do not change together
    script = script[turn:] + script[:turn]
    # Numbers that no clip of a source has: nothing here was learnt from.
    rounds = count(1_000_000)
    return (RigClip(recording, state, n, seconds, fps, 0) for n in rounds for state, seconds in script)


def rig_frames(address: str) -> Iterator[tuple[float, Callable[[], Frame]]]:
    """Yield (seconds, a call that gives the picture (H, W, 3) uint8 RGB), each when it is due.

    On a machine that draws too slowly they come late.
    """
    began, clock = time.monotonic(), 0.0
    for clip in rig_clips(address):
        for picture in render(clip):
            if (early := clock - (time.monotonic() - began)) > 0:
                time.sleep(early)
            yield clock, partial(rgb, picture)
            clock += 1 / clip.fps


def rgb(picture: Picture) -> Frame:
    """A picture of OpenCV, (H, W, 3) blue, green, red, in the order red, green, blue."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
