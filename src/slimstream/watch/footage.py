"""Frames that can be had again: of the last seconds of a camera, all that a clip of a window needs.

A kept window is rare, so little may be spent on the way. A stream keeps its packets (`packets.Packets`), a
file is read again (`files`), and of capture devices and the rig, which have no packets, JPEG is made here.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import simplejpeg

from slimstream.core.media import Frame
from slimstream.watch.recording import Shots

QUALITY = 92
"""Of the JPEG pictures."""
MOST = 64_000_000
"""Bytes of them in memory at most, for one camera."""

Take = Callable[[], Iterator[tuple[float, Frame]]]
"""Gives the frames of a window again: yields (seconds, (H, W, 3) uint8 RGB) in order, at the camera's size.

May be called later, by another thread, and more than once. Raises UnreadableVideo, OSError or an error of
FFmpeg when they cannot be had."""


class Footage(Protocol):
    """The last seconds of a recording. It is used by the thread that reads the recording."""

    def take(self, seconds: Sequence[float]) -> Take | None:
        """What gives the frames of these increasing times of the recording again; None: they are not kept.

        Frames before the first of these times are not asked for any more.
        """


class Jpegs:
    """Footage of JPEG pictures in memory."""

    def __init__(self) -> None:
        self._pictures: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    def passed(self, shots: Shots) -> Shots:
        """The same `shots`; those of which the picture is asked for are kept."""
        for seconds, picture in shots:
            yield seconds, partial(self._kept, seconds, picture)

    def take(self, seconds: Sequence[float]) -> Take | None:
        """See `Footage.take`."""
        times = [time for time, _ in self._pictures]
        if seconds[0] not in times:
            return None
        for _ in range(last_place(times, seconds[0])):
            self._forget()
        wanted = frozenset(seconds)
        return partial(_decoded, [shot for shot in self._pictures if shot[0] in wanted])

    def _kept(self, seconds: float, picture: Callable[[], Frame]) -> Frame:
        frame = picture()
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(frame), QUALITY, colorsubsampling="420")
        self._pictures.append((seconds, jpeg))
        self._bytes += len(jpeg)
        while self._bytes > MOST:
            self._forget()
        return frame

    def _forget(self) -> None:
        self._bytes -= len(self._pictures.popleft()[1])


def last_place(times: Sequence[float], time: float) -> int:
    """The index of the last of `times` that is `time`: a clock that was set back gives one twice."""
    return len(times) - 1 - times[::-1].index(time)


def _decoded(pictures: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, Frame]]:
    return ((seconds, simplejpeg.decode_jpeg(jpeg)) for seconds, jpeg in pictures)
