"""Full pictures from interlaced frames, by FFmpeg's filter bwdif.

An interlaced frame holds two half pictures (fields) of different moments, every other line of each. Left as
it is, whatever moves has combed edges, and optical flow sees motion that is none.
"""

from collections.abc import Iterator

import av


class Deinterlacer:
    """Frames in, as many frames out, one later; those that are not flagged as interlaced pass unchanged."""

    def __init__(self, frame: av.VideoFrame, before: av.VideoFrame | None = None) -> None:
        """For frames of the size and pixel format of `frame`, the first one.

        `before` is the frame before it, which the filter looks at as well and does not hand out.
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
        """Whether `frame` has the size and format that this one was made for."""
        return _shape(frame) == self._shape

    def push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Yield the frames that are ready; None ends the stream and brings the last one."""
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


def _shape(frame: av.VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
