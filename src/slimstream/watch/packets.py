"""The last packets of a stream, from which the frames of a window are decoded once more if it is kept."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import Any

import av

from slimstream.clips.deinterlace import deinterlaced
from slimstream.clips.rgb import RgbConverter
from slimstream.core.media import Frame, UnreadableVideo
from slimstream.watch.footage import Take, last_place

MOST = 16_000_000
"""Bytes of packets in memory at most. At 4 Mbit a second these are 32 s: a window, and all from the key frame
before it."""
COPIED = (
    "extradata",
    "width",
    "height",
    "pix_fmt",
    "color_range",
    "colorspace",
    "color_primaries",
    "color_trc",
)
"""What a decoder has to know that is not in the packets."""


@dataclass(frozen=True)
class _Packet:
    data: bytes
    pts: int | None
    dts: int | None
    key: bool
    """Whether decoding can begin with it."""
    begins: float
    """Seconds on the clock of the recording, before which it shows nothing."""


class Packets:
    """Footage of a stream. Packets take no processor time, and far less memory than pictures."""

    def __init__(self) -> None:
        self._packets: deque[_Packet] = deque()
        self._bytes = 0
        self._shown: deque[tuple[float, float]] = deque()
        """The timestamp of each frame by the container, and its time in the recording."""
        self._codec, self._time_base, self._settings = "", Fraction(1), dict[str, Any]()

    def open(self, stream: Any) -> None:
        """The packets to come are of this stream of PyAV."""
        codec = stream.codec_context
        self._codec, self._time_base = codec.name, stream.time_base
        self._settings = {name: getattr(codec, name) for name in COPIED}

    def add(self, packet: Any, seconds: float) -> None:
        """Keep a packet of PyAV; it shows nothing before the time `seconds`."""
        if not packet.is_keyframe and not self._packets:
            return
        kept = _Packet(bytes(packet), packet.pts, packet.dts, packet.is_keyframe, seconds)
        self._packets.append(kept)
        self._bytes += len(kept.data)
        if self._bytes > MOST:  # a key frame is too far away: begin again with the next one
            self._forget(len(self._packets))
            self._shown.clear()

    def show(self, stamp: float | None, seconds: float) -> None:
        """Note that the frame with this timestamp (`time` of PyAV's frame) was shown at `seconds`."""
        if stamp is not None and self._packets:
            self._shown.append((stamp, seconds))

    def take(self, seconds: Sequence[float]) -> Take | None:
        """See `Footage.take`."""
        begins = [n for n, packet in enumerate(self._packets) if packet.key and packet.begins <= seconds[0]]
        times = [time for _, time in self._shown]
        if not begins or seconds[0] not in times:
            return None
        self._forget(begins[-1])
        for _ in range(last_place(times, seconds[0])):
            self._shown.popleft()
        wanted = frozenset(seconds)
        shown = {stamp: time for stamp, time in self._shown if time in wanted}
        return partial(self._again, list(self._packets), shown)

    def _forget(self, count: int) -> None:
        self._bytes -= sum(len(packet.data) for packet in islice(self._packets, count))
        for _ in range(count):
            self._packets.popleft()

    def _again(self, packets: list[_Packet], shown: dict[float, float]) -> Iterator[tuple[float, Frame]]:
        rgb, missing = RgbConverter(), dict(shown)
        for frame in deinterlaced(self._decoded(packets)):
            if frame.time is not None and (seconds := missing.pop(frame.time, None)) is not None:
                yield seconds, rgb.picture(frame)
        if missing:
            raise UnreadableVideo(f"of {len(shown)} frames {len(missing)} cannot be decoded again")

    def _decoded(self, packets: list[_Packet]) -> Iterator[av.VideoFrame]:
        decoder: Any = av.CodecContext.create(self._codec, "r")
        for name, value in self._settings.items():
            if value:
                setattr(decoder, name, value)
        decoder.thread_count = 1  # the cameras need the others
        for kept in packets:
            packet = av.Packet(kept.data)
            packet.pts, packet.dts, packet.time_base = kept.pts, kept.dts, self._time_base
            packet.is_keyframe = kept.key
            try:
                yield from decoder.decode(packet)
            except av.error.FFmpegError:
                continue  # nor has the camera shown anything of it
