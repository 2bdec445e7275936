"""Flow has the sign and size of the motion, and its bytes an exact opposite."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimstream.clips.flow import dense_flow, dequantise, quantise, saturation
from tests.unit.clips.rendered_clips import moving


@pytest.mark.parametrize("method", ["farneback", "dis"])
@pytest.mark.parametrize("motion", [(2, 0), (-2, 0), (0, 3), (1, -2)])
def test_a_translation_is_measured(method: str, motion: tuple[int, int]) -> None:
    prev, next = (picture[..., 1] for picture in moving([(0, 0), motion]))
    flow = dense_flow(prev, next, method)  # type: ignore[arg-type]
    assert flow.shape == (64, 64, 2) and flow.dtype == np.float32
    middle = flow[16:-16, 16:-16].reshape(-1, 2)
    assert np.median(middle, axis=0) == pytest.approx(motion, abs=0.3)


@pytest.mark.parametrize("method", ["farneback", "dis"])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_flipped_clip_moves_the_other_way(method: str, axis: int) -> None:
    prev, next = (picture[..., 1] for picture in moving([(0, 0), (2, -1)]))
    flow = dense_flow(prev, next, method)  # type: ignore[arg-type]
    flipped = dense_flow(np.flip(prev, axis).copy(), np.flip(next, axis).copy(), method)  # type: ignore[arg-type]
    expected = np.flip(flow, axis).copy()
    expected[..., 1 - axis] *= -1
    difference = np.abs(flipped - expected)[16:-16, 16:-16]
    assert np.median(difference) < 0.1 < np.median(np.abs(flipped - np.flip(flow, axis))[..., 1 - axis])


@given(st.floats(-50, 50, width=32), st.sampled_from([4.0, 8.0, 16.0]))
def test_bytes_are_symmetric_and_within_half_a_step(value: float, bound: float) -> None:
    flow = np.array([value], np.float32)
    q = quantise(flow, bound)
    assert q.dtype == np.uint8 and 1 <= q[0] <= 255
    assert quantise(-flow, bound)[0] == 256 - int(q[0])
    assert abs(dequantise(q, bound)[0] - np.clip(value, -bound, bound)) <= bound / 254 + 1e-5


def test_what_moves_too_fast_is_at_the_bound() -> None:
    flow = np.array([0, 8, -8, 9, -np.inf], np.float32)
    assert quantise(flow, 8).tolist() == [128, 255, 1, 255, 1]
    assert flow[3] == 9, "its input is left alone"


@pytest.mark.parametrize("method", ["farneback", "dis"])
def test_pictures_without_texture_rest(method: str) -> None:
    for grey in (0, 255):
        flat = np.full((48, 48), grey, np.uint8)
        assert np.abs(dense_flow(flat, flat, method)).max() < 1e-3  # type: ignore[arg-type]


def test_saturation_counts_both_ends() -> None:
    assert saturation(np.array([1, 2, 128, 255], np.uint8)) == 0.5
