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


@pytest.mark.parametrize("nth", [3, 4, 5])
@pytest.mark.parametrize("fps", [25, 29.97, 60])
def test_every_nth_frame_left_out_is_no_shaking_clock(nth: int, fps: float) -> None:
    """As recorders thin out a film; a pair over a missing frame would show twice the motion."""
    kept = np.array([k for k in range(2000) if k % nth != nth - 1])
    assert np.array_equal(Timeline(np.round(kept / fps, 3)).ticks, kept)


@pytest.mark.parametrize("fps", [700, 300, 144])
def test_fast_clips_in_whole_milliseconds_have_a_constant_rate(fps: float) -> None:
    assert np.array_equal(Timeline(np.round(np.arange(2000) / fps, 3)).ticks, np.arange(2000))


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


def test_a_few_timestamps_out_of_order_cost_only_themselves() -> None:
    """Else a clip of variable rate would be taken for one of constant rate for a single doubled timestamp."""
    times = [*(k / 25 for k in range(25)), *(1.0 + 3 * k for k in range(1, 5))]
    for wrong in (times[9], times[4], 99.0):
        seen = timeline([*times[:10], wrong, *times[11:]], fps=1000)
        assert np.abs(seen.times - times).max() < 0.05


@pytest.mark.parametrize("start", [0.0, 1.5, 3600.0, 95443.0])
def test_where_a_clock_may_be_set_anew_the_clip_goes_on(start: float) -> None:
    stamps = [5 + k / 25 for k in range(75)] + [start + k / 25 for k in range(75)]
    assert np.allclose(timeline(stamps, fps=25, restarts=True).times - 5, np.arange(150) / 25)


def test_a_pause_and_a_slow_clip_are_no_clock_set_anew() -> None:
    for stamps in ([0.0, 0.04, 0.08, 3.0, 3.04], [60.0 * k for k in range(9)]):
        assert np.allclose(timeline(stamps, fps=25, restarts=True).times, stamps)


@pytest.mark.parametrize("times", [[0, 1, 101], [*range(20), *(19 + 100 * k for k in range(1, 20))]])
def test_as_many_long_steps_as_short_ones(times: list[float]) -> None:
    """The mean of the two middle steps would be near none of them."""
    seen = Timeline(np.array(times, float))
    assert seen.period == pytest.approx(1) and seen.ticks[-1] == times[-1]
