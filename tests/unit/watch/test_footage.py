"""Sources without packets: pictures are kept as JPEG, files are read again."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimstream.core.media import Frame, UnreadableVideo
from slimstream.watch import footage as module
from slimstream.watch.files import file_recording
from slimstream.watch.footage import Jpegs
from tests.unit.watch import tiny
from tests.unit.watch.test_packets import film


def shot(number: int) -> tuple[float, Callable[[], Frame]]:
    return number / 25, lambda: tiny.flat((6 * number, 90, 90))


def passed(jpegs: Jpegs, count: int, every: int = 1) -> None:
    for number, (_, picture) in enumerate(jpegs.passed(iter(map(shot, range(count))))):
        if number % every == 0:
            picture()


def test_pictures_are_kept_as_jpeg_from_the_window_on() -> None:
    jpegs = Jpegs()
    passed(jpegs, 40, every=2)
    assert len(jpegs._pictures) == 20  # none of those that nobody looked at
    take = jpegs.take([number / 25 for number in range(20, 40, 2)])
    assert take and len(jpegs._pictures) == 10
    found = list(take())
    assert [seconds for seconds, _ in found] == [number / 25 for number in range(20, 40, 2)]
    assert np.abs(found[0][1].mean((0, 1)) - (120, 90, 90)).max() < 4
    assert jpegs.take([0.0]) is None


def test_pictures_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10_000)
    jpegs = Jpegs()
    passed(jpegs, 200)
    assert 1000 < jpegs._bytes == sum(len(jpeg) for _, jpeg in jpegs._pictures) <= 10_000


def test_a_file_is_read_again(tmp_path: Path) -> None:
    file = film(tmp_path / "a.mp4")
    recording = file_recording(file)
    shown = [(seconds, picture()) for seconds, picture in recording.shots]
    assert recording.footage
    take = recording.footage.take([seconds for seconds, _ in shown[13:30:2]])
    assert take
    for (one, seen), (other, again) in zip(shown[13:30:2], take(), strict=True):
        assert one == other and np.array_equal(seen, again)
    os.utime(file, (1, 1))
    with pytest.raises(UnreadableVideo, match=r"a\.mp4 has changed"):
        list(take())


def test_a_picture_is_read_again(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), tiny.flat(tiny.RED))
    recording = file_recording(tmp_path / "a.png")
    ((seconds, picture),) = recording.shots
    take = recording.footage.take([seconds]) if recording.footage else None
    assert take and np.array_equal(next(take())[1], picture())
