"""What stands still is recognised in another light, and not after a move or with dirt on the lens."""

import numpy as np
import pytest

from slimstream.watch.drift.scene import Scene, alikeness, median_scene, small_scene


def scene(seed: int = 0) -> Scene:
    """Boxes on a wall."""
    rng = np.random.default_rng(seed)
    picture = np.full((72, 96), 90.0)
    for _ in range(60):
        y, x = rng.integers(0, 66), rng.integers(0, 88)
        picture[y : y + 6, x : x + 8] = rng.uniform(40, 180)
    return picture.astype(np.uint8)


def test_another_light_is_the_same_scene() -> None:
    known = scene()
    assert alikeness(known, known) == pytest.approx((1, 1), abs=1e-4)
    dim = (0.5 * 255 * (known / 255) ** 1.5 + np.linspace(0, 40, 96)).astype(np.uint8)
    assert min(alikeness(dim, known)) > 0.9


@pytest.mark.parametrize("pixels", [2, 5, 20])
def test_a_move_changes_every_part(pixels: int) -> None:
    known = scene()
    assert max(alikeness(np.roll(known, pixels, 1), known)) < 0.7


def test_dirt_changes_some_parts() -> None:
    known, dirty = scene(), scene()
    dirty[:24, :48] = 60
    middle, worst = alikeness(dirty, known)
    assert middle > 0.95 and worst < 0.3


def test_parts_without_texture_say_nothing() -> None:
    flat = np.full((72, 96), 90, np.uint8)
    assert alikeness(scene(), flat) == (1, 1)
    half = scene()
    half[:, 48:] = 90
    assert alikeness(np.roll(half, 5, 0), half)[0] < 0.7


def test_who_walks_past_is_not_in_the_scene() -> None:
    seen = [scene() for _ in range(5)]
    seen[1][10:40, 10:40] = seen[3][30:60, 20:50] = 255
    assert np.array_equal(median_scene(seen), scene())


def test_a_scene_has_one_size_for_all_cameras() -> None:
    assert small_scene(np.full((128, 50, 3), 0.5, np.float32)).tolist() == np.full((72, 96), 128).tolist()
