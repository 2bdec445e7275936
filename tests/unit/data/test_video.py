"""One sequential pass, exact indices, pictures as clips of one frame, and files that are neither."""

import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimstream.data.media import UnreadableVideo, is_picture
from slimstream.data.video import Reader, count_frames, frames, open_clip, probe
from tests.unit.data.rendered import texture, write_picture, write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 frames of 48 by 32 pixels; frame i is red = 10 i, green = 200, blue = 20."""
    pictures = [np.full((32, 48, 3), (10 * i, 200, 20), np.uint8) for i in range(20)]
    return write_video(tmp_path_factory.mktemp("video") / "clip.avi", pictures, fps=10)


def test_the_header(clip: Path) -> None:
    info = probe(clip)
    assert (info.frames, info.fps, info.width, info.height, info.codec.upper()) == (20, 10, 48, 32, "FFV1")
    assert info.seconds == 2


def test_frames_are_rgb_at_their_index(clip: Path) -> None:
    assert [index for index, _ in frames(clip)] == list(range(20))
    for index, picture in frames(clip, wanted={3, 11, 19}):
        assert picture.shape == (32, 48, 3)
        assert np.abs(picture.mean(axis=(0, 1)) - (10 * index, 200, 20)).max() < 4


@pytest.mark.parametrize("wanted, got", [((7, 2, 7), [2, 7]), ((), []), ((5, 99), [5])])
def test_only_wanted_frames(clip: Path, wanted: tuple[int, ...], got: list[int]) -> None:
    assert [index for index, _ in frames(clip, wanted)] == got


def test_a_reader_converts_the_frame_last_grabbed(clip: Path) -> None:
    with Reader(clip) as reader:
        reds = [reader.picture()[..., 0].mean() for index in reader if index in (4, 9)]
    assert reds == pytest.approx([40, 90], abs=4)


@pytest.mark.parametrize("content, why", [(None, "missing"), (b"", "empty"), (b"no video" * 99, "no video")])
def test_what_is_no_video_says_why(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    for look in (probe, count_frames, lambda p: list(frames(p))):
        with pytest.raises(UnreadableVideo, match=why):
            look(path)


def test_a_name_with_a_colon_is_a_file_all_the_same(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(clip, "12:30:05.avi")
    assert probe(Path("12:30:05.avi")).frames == 20


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_not_text_is_refused_before_opencv_sees_it(clip: Path, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.avi"))
    shutil.copyfile(clip, path)
    with pytest.raises(UnreadableVideo, match="not UTF-8"):
        probe(path)


def test_a_header_without_frames_is_unreadable(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.avi"
    data = clip.read_bytes()
    path.write_bytes(data[: data.index(b"movi")])
    with pytest.raises(UnreadableVideo):
        list(frames(path))


def rendered() -> np.ndarray:
    return texture(40)[:24]


@pytest.mark.parametrize(
    "suffix, codec", [("jpg", "jpeg"), ("JPEG", "jpeg"), ("png", "png"), ("bmp", "bmp"), ("tif", "tiff")]
)
def test_a_picture_is_a_clip_of_one_frame(tmp_path: Path, suffix: str, codec: str) -> None:
    path = write_picture(tmp_path / f"Überlauf.{suffix}", rendered())
    assert is_picture(path.name) and not is_picture("a.mp4")
    info = probe(path)
    assert (info.frames, info.fps, info.seconds, info.width, info.height) == (1, 0, 0, 40, 24)
    assert info.codec == codec and count_frames(path) == 1
    ((index, picture),) = frames(path)
    assert index == 0 and picture.shape == (24, 40, 3)
    assert np.abs(picture.astype(int) - rendered()).mean() < (6 if codec == "jpeg" else 0.01)


def test_grey_and_16_bit_pictures_become_rgb_bytes(tmp_path: Path) -> None:
    grey = rendered()[..., 0]
    for content in (grey, grey.astype(np.uint16) * 257):
        cv2.imwrite(str(tmp_path / "a.png"), content)
        with open_clip(tmp_path / "a.png") as clip:
            assert np.array_equal(clip.picture(), np.stack([grey] * 3, axis=-1))


def test_a_picture_is_known_by_its_content_not_by_its_suffix(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", rendered()).rename(tmp_path / "a.jpg")
    assert probe(path).codec == "png"


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_what_is_no_whole_picture_says_why(tmp_path: Path, suffix: str, share: float) -> None:
    path = write_picture(tmp_path / f"a.{suffix}", rendered())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    why = "empty" if not share else "truncated" if suffix == "jpg" else "no picture can be decoded"
    with pytest.raises(UnreadableVideo, match=why):
        probe(path)
    with pytest.raises(UnreadableVideo, match="missing"):
        probe(tmp_path / f"gone.{suffix}")


def test_a_video_is_no_picture(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableVideo, match="no picture"):
        probe(clip.rename(tmp_path / "video.png"))
