"""Timestamps of the frames of a clip.

Cameras, recorders and phones do not always write frames at a constant rate. The duration of a clip, the
sampled moments and the distance of two frames are therefore computed from the timestamps.
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
"""Largest share of timestamps out of order; up to it they are ignored, above it all are."""
ROUNDING = 0.01
"""Frame intervals below this (seconds) cannot be measured with timestamps in whole milliseconds."""
CLOCK_RESET = 10.0
"""A larger forward jump (seconds) is a clock reset, where resets may occur (FFmpeg's dts_delta_threshold)."""


@dataclass(frozen=True)
class Timeline:
    """Timestamps of the frames of a clip."""

    times: Seconds
    """(T,) increasing seconds; T >= 1."""
    last: float = 0.0
    """Duration of the last frame in seconds; 0 if unknown, then `period` is used."""

    @cached_property
    def _rate(self) -> tuple[float, float]:
        """Return the usual frame interval and the start time, both in seconds, from a line fit to the times.

        The fit averages out rounding to milliseconds and jitter of the camera clock.
        """
        times = self.times - self.times[0]
        if len(times) < 2:
            return 0.0, 0.0
        steps = np.diff(times)
        usual = np.quantile(steps, 0.5, method="lower")  # an existing step, not the mean of two
        many = np.rint(steps / usual)
        whole = (many > 0) & (np.abs(steps / usual - many) < 1 / 8)
        if usual > ROUNDING and whole.all() and many.max() > 1:
            return float(steps.sum() / many.sum()), 0.0  # frames are missing, perhaps regularly
        number = np.arange(len(times))
        period, start = np.polyfit(number, times, 1)
        if np.abs(times - start - period * number).max() >= period / 2:  # pauses: ignore them
            period, start = steps[np.abs(steps - usual) <= usual / 2].mean(), 0.0
        return float(period), float(start)

    @property
    def period(self) -> float:
        """Usual frame interval in seconds, without pauses; 0 for a single frame."""
        return self._rate[0]

    @property
    def seconds(self) -> float:
        """Duration in seconds, from the first frame to the end of the last one."""
        return float(self.times[-1] - self.times[0]) + (self.last or self.period)

    @cached_property
    def ticks(self) -> Ints:
        """(T,) the time of each frame in whole periods: 0, 1, 2, … at a constant rate.

        Missing frames leave gaps in the numbers.
        """
        period, start = self._rate
        if not period:
            return np.zeros(len(self.times), np.int64)
        ticks = np.rint((self.times - self.times[0] - start) / period).astype(np.int64)
        return np.asarray(ticks - ticks[0], np.int64)

    def frame_at(self, tick: int) -> int:
        """Return the index of the frame shown at `tick`: the last frame that is not later."""
        return int(np.searchsorted(self.ticks, tick, side="right")) - 1

    def pairs(self, stride: int) -> Ints:
        """Return (N, 2) indices of pairs of frames that are `stride` periods apart in time."""
        first = np.arange(len(self.ticks))
        second = np.minimum(np.searchsorted(self.ticks, self.ticks + stride), len(self.ticks) - 1)
        exact = self.ticks[second] == self.ticks + stride
        return np.column_stack([first, second])[exact]


def timeline(
    stamps: Sequence[float | None], fps: float, last: float = 0.0, restarts: bool = False
) -> Timeline:
    """Build the timeline of frames in display order from their timestamps in seconds.

    A frame without a timestamp, or with one that is not later than the previous one, is placed evenly between
    its neighbours. When most timestamps are missing or many are out of order, all frames are placed at the
    constant rate `fps`. `restarts`: the clock of the container may be reset within the clip, see
    `_without_clock_resets`.
    """
    known = np.array([i for i, stamp in enumerate(stamps) if stamp is not None], np.int64)
    values = np.array([stamp for stamp in stamps if stamp is not None], np.float64)
    if restarts:
        values = _without_clock_resets(values)
    increasing = _longest_increasing(values)
    if 2 * len(known) < len(stamps) or len(values) - len(increasing) > DISORDER * len(values):
        return Timeline(np.arange(len(stamps)) / fps, last)
    known, values = known[increasing], values[increasing]
    numbers = np.arange(len(stamps))
    times = np.interp(numbers, known, values)
    for outside in (numbers < known[0], numbers > known[-1]):  # np.interp repeats the first and last value
        edge = known[0] if outside[0] else known[-1]
        times[outside] += (numbers[outside] - edge) / fps
    return Timeline(times, last)


def _without_clock_resets(values: Seconds) -> Seconds:
    """Remove clock resets from `values`: after a reset the next frame follows at the usual interval.

    A reset is any step back, or a step forward of more than LEAP seconds, unless the clip is that slow.
    """
    steps = np.diff(values)
    if not (steps > 0).any():
        return values
    usual = np.quantile(steps[steps > 0], 0.5, method="lower")
    leaps = (steps < 0) | (steps > max(CLOCK_RESET, 10 * usual))
    if leaps.sum() > DISORDER * len(leaps):  # the timestamps are useless
        return values
    return values[:1] + np.concatenate([[0.0], np.cumsum(np.where(leaps, usual, steps))])


def _longest_increasing(values: Seconds) -> Ints:
    """Return the indices of a longest increasing subsequence of `values`."""
    if (np.diff(values) > 0).all():
        return np.arange(len(values))
    ends: list[float] = []  # [n - 1]: lowest last value of an increasing run of n values
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
