"""Times of frames: constant rates, rounded and shaky timestamps, pauses, and timestamps that are none."""

import numpy as np
import pytest

from slimstream.clips.timeline import Timeline, timeline

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("fps", [2000, 240, 29.97, 25, 1 / 60])
@pytest.mark.parametrize("start", [0.0, 1.48, 95443.7])
def test_at_a_constant_rate_a_tick_is_a_frame(fps: float, start: float) -> None:
    seen = Timeline(start + np.arange(1000) / fps)
    assert np.array_equal(seen.ticks, np.arange(1000))
    assert seen.seconds == pytest.approx(1000 / fps) and seen.period == pytest.approx(1 / fps)
    assert [seen.frame_at(tick) for tick in (0, 7, 999)] == [0, 7, 999]
    assert np.array_equal(seen.pairs(5), np.column_stack([np.arange(995), np.arange(5, 1000)]))


def test_timestamps_in_whole_milliseconds_do_not_drift() -> None:
    seen = Timeline(np.round(np.arange(20_000) / 29.97, 3))
    assert np.array_equal(seen.ticks, np.arange(20_000))


def test_a_camera_whose_clock_shakes_has_a_constant_rate_all_the_same() -> None:
    seen = Timeline(np.arange(500) / 25 + RNG.uniform(-0.015, 0.015, 500))
    assert np.array_equal(seen.ticks, np.arange(500))


def test_left_out_frames_are_missing_ticks() -> None:
    kept = np.array([0, 1, 2, 3, 7, 8, 9])
    seen = Timeline(kept / 25)
    assert np.array_equal(seen.ticks, kept)
    assert [seen.frame_at(tick) for tick in (3, 5, 6, 7)] == [3, 3, 3, 4]
    assert seen.pairs(1).tolist() == [[0, 1], [1, 2], [2, 3], [4, 5], [5, 6]]
    assert seen.pairs(4).tolist() == [[3, 4]]


def test_the_length_counts_how_long_the_last_frame_is_shown() -> None:
    assert Timeline(np.array([0.0, 0.1]), last=3.0).seconds == pytest.approx(3.1)


def test_a_single_frame() -> None:
    seen = Timeline(np.array([7.0]))
    assert seen.ticks.tolist() == [0] and seen.seconds == 0 and not len(seen.pairs(1))


def test_missing_timestamps_lie_between_their_neighbours() -> None:
    seen = timeline([None, 0.1, None, 0.3, 0.4, None], fps=10)
    assert np.allclose(seen.times, [0, 0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize("stamps", [[None] * 4, [0.0, None, None, None], [0.0, 0.2, 0.1, 0.3], [5.0] * 4])
def test_without_usable_timestamps_the_stated_rate_counts(stamps: list[float | None]) -> None:
    assert np.allclose(timeline(stamps, fps=10).times, [0, 0.1, 0.2, 0.3])
