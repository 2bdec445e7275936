"""The last seconds of a camera as pictures, and as a clip that browsers play."""

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from slimstream.core.media import Frame
from slimstream.watch.film import RATE, Film, write_film

NOW = 1_700_000_000.0
"""Seconds since 1970."""


def picture(height: int = 48, width: int = 64) -> Frame:
    return np.full((height, width, 3), 128, np.uint8)


def filmed(times: list[float], seconds: float = 10.0, shape: tuple[int, int] = (48, 64)) -> Film:
    """A film of a camera with frames at these times."""
    film = Film(seconds)
    for time in times:
        if film.due(time):
            film.add(picture(*shape), time)
    return film


def test_it_keeps_four_pictures_a_second_of_the_last_seconds() -> None:
    film = filmed([NOW + i / 25 for i in range(250)], seconds=2)
    times = [time for time, _ in film.reel()]
    assert len(times) == 2 * RATE and times[-1] > NOW + 9.5
    assert np.diff(times).min() >= 1 / RATE
    assert film.last == film.reel()[-1][1] and filmed([]).last is None


def test_wide_pictures_are_reduced() -> None:
    jpeg = filmed([NOW], shape=(720, 1280)).last
    assert cv2.imdecode(np.frombuffer(jpeg or b"", np.uint8), cv2.IMREAD_COLOR).shape == (360, 640, 3)


@pytest.mark.parametrize("shape", [(48, 64), (33, 65)])
def test_a_clip_shows_its_pictures_at_their_times(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "clip.mp4"
    write_film(filmed([NOW + i for i in range(4)], shape=shape).reel(), path)
    assert times_of(path) == pytest.approx([0, 1, 2, 3], abs=0.01)
    assert list(tmp_path.iterdir()) == [path]


def test_a_clock_that_is_set_back_does_not_end_a_camera(tmp_path: Path) -> None:
    """Pictures go on at once, though they are older than the last; their clip has them all, in order."""
    times = [NOW, NOW + 1, NOW - 3600, NOW - 3599]
    film, path = filmed(times), tmp_path / "clip.mp4"
    assert [time for time, _ in film.reel()] == times
    write_film(film.reel(), path)
    shown = times_of(path)
    assert len(shown) == 4 and np.diff(shown).min() > 0


def times_of(path: Path) -> list[float]:
    """Seconds of every frame of a video."""
    with av.open(str(path)) as container:
        return [float(frame.time or 0.0) for frame in container.decode(video=0)]
