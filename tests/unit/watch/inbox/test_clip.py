"""A kept window is a clip that training reads like any other."""

from pathlib import Path

import av
import numpy as np
import pytest

from slimstream.clips.video import open_clip
from slimstream.watch.inbox.clip import WIDTH, write_clip

RNG = np.random.default_rng(0)


def frames(count: int, height: int, width: int) -> list[np.ndarray]:
    """Smooth pictures that move, in colours."""
    y, x = np.mgrid[:height, :width]
    waves = [np.stack([x + 3 * n, y + 2 * n, x + y], -1) / 9 for n in range(count)]
    return [np.asarray(127 + 100 * np.sin(wave), np.uint8) for wave in waves]


def test_frames_keep_their_times_and_nearly_their_pixels(tmp_path: Path) -> None:
    seconds = [10 + second for second in (0.0, 0.04, 0.08, 0.1213, 0.2, 1 / 3)]  # of a camera without a clock
    shown = frames(6, 49, 63)
    write_clip(zip(seconds, shown, strict=True), tmp_path / "a.mp4")
    with open_clip(tmp_path / "a.mp4") as clip:
        read = [(clip.seconds, clip.picture()) for _ in clip]
        times = np.array([second for second, _ in read], float)
    assert times - times[0] == pytest.approx(np.array(seconds) - 10, abs=1e-4)
    for frame, (_, picture) in zip(shown, read, strict=True):
        assert picture.shape == (48, 62, 3)
        assert np.abs(frame[:48, :62].astype(int) - picture).mean() < 4
    with av.open(str(tmp_path / "a.mp4")) as container:  # as browsers play
        video = container.streams.video[0].codec_context
        assert (video.name, video.pix_fmt) == ("h264", "yuv420p")


def test_a_window_of_one_picture_is_a_picture(tmp_path: Path) -> None:
    (frame,) = frames(1, 49, 63)
    write_clip([(0.0, frame)], tmp_path / "a.png")
    with open_clip(tmp_path / "a.png") as clip:
        (picture,) = [clip.picture() for _ in clip]
    assert np.array_equal(picture, frame)


def test_large_pictures_are_reduced_and_a_change_of_size_is_no_error(tmp_path: Path) -> None:
    large, small = np.zeros((1000, 2000, 3), np.uint8), np.zeros((24, 32, 3), np.uint8)
    write_clip([(0.0, large), (0.1, small)], tmp_path / "a.mp4")
    with open_clip(tmp_path / "a.mp4") as clip:
        assert [clip.picture().shape for _ in clip] == [(WIDTH // 2, WIDTH, 3)] * 2
