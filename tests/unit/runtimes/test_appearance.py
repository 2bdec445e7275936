"""How a clip looks, in numbers that do what they are called."""

import cv2
import numpy as np
import pytest

from slimstream.runtimes.appearance import APPEARANCE, appearance, mean_picture

CLIP = np.random.default_rng(0).integers(40, 200, (20, 32, 48, 3), np.uint8)
CLIP[:] = cv2.GaussianBlur(CLIP[0], (0, 0), 1)


def look(clip: np.ndarray) -> dict[str, float]:
    return dict(zip(APPEARANCE, appearance(mean_picture(clip)).tolist(), strict=True))


def test_half_the_light_is_half_the_brightness_and_nothing_else() -> None:
    one, half = look(CLIP), look(CLIP // 2)
    assert half.pop("brightness") == pytest.approx(one.pop("brightness") / 2, abs=0.01)
    assert half == pytest.approx(one, abs=0.03)


def test_a_blurred_clip_is_less_sharp_and_as_bright() -> None:
    one, blurred = look(CLIP), look(np.stack([cv2.GaussianBlur(frame, (0, 0), 3) for frame in CLIP]))
    assert blurred["sharpness"] < one["sharpness"] - 1
    assert blurred["brightness"] == pytest.approx(one["brightness"], abs=0.01)


def test_colours_are_shares_and_flow_is_not_looked_at() -> None:
    clip = np.full((3, 8, 8, 5), 200, np.uint8)
    clip[..., :3] = 120, 60, 20
    found = look(clip)
    assert (found["red"], found["blue"]) == pytest.approx((0.6, 0.1))
    assert found["contrast"] == pytest.approx(0, abs=1e-5)


def test_grey_and_black_clips_have_finite_numbers() -> None:
    assert look(CLIP[..., :1])["red"] == pytest.approx(1 / 3)
    assert np.isfinite(appearance(mean_picture(np.zeros((1, 8, 8, 3), np.uint8)))).all()


def test_noise_counts_less_in_several_frames() -> None:
    noise = np.random.default_rng(0).normal(0, 8, CLIP.shape)
    noisy = np.clip(CLIP + noise, 0, 255).astype(np.uint8)
    assert look(noisy)["sharpness"] < look(noisy[:1])["sharpness"]
