"""Deinterlace frames with FFmpeg's filter bwdif.

An interlaced frame holds two fields of different moments in alternate lines. Without deinterlacing, moving
objects have combed edges, and optical flow is wrong.
"""

from collections.abc import Iterable, Iterator

import av


class Deinterlacer:
    """Deinterlace a stream, one frame out per frame in, with a delay of one frame.

    Frames that are not flagged as interlaced pass unchanged.
    """

    def __init__(self, frame: av.VideoFrame, before: av.VideoFrame | None = None) -> None:
        """Prepare for frames of the size and pixel format of `frame`, the first one.

        `before` is the previous frame. The filter reads it, but does not return it.
        """
        self._shape = _shape(frame)
        self._graph = av.filter.Graph()
        nodes = [
            self._graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            ),
            self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"),
            self._graph.add("buffersink"),
        ]
        self._graph.link_nodes(*nodes).configure()
        self._surplus = 0
        if before is not None and self.fits(before):
            self._graph.push(before)
            self._surplus = 1

    def fits(self, frame: av.VideoFrame) -> bool:
        """Return True when `frame` has the expected size and pixel format."""
        return _shape(frame) == self._shape

    def push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Yield the frames that are ready. None ends the stream and yields the last frame."""
        self._graph.push(frame)
        while True:
            try:
                ready = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(ready, av.VideoFrame)
            if self._surplus:
                self._surplus -= 1
            else:
                yield ready


def deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The `frames` for display: from the first interlaced one on they pass through a Deinterlacer."""
    filter_: Deinterlacer | None = None
    before: av.VideoFrame | None = None
    for frame in frames:
        if filter_ is not None and not filter_.fits(frame):
            yield from filter_.push(None)
            filter_ = before = None
        if filter_ is None and frame.interlaced_frame:
            filter_ = Deinterlacer(frame, before)
        if filter_ is None:
            yield frame
        else:
            yield from filter_.push(frame)
        before = frame
    if filter_ is not None:
        yield from filter_.push(None)


def _shape(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
