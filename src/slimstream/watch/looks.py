"""A window with its answer, as those see it who learn from what passes: the inbox, the watch for drift."""

from collections.abc import Callable
from dataclasses import dataclass

from slimstream.runtimes.calibration import Floats
from slimstream.serving.classifier import Answer
from slimstream.watch.film import Reel
from slimstream.watch.windows import Window


@dataclass(frozen=True)
class Look:
    """A window of a camera that the network has answered."""

    camera: str
    window: Window
    answer: Answer
    features: Floats
    """(F,) of the window; F is 0 for a network without a reference."""
    reel: Callable[[], Reel]
    """Gives the pictures of the last seconds, for a clip of them."""
    state: str | None = None
    """The agreed state of the camera before this answer."""


Observer = Callable[[Look], None]
"""Called for each window by the thread that has answered it. It is quick, and raises nothing."""
