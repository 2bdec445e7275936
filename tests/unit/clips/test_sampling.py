"""Which frames are sampled: spread evenly, each with one that its flow can lead to."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimstream.clips.params import ExtractParams
from slimstream.clips.sampling import black_border, sample_indices, surely_without_border


@given(
    count=st.integers(1, 400),
    dropped=st.integers(0, 5),
    stride=st.integers(1, 8),
    frames=st.integers(1, 40) | st.none(),
    fraction=st.floats(0, 1),
)
def test_sampled_indices(count: int, dropped: int, stride: int, frames: int | None, fraction: float) -> None:
    p = ExtractParams(frames=frames, fraction=None if frames else fraction, stride=stride)
    usable = range(dropped, count - stride)
    assert bool(sample_indices(count, dropped, p)) == bool(usable)
    for chosen in sample_indices(count, dropped, p):
        assert chosen == sorted(chosen) and set(chosen) <= set(usable)
        share = max(1, round(fraction * (count - dropped)))
        assert len(chosen) == (frames or min(share, len(usable)))
        gaps = np.diff(chosen)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1, "spread evenly"
        if len(chosen) <= len(usable):
            assert len(set(chosen)) == len(chosen)


@given(
    count=st.integers(2, 300), dropped=st.integers(0, 5), parts=st.integers(1, 7), frames=st.integers(1, 30)
)
def test_a_video_is_cut_into_equal_parts(count: int, dropped: int, parts: int, frames: int) -> None:
    p = ExtractParams(frames=frames, clips=parts)
    usable = max(0, count - dropped - 1)
    cut = sample_indices(count, dropped, p)
    assert len(cut) == min(parts, usable) and all(len(part) == frames for part in cut)
    for k, part in enumerate(cut):
        first, last = dropped + k * usable // len(cut), dropped + (k + 1) * usable // len(cut) - 1
        assert part == sorted(part) and first <= part[0] <= part[-1] <= last
        if frames > 1:
            assert (part[0], part[-1]) == (first, last)


@given(
    height=st.integers(16, 60),
    width=st.integers(16, 60),
    size=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    margins=st.lists(st.integers(0, 3), min_size=4, max_size=4),
    brightness=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_what_is_surely_without_border_has_none(
    height: int, width: int, size: tuple[int, int], margins: list[int], brightness: int, seed: int
) -> None:
    """Noise about a mean near black, in margins that are darker."""
    noise = np.random.default_rng(seed).integers(0, 2 * brightness + 1, (height, width, 3))
    left, right, top, bottom = margins
    picture = (noise // 2).astype(np.uint8)
    picture[top : height - bottom, left : width - right] = noise[top : height - bottom, left : width - right]
    if surely_without_border(picture, size):
        small = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
        assert not black_border(small).any()


@pytest.mark.parametrize("side", range(4))
def test_a_dark_edge_is_looked_at_closely(side: int) -> None:
    picture = np.full((48, 64, 3), 90, np.uint8)
    assert surely_without_border(picture, (20, 30))
    assert not surely_without_border(picture, (20, 70)), "enlarged, a row is not the mean of some"
    np.rot90(picture, side)[:, 2] = 0  # the innermost of three that one is made of
    assert not surely_without_border(picture, (20, 30))
