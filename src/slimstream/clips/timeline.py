"""When the frames of a clip are shown.

Cameras, recorders and telephones do not always write frames at a constant rate. Whatever speaks of time (the
length of a clip, where it is sampled, how far apart two frames are) goes by the timestamps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timeline:
    """Timestamps of a clip's frames."""

    times: Seconds
    """(T,) increasing seconds; T >= 1."""
    last: float = 0.0
    """Seconds that the last frame is shown; 0 if unknown: as long as the others."""

    @cached_property
    def _rate(self) -> tuple[float, float]:
        """Usual seconds from one frame to the next, and when the first is due: a line through the times.

        Timestamps may be rounded to milliseconds, and the clocks of cameras shake.
        """
        times = self.times - self.times[0]
        if len(times) < 2:
            return 0.0, 0.0
        number = np.arange(len(times))
        period, start = np.polyfit(number, times, 1)
        if np.abs(times - start - period * number).max() >= period / 2:  # there are pauses: leave them out
            steps = np.diff(times)
            usual = np.median(steps)
            period, start = steps[np.abs(steps - usual) <= usual / 2].mean(), 0.0
        return float(period), float(start)

    @property
    def period(self) -> float:
        """Usual seconds from one frame to the next, pauses left out; 0 for a single frame."""
        return self._rate[0]

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last one."""
        return float(self.times[-1] - self.times[0]) + (self.last or self.period)

    @cached_property
    def ticks(self) -> Ints:
        """(T,) each frame's number if the clip had a frame in every period: 0, 1, 2, … at a constant rate.

        Where frames were left out, numbers are missing.
        """
        period, start = self._rate
        if not period:
            return np.zeros(len(self.times), np.int64)
        ticks = np.rint((self.times - self.times[0] - start) / period).astype(np.int64)
        return np.asarray(ticks - ticks[0], np.int64)

    def frame_at(self, tick: int) -> int:
        """The frame that is shown at `tick`: the last one that is not later."""
        return int(np.searchsorted(self.ticks, tick, side="right")) - 1

    def pairs(self, stride: int) -> Ints:
        """(N, 2) frames that are `stride` periods apart, by time."""
        first = np.arange(len(self.ticks))
        second = np.minimum(np.searchsorted(self.ticks, self.ticks + stride), len(self.ticks) - 1)
        exact = self.ticks[second] == self.ticks + stride
        return np.column_stack([first, second])[exact]


def timeline(stamps: Sequence[float | None], fps: float, last: float = 0.0) -> Timeline:
    """The timeline of frames in the order in which they are shown, from their timestamps in seconds.

    Frames without one lie evenly between their neighbours. Where hardly any has one, or they do not increase,
    the container does not know better: then frames come at `fps` a second.
    """
    known = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], np.int64)
    values = np.array([stamp for stamp in stamps if stamp is not None], np.float64)
    if 2 * len(known) < len(stamps) or (np.diff(values) <= 0).any():
        return Timeline(np.arange(len(stamps)) / fps, last)
    numbers = np.arange(len(stamps))
    times = np.interp(numbers, known, values)
    for outside in (numbers < known[0], numbers > known[-1]):  # interp repeats the first and the last
        edge = known[0] if outside[0] else known[-1]
        times[outside] += (numbers[outside] - edge) / fps
    return Timeline(times, last)
