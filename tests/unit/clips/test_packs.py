"""Frames and flow in step, foreign leading frames left out, the same bytes whatever the header claims."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimstream.clips import packs
from slimstream.clips.packs import check_flow, pack_clip
from slimstream.clips.params import ExtractParams, NetworkInput, Reduction
from slimstream.clips.reduce import reduce_pack
from slimstream.clips.sampling import LEADING, sample_indices
from slimstream.clips.timeline import Timeline
from slimstream.clips.video import VideoReader
from slimstream.core.errors import UserError
from slimstream.core.media import UnreadableVideo
from tests.unit.clips.rendered_clips import Picture, boxed, moving, write_picture, write_video

SMALL = ExtractParams(frames=6, size=(64, 64))


def drifting(count: int) -> list[Picture]:
    """Content moves 1 pixel to the right a frame."""
    return moving([(index, 0) for index in range(count)])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("packs") / "clip.avi", drifting(30))


def test_a_fifth_of_the_frames(clip: Path) -> None:
    packed = pack_clip(clip, ExtractParams(fraction=0.2, size=(32, 48)))
    assert packed.array.shape == (6, 32, 48, 5) and packed.array.dtype == np.uint8
    assert (packed.dropped, packed.seconds) == (0, pytest.approx(30 / 25))


@pytest.mark.parametrize("stride", [1, 3])
def test_frames_and_flow_are_in_step(tmp_path: Path, stride: int) -> None:
    """The texture turns back half way; a row's picture says when it is, its flow how it moved from there."""
    xs = [2 * min(index, 24 - index) for index in range(25)]
    pictures = moving([(x, 0) for x in xs])
    packed = pack_clip(
        write_video(tmp_path / "clip.avi", pictures), ExtractParams(frames=8, size=(64, 64), stride=stride)
    )
    (chosen,) = sample_indices(25, 0, SMALL.model_copy(update={"frames": 8, "stride": stride}))
    for row, index in zip(packed.array, chosen, strict=True):
        assert np.abs(row[..., :3].astype(int) - pictures[index]).mean() < 3
        moved = (np.median(row[16:-16, 16:-16, 3]) - 128) * 8 / 127
        assert moved == pytest.approx(xs[index + stride] - xs[index], abs=0.4)
        assert np.median(row[16:-16, 16:-16, 4]) == pytest.approx(128, abs=4)


def test_flow_is_in_pixels_of_the_resized_picture(clip: Path) -> None:
    packed = pack_clip(clip, ExtractParams(frames=4, size=(64, 128), stride=2))
    x = (np.median(packed.array[:, 16:-16, 32:-32, 3]) - 128) * 8 / 127
    assert x == pytest.approx(2 * 2, abs=0.4)


LEADS: dict[str, tuple[Callable[[list[Picture]], list[Picture]], int]] = {
    "clean": (lambda clip: clip, 0),
    "pillar-boxed first frame": (lambda clip: [boxed(clip[0], left=14), *clip[1:]], 1),
    "three letter-boxed frames": (lambda clip: [*(boxed(f, top=8) for f in clip[:3]), *clip[3:]], 3),
    "black first frame": (lambda clip: [np.zeros_like(clip[0]), *clip[1:]], 1),
    "boxed all along": (lambda clip: [boxed(f, left=14) for f in clip], 0),
    "boxed for long": (lambda clip: [*(boxed(f, left=14) for f in clip[:15]), *clip[15:]], 0),
    "boxed but for the first frame": (lambda clip: [clip[0], *(boxed(f, left=14) for f in clip[1:])], 1),
    "one boxed frame later on": (lambda clip: [*clip[:2], boxed(clip[2], left=14), *clip[3:]], 0),
    "cut to another scene": (lambda clip: [*(f[::-1] // 2 for f in clip[:3]), *clip[3:]], 0),
    "all black": (lambda clip: [np.zeros_like(f) for f in clip], 0),
    "a dark edge that flickers": (lambda clip: [boxed(f, left=i % 3) for i, f in enumerate(clip)], 0),
}


@pytest.mark.parametrize("name", LEADS)
def test_leading_frames_with_another_border_are_dropped(tmp_path: Path, name: str) -> None:
    render, expected = LEADS[name]
    pictures = render(drifting(30))
    path = write_video(tmp_path / "clip.avi", pictures)
    p = ExtractParams(fraction=1, size=(64, 64))
    packed = pack_clip(path, p)
    assert packed.dropped == expected
    assert len(packed.array) == 30 - expected - p.stride
    assert np.abs(packed.array[0, ..., :3].astype(int) - pictures[expected]).mean() < 3


def test_a_fade_in_keeps_nearly_all_of_the_clip(tmp_path: Path) -> None:
    pictures = [(f * min(1, i / 15)).astype(np.uint8) for i, f in enumerate(drifting(30))]
    assert pack_clip(write_video(tmp_path / "clip.avi", pictures), SMALL).dropped <= LEADING


def test_no_more_than_a_quarter_is_dropped(tmp_path: Path) -> None:
    pictures = drifting(6)
    pictures[:2] = [boxed(picture, left=14) for picture in pictures[:2]]
    assert pack_clip(write_video(tmp_path / "clip.avi", pictures), SMALL).dropped <= 1


def test_dropped_frames_do_not_shift_the_rest(tmp_path: Path) -> None:
    """A boxed frame put before a clip leaves no trace in its pack."""
    plain = drifting(20)
    p = ExtractParams(frames=5, size=(64, 64))
    whole = pack_clip(write_video(tmp_path / "plain.avi", plain), p)
    led = pack_clip(write_video(tmp_path / "led.avi", [boxed(plain[0], left=14), *plain]), p)
    assert led.dropped == 1 and np.array_equal(led.array, whole.array)


@pytest.mark.parametrize("claim", [0, 1, 3, 12, 29, 31, 500])
def test_a_container_that_lies_changes_nothing(
    clip: Path, monkeypatch: pytest.MonkeyPatch, claim: int
) -> None:
    expected, asked = pack_clip(clip, SMALL), []

    def lying(reader: VideoReader) -> Timeline | None:
        asked.append(reader)
        return Timeline(np.arange(claim) / 25) if claim else None

    monkeypatch.setattr(VideoReader, "claimed_timeline", lying)
    packed = pack_clip(clip, SMALL)
    assert np.array_equal(packed.array, expected.array) and packed.seconds == expected.seconds
    assert len(asked) == 1


def test_an_honest_container_is_decoded_once(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(packs, "open_clip", lambda path, _: opened.append(path) or VideoReader(path))
    pack_clip(clip, SMALL)
    assert opened == [clip]


def test_a_truncated_clip_is_packed_as_far_as_it_goes(clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    packed = pack_clip(cut, SMALL)
    assert len(packed.array) == 6 and 0.3 < packed.seconds < 0.8


def test_the_same_file_gives_the_same_bytes(clip: Path) -> None:
    for flow in ("farneback", "dis"):
        p = ExtractParams(frames=6, size=(48, 64), flow=flow)
        first, again = pack_clip(clip, p), pack_clip(clip, p)
        assert first.array.tobytes() == again.array.tobytes()
    assert not np.array_equal(
        pack_clip(clip, SMALL).array, pack_clip(clip, SMALL.model_copy(update={"flow": "dis"})).array
    )


@pytest.mark.parametrize("frames", [10, 15, 20, 25, 30])
def test_frames_per_clip(clip: Path, frames: int) -> None:
    """The numbers of P2's Table 3, on a clip whose flow leaves 29 frames to choose from."""
    packed = pack_clip(clip, ExtractParams(frames=frames, size=(16, 16), flow="dis"))
    assert packed.array.shape == (frames, 16, 16, 5) and packed.lengths == [frames]


def test_without_flow_the_last_frame_counts_too(tmp_path: Path) -> None:
    pictures = drifting(5)
    path = write_video(tmp_path / "clip.avi", pictures)
    rgb = pack_clip(path, ExtractParams(frames=5, size=(64, 64), flow="none", stride=9)).array
    assert rgb.shape == (5, 64, 64, 3)
    assert all(
        np.abs(row.astype(int) - picture).mean() < 3 for row, picture in zip(rgb, pictures, strict=True)
    )
    grey = pack_clip(path, ExtractParams(frames=5, size=(64, 64), flow="none", grey=True)).array
    assert grey.shape == (5, 64, 64, 1)
    assert np.array_equal(grey[2, ..., 0], cv2.cvtColor(rgb[2], cv2.COLOR_RGB2GRAY))


def test_a_cut_video_is_its_parts(tmp_path: Path) -> None:
    """Each clip of a video is what a video of these frames alone would be."""
    pictures = drifting(20)
    p = ExtractParams(frames=4, size=(64, 64), flow="none")
    packed = pack_clip(write_video(tmp_path / "whole.avi", pictures), p.model_copy(update={"clips": 2}))
    assert packed.lengths == [4, 4] and packed.seconds == pytest.approx(20 / 25)
    halves = (write_video(tmp_path / f"{k}.avi", pictures[10 * k : 10 * k + 10]) for k in range(2))
    for clip, half in zip(packed.clips, halves, strict=True):
        assert np.array_equal(clip, pack_clip(half, p).array)


@pytest.mark.parametrize("frames, fraction", [(1, None), (25, None), (None, 0.2)])
def test_a_picture_is_packed_once(tmp_path: Path, frames: int | None, fraction: float | None) -> None:
    (picture,) = drifting(1)
    path = write_picture(tmp_path / "a.png", picture)
    p = ExtractParams(frames=frames, fraction=fraction, size=(64, 64), flow="none", clips=3)
    packed = pack_clip(path, p)
    assert np.array_equal(packed.array, picture[None])
    assert (packed.lengths, packed.dropped, packed.seconds) == ([1], 0, 0)
    with pytest.raises(ValueError, match="too few for flow"):
        pack_clip(path, SMALL)


def test_a_picture_is_shown_to_a_network_that_sees_no_motion(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", drifting(1)[0])
    packed = pack_clip(path, NetworkInput.of(SMALL, Reduction(frames=4, streams="rgb")))
    assert np.array_equal(packed.array, drifting(1)[0][None])
    with pytest.raises(ValueError, match="too few for flow"):
        pack_clip(path, NetworkInput.of(SMALL, Reduction(frames=4)))


def test_flow_of_pictures_is_a_mistake_of_the_user() -> None:
    check_flow(["a.mp4", "b.avi"], SMALL)
    check_flow(["a.png"], ExtractParams(frames=1, flow="none"))
    with pytest.raises(UserError, match=r"extract.flow is 'farneback', .*such as b.png has no motion"):
        check_flow(["a.mp4", "b.png"], SMALL)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_short_clips_repeat_frames(tmp_path: Path, count: int) -> None:
    packed = pack_clip(write_video(tmp_path / "clip.avi", drifting(count)), SMALL)
    assert len(packed.array) == 6
    assert len(np.unique(packed.array.reshape(6, -1), axis=0)) == count - 1


@pytest.mark.parametrize("count, stride", [(1, 1), (5, 5), (5, 9)])
def test_too_short_for_the_stride(tmp_path: Path, count: int, stride: int) -> None:
    path = write_video(tmp_path / "clip.avi", drifting(count))
    with pytest.raises(ValueError, match=f"{count} usable frames .* stride of {stride}"):
        pack_clip(path, ExtractParams(frames=4, size=(64, 64), stride=stride))


def test_what_cannot_be_decoded(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video" * 99)
    with pytest.raises(UnreadableVideo):
        pack_clip(tmp_path / "clip.mp4", SMALL)


@pytest.mark.shared
def test_real_first_frames(tank_state: Path) -> None:
    """Pillar-boxed, pillar-boxed at night, black, and clean ones."""
    folder = tank_state / "videos/bridge_down"
    names = {"01531ae3db6e8494": 1, "d5f116cebb515b51": 1, "01a9dd89287598bb": 1, "05a2f0b1101a474a": 0}
    p = ExtractParams(frames=1, size=(160, 160))
    assert {name: pack_clip(folder / f"{name}.mp4", p).dropped for name in names} == names


REDUCTIONS: list[dict[str, object]] = [
    {"frames": 1},
    {"frames": 2, "streams": "rgb"},
    {"frames": 3, "streams": "flow", "size": [24, 32]},
    {"size": [30, 40]},
    {"frames": 4, "size": [24, 32], "streams": "rgb"},
]


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize(
    "settings",
    [
        {"frames": 6, "flow": "dis"},
        {"fraction": 0.5, "stride": 3},
        {"frames": 5, "flow": "dis", "clips": 2},
        {"frames": 6, "flow": "none"},
        {"frames": 6, "flow": "none", "grey": True},
    ],
)
def test_a_reduced_pack_is_the_pack_reduced(
    tmp_path: Path, reduce: dict[str, object], settings: dict[str, object]
) -> None:
    """Also where leading frames are left out, and where a part of the clip repeats frames."""
    if settings.get("flow") == "none" and reduce.get("streams") == "flow":
        return
    pictures = drifting(14)
    path = write_video(tmp_path / "clip.avi", [boxed(pictures[0], left=14), *pictures])
    extract = ExtractParams.model_validate({"size": [48, 64], **settings})
    p = NetworkInput.of(extract, Reduction.model_validate(reduce))
    whole, packed = pack_clip(path, extract), pack_clip(path, p)
    expected = [reduce_pack(clip, p.reduce) for clip in whole.clips]
    assert packed.lengths == [len(clip) for clip in expected]
    assert packed.array.tobytes() == np.concatenate(expected).tobytes()
    assert packed.array.shape[1:] == (*p.shown_size, p.channels)
    assert (packed.dropped, packed.seconds) == (whole.dropped, whole.seconds) and packed.dropped


def test_flow_that_nobody_sees_is_not_computed(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    monkeypatch.setattr(
        packs, "dense_flow", lambda a, b, method: computed.append(method) or np.zeros((64, 64, 2), np.float32)
    )
    pack_clip(clip, NetworkInput.of(SMALL, Reduction(streams="rgb")))
    assert not computed
    pack_clip(clip, NetworkInput.of(SMALL, Reduction(frames=2)))
    assert len(computed) == 2


def test_a_picture_is_reduced_too(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", drifting(1)[0])
    p = NetworkInput(frames=4, size=(64, 64), flow="none", reduce=Reduction(frames=2, size=(24, 32)))
    assert np.array_equal(
        pack_clip(path, p).array,
        reduce_pack(pack_clip(path, ExtractParams(frames=4, size=(64, 64), flow="none")).array, p.reduce),
    )
