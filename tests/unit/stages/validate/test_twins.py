"""Copies are found, look-alikes of a fixed camera are not."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from slimstream.stages.validate.twins import identical_copies, near_twins, straying_twins

Thumbs = npt.NDArray[np.float32]


def lab(clips: int, seed: int = 0, noise: float = 0.001, light: float = 0.002) -> Thumbs:
    """A fixed camera: one background, sensor noise, a little light, and something small that moves."""
    rng = np.random.default_rng(seed)
    shape = (clips, 8, 16, 16)
    scene = rng.random((16, 16)) + rng.normal(0, noise, shape) + rng.normal(0, light, (clips, 1, 1, 1))
    for clip in scene:
        for picture in clip:
            y, x = rng.integers(0, 14, 2)
            picture[y : y + 2, x : x + 2] += 0.2
    return scene.astype(np.float32)


def test_a_fixed_camera_makes_no_twins() -> None:
    assert len(set(near_twins(lab(60), 0.01))) == 60


def test_copies_within_a_fixed_camera_are_found() -> None:
    clips = lab(40)
    recoded = clips[:5] + np.random.default_rng(1).normal(0, 0.0005, clips[:5].shape).astype(np.float32)
    sets = near_twins(np.concatenate([clips, recoded]), 0.01)
    assert (sets[40:] == sets[:5]).all()
    assert len(set(sets)) == 40


def test_links_chain_and_the_limit_counts() -> None:
    rng = np.random.default_rng(0)
    clips = rng.random((30, 8, 16, 16)).astype(np.float32)
    clips[1], clips[2] = clips[0] + 0.006, clips[0] + 0.012
    sets = near_twins(clips, 0.008)
    assert sets[0] == sets[1] == sets[2] and len(set(sets)) == 28
    assert len(set(near_twins(clips, 0.005))) == 30


def test_few_clips() -> None:
    assert len(near_twins(np.zeros((0, 8, 16, 16), np.float32), 0.01)) == 0
    assert list(near_twins(lab(1), 0.01)) == [0]
    assert len(set(near_twins(np.concatenate([lab(2), lab(1, seed=5)]), 0.01))) >= 2


def test_identical_bytes() -> None:
    table = pd.DataFrame(
        {
            "key": ["b", "a", "c", "d", "e"],
            "label": ["x", "x", "x", "y", "y"],
            "sha256": ["1", "1", "2", "2", "3"],
        },
        index=[10, 11, 12, 13, 14],
    )
    reasons = identical_copies(table)
    assert set(reasons) == {10, 12, 13}
    assert reasons[10] == "byte-identical to a"
    assert "x, y" in reasons[12]


def test_strays_are_the_minority_of_a_set() -> None:
    twin = ["t", "t", "t", "u", "u", "v", "w"]
    group = ["a", "a", "b", "a", "b", "a", "b"]
    assert straying_twins(twin, group) == [2, 3, 4]
