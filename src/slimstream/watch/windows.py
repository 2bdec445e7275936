"""The last seconds of a camera as windows: what a clip of this length would hold."""

from collections import deque
from dataclasses import dataclass

from slimstream.clips.packs import resize
from slimstream.core.media import Frame
from slimstream.runtimes.calibration import Floats
from slimstream.serving.classifier import Answer
from slimstream.watch.footage import Take
from slimstream.watch.model import Model

STALL = 2.0
"""Seconds without a frame after which a window of less than that begins anew."""


@dataclass(frozen=True)
class Window:
    """Frames that wait for an answer. It has its network with it, which may not be the newest any more."""

    model: Model
    pictures: list[Frame]
    seconds: list[float]
    time: float
    """Of its last frame, in seconds since 1970."""
    came: float
    """When its last frame came in, in seconds of `time.monotonic`."""
    originals: Take | None = None
    """Gives its frames again, as the network's were before they were resized; None: they are not kept."""

    def answer(self) -> tuple[Answer, Floats]:
        """See `Model.answer`."""
        return self.model.answer(self.pictures, self.seconds)


class Windows:
    """The last frames of a camera, resized for one network: as many as a window holds, and no more."""

    def __init__(self, model: Model, hop: float, before: "Windows | None" = None) -> None:
        """`before` are those for the former network, whose frames are taken over if they have the size."""
        self.model, self.hop = model, hop
        known = before if before is not None and before.model.size == model.size else None
        self._pictures: deque[Frame] = deque(known._pictures if known else ())
        self._seconds: deque[float] = deque(known._seconds if known else ())
        self._next: float = known._next if known else float("-inf")

    @property
    def _period(self) -> float:
        """Mean seconds from one frame to the next; 0 for fewer than two."""
        count = len(self._seconds)
        return (self._seconds[-1] - self._seconds[0]) / (count - 1) if count > 1 else 0.0

    @property
    def fps(self) -> float:
        """Frames a second; 0 while there are fewer than two."""
        return 1 / self._period if self._period else 0.0

    @property
    def full(self) -> bool:
        """Whether the frames are as long as a window: the last one lasts a period, too."""
        if not self._seconds:
            return False
        return self._seconds[-1] - self._seconds[0] + 1.5 * self._period >= self.model.seconds

    def add(self, picture: Frame, seconds: float) -> None:
        """Add a frame (H, W, 3) uint8 RGB; after a break in the clock it is the first one of new windows."""
        if self._seconds and not 0 < seconds - self._seconds[-1] <= max(STALL, self.model.seconds / 2):
            self.clear()
        self._pictures.append(resize(picture, self.model.size))
        self._seconds.append(seconds)
        half = self._period / 2
        while len(self._seconds) > 1 and self._seconds[0] <= seconds - self.model.seconds + half:
            self._pictures.popleft()
            self._seconds.popleft()

    def clear(self) -> None:
        """Forget all frames: what comes next does not follow them."""
        self._pictures.clear()
        self._seconds.clear()
        self._next = float("-inf")

    def due(self) -> bool:
        """Whether the time for a window has come, which is once a hop."""
        now = self._seconds[-1] + self._period / 2
        if not self.full or now < self._next:
            return False
        on_time = self._next + self.hop
        self._next = on_time if on_time > now else self._seconds[-1] + self.hop
        return True

    def window(self, time: float, came: float) -> Window | None:
        """The frames of now as a window, None when there are none."""
        if not self._seconds:
            return None
        return Window(self.model, list(self._pictures), list(self._seconds), time, came)
