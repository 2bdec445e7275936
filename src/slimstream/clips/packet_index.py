"""Which packets of a video must be decoded to see some of its frames with exactly the bytes of a whole pass.

A codec predicts frames from others. From the packets alone, without decoding, can be seen where a decoder may
begin (a key frame that nothing before it is needed for) and which frames no other frame is predicted from:

    packet     I  P  b  P  b  I  P  b  P  b  I  P  b      b: nothing depends on it
    wanted                          ▲
    decoded                   ■  ■     ■

For codecs and streams where this is not certain there is no index, and the whole video is decoded.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

KEY_FRAMES_ARE_STARTS = {"ffv1"}
"""Codecs of which every key frame begins anew, and of whose other frames no more is read here."""
H264_SLICES, H264_START, H264_PARAMETERS = {1, 2, 5}, 5, {7, 8}
HEVC_STARTS, HEVC_PARAMETERS = range(16, 22), {32, 33, 34}
SCALABLE = {14, 15, 20, 21}
"""NAL units of H.264 with further layers or views."""
SMALLEST_VOP = 10
"""Bytes; a smaller packet of MPEG-4 may be one that shows nothing."""


class Packet(NamedTuple):
    """One packet: when its frame is shown, and how other frames depend on it."""

    pts: int
    shown: bool
    """False for a frame that an edit list hides."""
    start: bool
    """Decoding may begin here. Frames that come later in the file but are shown earlier may need more."""
    reference: bool
    """Other frames may be predicted from it."""
    parameters: bool = False
    """It holds settings of the decoder for the packets after it."""


@dataclass(frozen=True)
class PacketIndex:
    """The packets of a video track in the order of the file."""

    packets: list[Packet]

    @cached_property
    def frame_of(self) -> dict[int, int]:
        """Timestamp → index of the frame in display order."""
        return {pts: index for index, pts in enumerate(sorted(p.pts for p in self.packets if p.shown))}

    @cached_property
    def starts(self) -> list[int]:
        """Numbers of the packets at which decoding may begin; the first is 0."""
        return [number for number, packet in enumerate(self.packets) if packet.start]

    def needed(self, wanted: Collection[int]) -> tuple[set[int], set[int]]:
        """Numbers of the packets that the frames `wanted` depend on, their own included; and of fresh starts.

        At a fresh start the decoder may begin anew: no wanted frame from there on needs what is before it.
        """
        found: set[int] = set()
        crossed: set[int] = set()
        ends: dict[int, int] = {}  # start → last packet that is needed from there on
        for number, packet in enumerate(self.packets):
            if packet.shown and self.frame_of[packet.pts] in wanted:
                found.add(number)
                place = bisect_right(self.starts, number) - 1
                # A frame shown before its key frame may also be predicted from frames before that one.
                if place and packet.pts < self.packets[self.starts[place]].pts:
                    crossed.add(self.starts[place])
                    place -= 1
                ends[self.starts[place]] = number
        for start, end in ends.items():
            found |= {number for number in range(start, end) if self.packets[number].reference}
        return found, set(self.starts) - crossed


def index_packets(found: Iterable[Any], stream: Any) -> PacketIndex | None:
    """The index of the packets `found` of a track; None where they do not say enough.

    That is so for codecs that are not known here, missing or repeated timestamps, damaged packets, timestamps
    further out of order than the decoder expects, and settings of the decoder that change within the video.
    """
    codec = stream.codec_context
    read = _reader(codec)
    # AVI has no times of display, and those of frames out of order are guessed.
    if read is None or (codec.reorder_depth and stream.container.format.name == "avi"):
        return None
    packets: list[Packet] = []
    for p in found:
        if p.pts is None or p.is_corrupt or not p.size or p.has_sidedata("new_extradata"):
            return None
        facts = read(bytes(p), p.is_keyframe)
        if facts is None:
            return None
        start, reference, parameters = facts
        packets.append(Packet(p.pts, not p.is_discard, start and p.is_keyframe, reference, parameters))
    stamps = [p.pts for p in packets]
    in_order = (
        packets
        and packets[0].start
        and len(set(stamps)) == len(stamps)
        and _reordering(stamps) <= codec.reorder_depth
    )
    return PacketIndex(packets) if in_order and _settings_are_at_hand(packets) else None


def _reordering(stamps: list[int]) -> int:
    """The largest number of frames that come before one in the file and are shown after it."""
    waiting: list[int] = []  # sorted stamps that are later than the one before
    most = 0
    for pts in stamps:
        place = bisect_right(waiting, pts)
        most = max(most, len(waiting) - place)
        waiting.insert(place, pts)
        del waiting[: max(0, len(waiting) - 32)]
    return most


def _settings_are_at_hand(packets: list[Packet]) -> bool:
    """Whether a decoder that begins at any start has the settings that it would have in a whole pass."""
    holders = [p for p in packets if p.parameters]
    if any(not p.start for p in holders):
        return False
    return holders in ([], packets[:1]) or all(p.parameters for p in packets if p.start)


Facts = tuple[bool, bool, bool]
"""`start`, `reference` and `parameters` of a packet."""


def _reader(codec: Any) -> Callable[[bytes, bool], Facts | None] | None:
    """The function that reads the packets of a codec; None for a codec that is not known here."""
    name, extradata = codec.codec.canonical_name, bytes(codec.extradata or b"")
    if name == "h264":
        length = (extradata[4] & 3) + 1 if extradata[:1] == b"\x01" and len(extradata) > 4 else 0
        return lambda data, key: _h264(_nal_units(data, length))
    if name == "hevc":
        length = (extradata[21] & 3) + 1 if extradata[:1] == b"\x01" and len(extradata) > 21 else 0
        return lambda data, key: _hevc(list(_nal_units(data, length)))
    if name == "mpeg4":
        return lambda data, key: _mpeg4(data)
    if name == "vp9":
        return _vp9
    if name in KEY_FRAMES_ARE_STARTS or codec.codec.intra_only:
        return lambda data, key: (key, True, False)
    return None


def _nal_units(data: bytes, length: int) -> Iterator[bytes]:
    """The first two bytes of each NAL unit: after a size of `length` bytes, or for 0 after a start code."""
    if length:
        place = 0
        while place + length < len(data):
            size = int.from_bytes(data[place : place + length])
            yield data[place + length : place + length + 2]
            place += length + size
        return
    place = data.find(b"\0\0\1")
    while place >= 0:
        yield data[place + 3 : place + 5]
        place = data.find(b"\0\0\1", place + 3)


def _h264(units: Iterable[bytes]) -> Facts | None:
    slices = start = reference = parameters = False
    for first in (unit[0] for unit in units if unit):
        kind = first & 31
        if kind in SCALABLE:
            return None
        if kind in H264_SLICES:
            slices = True
            # Only an IDR picture begins anew: frames after another key frame may be predicted from before it.
            start = start or kind == H264_START
            reference = reference or bool(first >> 5 & 3)
        parameters = parameters or kind in H264_PARAMETERS
    return (start, reference, parameters) if slices else None


def _hevc(units: list[bytes]) -> Facts | None:
    kinds = {unit[0] >> 1 & 63 for unit in units if len(unit) == 2}
    slices = {kind for kind in kinds if kind < 32}
    # Layers, of time or else, are a number in the first two bytes that is 1 for a stream without any.
    if not slices or any(((unit[0] & 1) << 8 | unit[1]) != 1 for unit in units if len(unit) == 2):
        return None
    reference = any(kind >= 16 or kind % 2 for kind in slices)
    return all(kind in HEVC_STARTS for kind in slices), reference, bool(kinds & HEVC_PARAMETERS)


def _mpeg4(data: bytes) -> Facts | None:
    pictures = data.split(b"\0\0\1\xb6")[1:]
    if len(pictures) != 1 or not pictures[0] or len(data) < SMALLEST_VOP:  # several, as DivX packs them
        return None
    kind = pictures[0][0] >> 6  # 0: I, 1: P, 2: B, 3: S
    return kind == 0, kind != 2, False


def _vp9(data: bytes, key: bool) -> Facts | None:
    several = data[-1] & 0xE0 == 0xC0  # a hidden frame with the one that is shown
    shown = data[0] & 0b1010  # show_existing_frame, show_frame; further on in profile 3
    return (key, True, False) if data[0] >> 4 & 3 != 3 and (several or shown) else None
