"""One sequential pass, exact indices, and files that are no video."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from slimstream.clips.video import VideoReader, frames, probe
from slimstream.core.media import UnreadableVideo
from tests.unit.clips.rendered_clips import write_video


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
    with VideoReader(clip) as reader:
        reds = [reader.picture()[..., 0].mean() for index in reader if index in (4, 9)]
    assert reds == pytest.approx([40, 90], abs=4)


@pytest.mark.parametrize("content, why", [(None, "missing"), (b"", "empty"), (b"no video" * 99, "no video")])
def test_what_is_no_video_says_why(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    for look in (probe, lambda p: list(frames(p))):
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
