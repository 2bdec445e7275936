"""Decoding of video with PyAV in one sequential pass without seeking; only the wanted frames are converted.

In many containers seeking is not exact. All packets are read, and those that no wanted frame depends on may
be left out (see `packet_index`), which gives the same bytes. A picture is a clip of one frame and has the
same interface.
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import av

from slimstream.clips.container import empty_packet
from slimstream.clips.deinterlace import deinterlaced
from slimstream.clips.pictures import PictureReader
from slimstream.clips.rgb import RgbConverter
from slimstream.clips.timeline import Timeline, timeline
from slimstream.clips.track import Track
from slimstream.core.media import Frame, UnreadableVideo, VideoInfo, is_picture

MISSING_SHARE, MISSING_FRAMES = 0.1, 3
"""Share of a clip and number of frames that may be lost or damaged: headers of intact files are rounded."""


class SkippingFailed(Exception):
    """Packets were left out, and a wanted frame did not come out whole: decode without `skip_to`."""


class VideoReader:
    """One sequential pass: iterating decodes frame after frame, `picture()` converts the last one.

        with VideoReader(path) as clip:
            pictures = {index: clip.picture() for index in clip if index % 5 == 0}

    Frames come in display order. Frames hidden by an edit list are left out, interlaced frames are
    deinterlaced. Of several video tracks the largest is read. Raises UnreadableVideo when there is none.
    """

    def __init__(self, path: Path) -> None:
        self._track = Track(path)
        self._rgb = RgbConverter()
        self._frame: av.VideoFrame | None = None
        self._stamps: list[float | None] = []
        self._newest: av.VideoFrame | None = None  # as decoded
        self._missing: set[int] | None = None  # with `skip_to`: wanted frames that have not come yet
        self._needed: set[int] = set()
        self._fresh: set[int] = set()
        self._end = -1  # the last needed packet
        self.damaged = 0
        """Number of frames so far that are incomplete or were predicted from an incomplete frame."""
        self.lost = 0
        """Number of packets after the first frame that could not be decoded."""
        self.interlaced = 0
        """Number of frames so far that were deinterlaced."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._track.close()

    @property
    def info(self) -> VideoInfo:
        return self._track.info

    def claimed_timeline(self) -> Timeline | None:
        """See `Track.claimed_timeline`. Call it before iterating."""
        return self._track.claimed_timeline()

    def skip_to(self, wanted: Collection[int]) -> None:
        """From here on decode only what the frames `wanted` depend on, if that gives the same bytes.

        Call it while iterating. Frames before the present one cannot be wanted. Where it is not certain that
        the bytes are the same, as in an interlaced or unknown stream, nothing is left out. Otherwise the
        iteration ends with the last wanted frame, `timeline` is the claimed one, and damage in packets that
        are left out stays unnoticed. It raises SkippingFailed when a frame is damaged or missing.
        """
        if self._track.index is None or self.damaged or self.lost or self.interlaced:
            return
        seen = self._place(self._frame)
        if seen is None or seen != len(self._stamps) - 1:
            return  # frames do not come out as the packets say
        self._missing = {index for index in wanted if index > seen}
        self._needed, self._fresh = self._track.index.needed(self._missing)
        self._end = max(self._needed, default=-1)

    def timeline(self) -> Timeline:
        """The timeline of the frames so far. Raises UnreadableVideo when there are none."""
        if self._missing is not None and self._track.claimed is not None:
            return self._track.claimed
        if not self._stamps:
            raise UnreadableVideo("no frame can be decoded")
        newest = self._newest
        last = float((newest.duration or 0) * (newest.time_base or 0)) if newest else 0.0
        return timeline(self._stamps, self.info.fps, last, self._track.restarts)

    def damage(self) -> str:
        """Why too many of the frames so far are damaged, as a sentence; "" when they are not."""
        frames, bad = len(self._stamps) + self.lost, self.damaged + self.lost
        # A few may be damaged, but not more than half of a clip of few frames.
        if bad > MISSING_SHARE * frames and bad > min(MISSING_FRAMES, frames // 2):
            return f"damaged: {bad} of {frames} frames lack a part" + " or all" * (self.lost > 0)
        return ""

    def truncation(self) -> str:
        """After the last frame: a sentence if the clip is much shorter than its header claims; else ""."""
        claimed, seen = self.info.duration, self.timeline()
        lost = claimed - seen.seconds
        if lost > MISSING_FRAMES * seen.period and lost > MISSING_SHARE * claimed:
            return f"truncated: {seen.seconds:.2f} of {claimed:.2f} seconds can be decoded"
        return ""

    def __iter__(self) -> Iterator[int]:
        for number, frame in enumerate(self._shown()):
            self._frame = frame
            place = number if self._missing is None else self._place(frame)
            assert place is not None, "frames with another timestamp are left out"
            yield place

    def _place(self, frame: av.VideoFrame | None) -> int | None:
        """Index of a frame in display order by its timestamp; None when no packet has it."""
        if self._track.index is None or frame is None or frame.pts is None:
            return None
        return self._track.index.frame_of.get(frame.pts)

    @property
    def seconds(self) -> float | None:
        """The timestamp of the last decoded frame, None when it has none."""
        return None if self._frame is None else self._frame.time

    def picture(self) -> Frame:
        """The last decoded frame, (H, W, 3) uint8 RGB. Raises UnreadableVideo when it cannot be converted."""
        assert self._frame is not None, "iterate first"
        return self._rgb.picture(self._frame)

    def picture_later(self) -> Callable[[], Frame]:
        """A call that makes `picture()` of the last decoded frame, also after the next one."""
        assert self._frame is not None, "iterate first"
        return partial(self._rgb.picture, self._frame)

    def _shown(self) -> Iterator[av.VideoFrame]:
        """Frames for display; counts interlaced ones."""

        def counted() -> Iterator[av.VideoFrame]:
            for frame in self._decoded():
                self.interlaced += frame.interlaced_frame
                yield frame

        return deinterlaced(counted())

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Frames as the decoder returns them; records their timestamps and counts damaged ones."""
        spoilt = False
        for packet in self._fed():
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                spoilt = True
                self.lost += bool(self._stamps)  # a stream may begin before its first key frame
                self._require(not self.lost)
                continue
            for frame in frames:
                assert isinstance(frame, av.VideoFrame)
                # A frame predicted from a damaged frame is damaged too, up to the next key frame.
                spoilt = frame.is_corrupt or (spoilt and not frame.key_frame)
                self.damaged += spoilt
                self._stamps.append(frame.time)
                self._newest = frame
                if self._missing is None:
                    yield frame
                elif (place := self._place(frame)) is not None and place in self._missing:
                    self._require(not (spoilt or frame.interlaced_frame))
                    self._missing.remove(place)
                    yield frame
            if self._missing is not None and not self._missing:
                return
        self._require(False)

    def _fed(self) -> Iterator[av.Packet]:
        """Packets for the decoder: all, or after `skip_to` the needed ones."""
        skipped = False
        for number, packet in enumerate(self._track.packets()):
            if self._missing is not None and packet.size and number not in self._needed:
                skipped = True
                if number > self._end:
                    yield empty_packet(self._track.stream)
                    return
                continue
            if skipped and number in self._fresh:
                # As after a seek: the decoder returns what it holds and begins anew.
                yield empty_packet(self._track.stream)
                self._track.stream.codec_context.flush_buffers()
            skipped = False
            yield packet

    def _require(self, whole: bool) -> None:
        """Raise SkippingFailed if packets are left out and not all is `whole`."""
        if self._missing is not None and not whole:
            raise SkippingFailed


def open_clip(path: Path, bits: int | None = None) -> VideoReader | PictureReader:
    """Open a video or a picture, by its suffix; for `bits` see `PictureReader`.

    Raises UnreadableVideo when the file cannot be read as such.
    """
    return PictureReader(path, bits) if is_picture(path) else VideoReader(path)


def probe(path: Path) -> VideoInfo:
    """Read a header. Raises UnreadableVideo when there is no video stream and no picture."""
    with open_clip(path) as clip:
        return clip.info


def frames(path: Path, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Frame]]:
    """Yield (index, RGB frame (H, W, 3) uint8) in order, for all frames or those `wanted`.

    Stops after the last wanted frame. Raises UnreadableVideo when no frame can be decoded.
    """
    chosen = None if wanted is None else frozenset(wanted)
    if chosen is not None and not chosen:
        return
    index = -1
    with open_clip(path) as clip:
        for index in clip:
            if chosen is None or index in chosen:
                yield index, clip.picture()
            if chosen is not None and index == max(chosen):
                return
    if index < 0:
        raise UnreadableVideo("no frame can be decoded")
