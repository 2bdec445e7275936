"""When the frames of a clip are shown.

Cameras, recorders and telephones do not always write frames at a constant rate. Whatever speaks of time (the
length of a clip, where it is sampled, how far apart two frames are) goes by the timestamps.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DISORDER = 0.1
"""Share of timestamps that may be out of order: those are left out of account."""
ROUNDING = 0.01
"""Seconds below which steps in whole milliseconds look like multiples of each other and are none."""
LEAP = 10.0
"""Seconds that timestamps may leap where a clock may be set anew (as FFmpeg's dts_delta_threshold)."""


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
        steps = np.diff(times)
        usual = np.quantile(steps, 0.5, method="lower")  # a step that there is, not the mean of two
        many = np.rint(steps / usual)
        whole = (many > 0) & (np.abs(steps / usual - many) < 1 / 8)
        if usual > ROUNDING and whole.all() and many.max() > 1:
            return float(steps.sum() / many.sum()), 0.0  # frames were left out, perhaps regularly
        number = np.arange(len(times))
        period, start = np.polyfit(number, times, 1)
        if np.abs(times - start - period * number).max() >= period / 2:  # there are pauses: leave them out
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


def timeline(
    stamps: Sequence[float | None], fps: float, last: float = 0.0, restarts: bool = False
) -> Timeline:
    """The timeline of frames in the order in which they are shown, from their timestamps in seconds.

    Frames without one, or with one that is not after that of the frame before, lie evenly between their
    neighbours. Where hardly any has one, or many do not increase, the container does not know better: then
    frames come at `fps` a second. `restarts`: the container's clock may be set anew within the clip, see
    `_continued`.
    """
    known = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], np.int64)
    values = np.array([stamp for stamp in stamps if stamp is not None], np.float64)
    if restarts:
        values = _continued(values)
    increasing = _increasing(values)
    if 2 * len(known) < len(stamps) or len(values) - len(increasing) > DISORDER * len(values):
        return Timeline(np.arange(len(stamps)) / fps, last)
    known, values = known[increasing], values[increasing]
    numbers = np.arange(len(stamps))
    times = np.interp(numbers, known, values)
    for outside in (numbers < known[0], numbers > known[-1]):  # interp repeats the first and the last
        edge = known[0] if outside[0] else known[-1]
        times[outside] += (numbers[outside] - edge) / fps
    return Timeline(times, last)


def _continued(values: Seconds) -> Seconds:
    """`values` without the leaps of a clock that was set anew: the next frame comes after the usual step.

    A leap is any step back, and one forward of more than LEAP seconds, unless the clip is that slow.
    """
    steps = np.diff(values)
    if not (steps > 0).any():
        return values
    usual = np.quantile(steps[steps > 0], 0.5, method="lower")
    leaps = (steps < 0) | (steps > max(LEAP, 10 * usual))
    if leaps.sum() > DISORDER * len(leaps):  # no clock at all
        return values
    return values[:1] + np.concatenate([[0.0], np.cumsum(np.where(leaps, usual, steps))])


def _increasing(values: Seconds) -> Ints:
    """Indices of as many of `values` as increase from one to the next."""
    if (np.diff(values) > 0).all():
        return np.arange(len(values))
    ends: list[float] = []  # of increasing runs of 1, 2, … values, the lowest value that one ends with
    index: list[int] = []
    before = np.full(len(values), -1)
    for place, value in enumerate(values.tolist()):
        length = bisect_left(ends, value)
        before[place] = index[length - 1] if length else -1
        ends[length : length + 1], index[length : length + 1] = [value], [place]
    chain = [index[-1]]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return np.array(chain[::-1], np.int64)
