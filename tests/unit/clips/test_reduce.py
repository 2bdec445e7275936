"""Fewer frames, smaller pictures, one stream: what a network sees of a pack."""

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from slimstream.clips.params import NetworkInput, Reduction
from slimstream.clips.reduce import kept_frames, reduce_pack


def a_pack(channels: int = 5, frames: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, 32, 48, channels), np.uint8)


@pytest.mark.parametrize(
    ("count", "frames", "kept"),
    [
        (8, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (8, 4, [0, 2, 5, 7]),
        (8, 3, [0, 3, 7]),  # 3.5: a half is rounded down
        (8, 2, [0, 7]),
        (8, 1, [3]),
        (25, 4, [0, 8, 16, 24]),
        (1, 1, [0]),
        (1, 4, [0]),  # a picture
        (3, 8, [0, 1, 2]),  # a clip of fewer frames repeats none
        (5, None, [0, 1, 2, 3, 4]),
    ],
)
def test_kept_frames_are_spread_from_the_first_to_the_last(
    count: int, frames: int | None, kept: list[int]
) -> None:
    assert kept_frames(count, frames) == kept


def test_kept_frames_are_different_ones() -> None:
    for count in range(1, 40):
        for frames in range(1, count + 1):
            kept = kept_frames(count, frames)
            assert len(set(kept)) == frames and sorted(kept) == kept and 0 <= kept[0] <= kept[-1] < count
            if frames > 1:
                assert (kept[0], kept[-1]) == (0, count - 1)


def test_streams_are_channels_of_the_pack() -> None:
    pack = a_pack()
    assert np.array_equal(reduce_pack(pack, Reduction(streams="rgb")), pack[..., :3])
    assert np.array_equal(reduce_pack(pack, Reduction(streams="flow", frames=2)), pack[[0, 7], :, :, 3:])
    assert np.array_equal(reduce_pack(pack, Reduction(frames=1)), pack[3:4])
    assert reduce_pack(pack, None) is pack and reduce_pack(a_pack(1), Reduction(streams="rgb")).shape[-1] == 1
    with pytest.raises(ValueError, match="has no flow"):
        reduce_pack(a_pack(3), Reduction(streams="flow"))


@pytest.mark.parametrize(
    ("channels", "streams"), [(5, "both"), (5, "rgb"), (5, "flow"), (3, "both"), (1, "both")]
)
@pytest.mark.parametrize("size", [(16, 24), (20, 30), (32, 48)])
def test_pictures_are_averaged_to_the_size(channels: int, streams: str, size: tuple[int, int]) -> None:
    pack = a_pack(channels)
    p = NetworkInput(
        frames=8,
        size=(32, 48),
        flow="dis" if channels == 5 else "none",
        grey=channels == 1,
        reduce={"frames": 4, "size": size, "streams": streams},
    )
    reduced = reduce_pack(pack, p.reduce)
    assert reduced.shape == (4, *p.shown_size, p.channels) and reduced.dtype == np.uint8
    first = {"both": pack, "rgb": pack[..., :3], "flow": pack[..., 3:]}[streams][0].astype(np.float32)
    expected = np.dstack([cv2.resize(c, size[::-1], interpolation=cv2.INTER_AREA) for c in cv2.split(first)])
    assert np.abs(reduced[0] - expected).max() <= 0.501


def test_each_stream_is_averaged_as_if_it_were_alone() -> None:
    pack = a_pack()
    both, rgb, flow = (
        reduce_pack(pack, Reduction.model_validate({"size": (16, 24), "streams": streams}))
        for streams in ("both", "rgb", "flow")
    )
    assert np.array_equal(both, np.concatenate([rgb, flow], axis=-1))


def test_a_card_from_before_says_nothing_of_a_reduction() -> None:
    old = {"frames": 16, "size": [64, 64], "flow": "dis", "fraction": None, "clips": 1, "grey": False}
    p = NetworkInput.model_validate(old)
    assert p.reduce is None and (p.channels, p.shown_size, p.sees_flow) == (5, (64, 64), True)
    again = NetworkInput.model_validate(p.model_dump(mode="json"))
    assert again == p


@pytest.mark.parametrize(
    ("reduce", "message"),
    [
        ({"frames": 0}, "greater than or equal to 1"),
        ({"frames": 9}, "reduce.frames 9 is more than the 8 frames"),
        ({"size": [8, 32]}, "at least 16 by 16"),
        ({"size": [32, 128]}, "larger than the packed pictures"),
        ({"streams": "flow"}, "'flow' is none"),
        ({"stream": "rgb"}, "Extra inputs"),
    ],
)
def test_a_reduction_that_the_packs_cannot_serve_is_refused(reduce: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NetworkInput.model_validate({"frames": 8, "size": [64, 64], "flow": "none", "reduce": reduce})
