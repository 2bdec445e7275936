"""The largest video track of a file: what its header and its packets say before anything is decoded."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from slimstream.clips.container import claimed_duration, open_container, packets
from slimstream.clips.packet_index import PacketIndex, index_packets
from slimstream.clips.timeline import Timeline, timeline
from slimstream.core.media import UnreadableVideo, VideoInfo

PROGRESSIVE = 1
"""FFmpeg's AVFieldOrder for progressive frames; 0 is unknown, larger numbers are interlaced."""

KEPT_BYTES = 2**28
"""Size of a file above which its packets are read twice instead of being kept in memory."""


class Track:
    """An open video track. Raises UnreadableVideo when there is none, or no such file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file() or path.stat().st_size == 0:
            raise UnreadableVideo("the file is empty" if path.is_file() else "the file is missing")
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise UnreadableVideo("the file's name is not UTF-8: rename it") from None
        self._path = path
        self._container, self.stream = open_container(path)
        self._looked_through = False
        self._kept: deque[Any] | None = None  # packets that `claimed_timeline` has read
        self.claimed: Timeline | None = None
        """What `claimed_timeline` has found."""
        self.index: PacketIndex | None = None
        """How the packets depend on each other; None before `claimed_timeline`, and where they do not say."""

    def close(self) -> None:
        self._container.close()

    @property
    def info(self) -> VideoInfo:
        stream, codec = self.stream, self.stream.codec_context
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        return VideoInfo(
            frames=max(0, stream.frames),
            fps=fps if 0 < fps < 10_000 else 25.0,
            width=codec.width,
            height=codec.height,
            codec=codec.codec.canonical_name,
            duration=claimed_duration(self._container, stream),
            interlaced=codec.field_order > PROGRESSIVE,
        )

    @property
    def restarts(self) -> bool:
        """Whether timestamps may restart within the container, as in a transport stream."""
        return bool(self._container.format.flags & av.format.Flags.ts_discont.value)

    def packets(self) -> Iterator[Any]:
        """The packets in the order of the file, each once; the last one is empty."""
        if self._kept is None:
            yield from packets(self._container, self.stream)
        while self._kept:
            yield self._kept.popleft()

    def claimed_timeline(self) -> Timeline | None:
        """The timeline by the container's packets, read without decoding; None when it has no packets.

        Call it before `packets`. It reads the file to its end. The packets are kept until they are decoded;
        those of a large file are read again.
        """
        if not self._looked_through:
            self._looked_through = True
            if self._path.stat().st_size <= KEPT_BYTES:
                self._kept = deque(packets(self._container, self.stream))
                self._look_through(list(self._kept)[:-1])  # the last one is empty
            else:
                container, stream = open_container(self._path)
                with closing(container):
                    self._look_through(packet for packet, _ in pairwise(packets(container, stream)))
        return self.claimed

    def _look_through(self, found: Iterable[Any]) -> None:
        """Note what the packets `found` of the file say."""
        shown: list[tuple[int | None, int | None]] = []  # pts and duration of packets that are shown

        def noted() -> Iterator[Any]:
            for packet in found:
                if packet.size and not packet.is_discard:
                    shown.append((packet.pts, packet.duration))
                yield packet

        rest = noted()
        self.index = None if self.info.interlaced else index_packets(rest, self.stream)
        for _ in rest:  # no index is made of these
            pass
        self.claimed = self._claimed_by(shown)

    def _claimed_by(self, shown: list[tuple[int | None, int | None]]) -> Timeline | None:
        if not shown:
            return None
        base = self.stream.time_base  # of its packets, too
        known = [pts for pts, _ in shown if pts is not None]
        if len(known) < len(shown) or not base:
            return timeline([None] * len(shown), self.info.fps)
        seconds = [pts * base.numerator / base.denominator for pts in sorted(known)]
        _, duration = max(shown, key=lambda stamp: stamp[0] or 0)
        return timeline(seconds, self.info.fps, float((duration or 0) * base), self.restarts)
