"""Packets that no wanted frame depends on are left out, and the bytes stay those of the whole pass."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from slimstream.clips import packs, track
from slimstream.clips.container import open_container
from slimstream.clips.packet_index import Packet, PacketIndex
from slimstream.clips.packs import pack_clip
from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.clips.reduce import kept_frames
from slimstream.clips.sampling import sample_indices
from slimstream.clips.video import VideoReader
from slimstream.core.media import UnreadableVideo
from tests.unit.clips.rendered_clips import encode, moving

STEPS = moving([(k, 0) for k in range(50)])
"""50 pictures of 64 by 64 pixels; the content moves one pixel to the right in each."""
ALL = ExtractParams(frames=16, size=(48, 48), flow="dis")
FEW = NetworkInput.of(ALL, Reduction(frames=3, streams="rgb"))

LONG, SHORT, NO_B = {"g": "250"}, {"g": "8"}, {"g": "12", "bf": "0"}
OPEN = {"g": "10", "x264-params": "open-gop=1:scenecut=0"}
X265 = {"g": "9", "x265-params": "log-level=none:pools=1:frame-threads=1"}
CLOSED = {"g": "9", "x265-params": "log-level=none:pools=1:frame-threads=1:open-gop=0"}
UNEVEN = [k / 25 + 0.013 * (k % 3) for k in range(50)]
HIDDEN = [(k - 13) / 25 for k in range(50)]


def of(codec: str, options: Mapping[str, str] | None = None, **more: object) -> Callable[[Path], Path]:
    return lambda path: encode(path, STEPS, codec, options=options, **more)  # type: ignore[arg-type]


VIDEOS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "h264, one key frame": ("mp4", of("libx264", LONG)),
    "h264, many key frames": ("mp4", of("libx264", SHORT)),
    "h264 without B-frames": ("mov", of("libx264", NO_B)),
    "h264 with pyramids": ("mkv", of("libx264", {"g": "16", "bf": "7", "b_strategy": "0"})),
    "h264, open groups": ("mp4", of("libx264", OPEN)),
    "h264 in a transport stream": ("ts", of("libx264", SHORT)),
    "h264 in avi": ("avi", of("libx264", NO_B)),
    "h264 in avi with B-frames": ("avi", of("libx264", SHORT)),
    "h264, rows that refresh": ("mp4", of("libx264", {"g": "12", "x264-params": "intra-refresh=1"})),
    "h264, variable rate": ("mp4", of("libx264", SHORT, times=UNEVEN)),
    "h264, cut by an edit list": ("mp4", of("libx264", {"g": "8", "bf": "0"}, times=HIDDEN)),
    "h264, cut, with B-frames": ("mp4", of("libx264", SHORT, times=HIDDEN)),
    "h264, interlaced": ("mp4", of("libx264", {"flags": "+ildct+ilme", "x264-params": "tff=1", "g": "8"})),
    "hevc, open groups": ("mp4", of("libx265", X265)),
    "hevc, closed groups": ("mkv", of("libx265", CLOSED)),
    "hevc in a transport stream": ("ts", of("libx265", X265)),
    "mpeg4": ("avi", of("mpeg4", {"g": "12", "b": "2M"}, ticks=25)),
    "mpeg4 with B-frames": ("mp4", of("mpeg4", {"g": "12", "bf": "2", "b": "2M"}, ticks=25)),
    "mpeg4 with B-frames in avi": ("avi", of("mpeg4", {"g": "12", "bf": "2", "b": "2M"}, ticks=25)),
    "mpeg2": ("ts", of("mpeg2video", {"g": "12", "bf": "2", "b": "2M"}, ticks=25)),
    "mjpeg": ("avi", of("mjpeg", pixels="yuvj420p")),
    "vp9": ("webm", of("libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"})),
    "vp9 with hidden frames": ("mkv", of("libvpx-vp9", {"g": "25", "lag-in-frames": "16"})),
    "ffv1": ("mkv", of("ffv1", {"g": "1"})),
    "ffv1, few key frames": ("avi", of("ffv1", {"g": "10"})),
}  # fmt: skip
WHOLE = {"h264, interlaced", "mpeg2", "h264 in avi with B-frames", "mpeg4 with B-frames in avi"}
"""Videos of which nothing is left out: their packets do not say enough."""


class Counted(VideoReader):
    """A reader that knows how many packets it has given to the decoder."""

    fed = 0

    def _fed(self):  # type: ignore[no-untyped-def]
        for packet in super()._fed():
            Counted.fed += bool(packet.size)
            yield packet


def packed(
    path: Path, p: ExtractParams, monkeypatch: pytest.MonkeyPatch, whole: bool = False
) -> tuple[packs.PackedFile, int]:
    """The pack, and the number of packets decoded for it."""
    with monkeypatch.context() as patch:
        patch.setattr(packs, "VideoReader", Counted)
        patch.setattr(packs, "open_clip", lambda path, _: Counted(path))
        if whole:
            patch.setattr(VideoReader, "skip_to", lambda self, wanted: None)
        Counted.fed = 0
        return pack_clip(path, p), Counted.fed


@pytest.mark.parametrize("name", VIDEOS)
def test_what_is_left_out_changes_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suffix, write = VIDEOS[name]
    path = write(tmp_path / f"clip.{suffix}")
    most = 0
    for p in (FEW, NetworkInput.of(ALL, Reduction(frames=2)), ALL, FEW.model_copy(update={"clips": 2})):
        whole, every = packed(path, p, monkeypatch, whole=True)
        part, some = packed(path, p, monkeypatch)
        assert part.array.tobytes() == whole.array.tobytes()
        assert (part.lengths, part.dropped) == (whole.lengths, whole.dropped)
        assert part.seconds == pytest.approx(whole.seconds)
        assert some <= every, "nothing had to be decoded twice"
        most = max(most, every - some)
    assert (most == 0) == (name in WHOLE), f"{most} packets left out"


def test_packets_of_a_large_file_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording of an hour does not fit into memory; it is read twice, with the same result."""
    path = encode(tmp_path / "a.mp4", STEPS, options={"g": "8"})
    expected, few = packed(path, FEW, monkeypatch)
    monkeypatch.setattr(track, "KEPT_BYTES", 0)
    found, again = packed(path, FEW, monkeypatch)
    assert found.array.tobytes() == expected.array.tobytes() and found.seconds == expected.seconds
    assert again == few < 50
    with VideoReader(path) as clip:
        assert clip.claimed_timeline() is not None and clip._track._kept is None


def test_what_is_left_out_may_be_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 50 is a key frame; ten are looked at for their border, then three are wanted."""
    path = encode(tmp_path / "a.avi", STEPS, "mjpeg", pixels="yuvj420p")
    expected, _ = packed(path, FEW, monkeypatch)
    data = bytearray(path.read_bytes())
    starts = [found.start() for found in re.finditer(b"\xff\xd8\xff", data)]
    (pairs,) = sample_indices(50, 0, ALL)
    needed = {pairs[k] for k in kept_frames(16, 3)}
    for number in set(range(12, 50)) - needed:
        scan = data.find(b"\xff\xda", starts[number])
        data[scan - 60 : scan] = bytes(60)
    path.write_bytes(data)
    assert packed(path, FEW, monkeypatch)[0].array.tobytes() == expected.array.tobytes()
    with pytest.raises(UnreadableVideo, match="damaged"):
        packed(path, ALL, monkeypatch)


def test_a_damaged_frame_that_is_needed_is_found(tmp_path: Path) -> None:
    """The packets say nothing of it: the decoder does, and the whole video is judged."""
    path = encode(tmp_path / "a.mp4", STEPS, options={"g": "50", "bf": "0"})
    with VideoReader(path) as clip:
        container, stream = open_container(path)
        places = [(p.pos, p.size) for p in container.demux(stream) if p.size]
        container.close()
        assert clip.claimed_timeline() is not None
    data = bytearray(path.read_bytes())
    for pos, size in places[15:25]:
        data[pos + 12 : pos + size] = np.random.default_rng(0).bytes(size - 12)
    path.write_bytes(data)
    with pytest.raises(UnreadableVideo, match="damaged"):
        pack_clip(path, FEW)


def packet(pts: int, kind: str) -> Packet:
    return Packet(pts, shown=True, start=kind == "I", reference=kind != "b")


def test_a_frame_needs_the_references_since_its_key_frame() -> None:
    """I0 P2 b1 P4 b3 I6 b5 P8 b7, by the times at which they are shown."""
    kinds = [(0, "I"), (2, "P"), (1, "b"), (4, "P"), (3, "b"), (6, "I"), (5, "b"), (8, "P"), (7, "b")]
    index = PacketIndex([packet(pts, kind) for pts, kind in kinds])
    assert index.needed({1}) == ({0, 1, 2}, {0, 5})
    assert index.needed({3}) == ({0, 1, 3, 4}, {0, 5})
    assert index.needed({6}) == ({5}, {0, 5})
    assert index.needed({5}) == ({0, 1, 3, 5, 6}, {0}), (
        "shown before its key frame, so it needs frames before"
    )
    assert index.needed({7, 0}) == ({0, 5, 7, 8}, {0, 5})
    assert index.needed(set()) == (set(), {0, 5})
