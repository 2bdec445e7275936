"""Which frames are sampled: spread evenly, each with one that its flow can lead to."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slimstream.clips.params import ExtractParams
from slimstream.clips.sampling import sample_indices


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
