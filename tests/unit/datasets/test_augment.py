"""What moves the pixels changes their flow with them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from slimstream.clips.flow import dense_flow, quantise
from slimstream.datasets.augment import augment_clip
from slimstream.datasets.params import AugmentParams
from tests.unit.clips.rendered_clips import moving

NOTHING = AugmentParams(crop=1, hflip=0, vflip=0, brightness=0)


def with_(**settings: float) -> AugmentParams:
    return NOTHING.model_copy(update=settings)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def clip() -> Tensor:
    """(3, 5, 40, 48) uint8 noise; flow never 0."""
    return torch.from_numpy(draw().integers(1, 256, (3, 5, 40, 48), dtype=np.uint8))


def flow_clip(motion: tuple[int, int], flip: int | None = None) -> Tensor:
    """(1, 5, 64, 64): a moving texture, flipped before its flow was computed."""
    pictures = moving([(0, 0), motion])
    if flip is not None:
        pictures = [np.flip(picture, flip).copy() for picture in pictures]
    flow = quantise(dense_flow(pictures[0][..., 1], pictures[1][..., 1], "farneback"), 8)
    return torch.from_numpy(np.concatenate([pictures[0], flow], axis=-1)).permute(2, 0, 1)[None]


def test_switched_off_it_changes_nothing(clip: Tensor) -> None:
    assert torch.equal(augment_clip(clip, NOTHING, draw()), clip.float())


def test_horizontal_flip_turns_x(clip: Tensor) -> None:
    out = augment_clip(clip, with_(hflip=1), draw())
    expected = clip.float().flip(-1)
    expected[:, 3] = 256 - expected[:, 3]
    assert torch.equal(out, expected)


def test_vertical_flip_turns_y(clip: Tensor) -> None:
    out = augment_clip(clip, with_(vflip=1), draw())
    expected = clip.float().flip(-2)
    expected[:, 4] = 256 - expected[:, 4]
    assert torch.equal(out, expected)


@pytest.mark.parametrize("setting, axis", [("hflip", 1), ("vflip", 0)])
def test_flipping_a_pack_is_packing_a_flipped_clip(setting: str, axis: int) -> None:
    out = augment_clip(flow_clip((3, -2)), with_(**{setting: 1}), draw())
    direct = flow_clip((3, -2), flip=axis).float()
    assert torch.equal(out[:, :3], direct[:, :3])
    for component in (3, 4):  # to a tenth of a pixel
        assert (out - direct)[:, component, 16:-16, 16:-16].abs().median() < 2


def test_an_enlarged_clip_moves_faster() -> None:
    clip = torch.full((2, 5, 40, 40), 128, dtype=torch.uint8)
    clip[:, 3], clip[:, 4] = 148, 118
    out = augment_clip(clip, with_(crop=0.5), draw(1))
    zoom = 40 / round(40 * (1 - draw(1).random(7)[0] * 0.5))
    assert zoom > 1.2
    assert out[:, 3].unique().item() == pytest.approx(128 + 20 * zoom)
    assert out[:, 4].unique().item() == pytest.approx(128 - 10 * zoom)
    assert out[:, :3].unique().tolist() == [128]


def test_flow_stays_within_its_bytes(clip: Tensor) -> None:
    out = augment_clip(clip, with_(crop=0.5, hflip=1, vflip=1), draw(1))
    assert out[:, 3:].min() >= 1 and out[:, 3:].max() <= 255


def test_a_crop_is_a_zoom_into_the_picture() -> None:
    """A picture of its own coordinates stays one: straight, enlarged, and the same in every frame."""
    ramp = torch.arange(64.0).expand(64, 64)
    clip = torch.stack([ramp, ramp.T, ramp, ramp, ramp])[None].repeat(3, 1, 1, 1)
    out = augment_clip(clip, with_(crop=0.5), draw(1))
    assert torch.equal(out[0], out[2])
    steps = out[0, 0, 8:-8, 8:-8].diff(dim=1)
    assert steps.std() < 1e-3 and 0.5 <= steps.mean() < 0.9
    assert out[0, 1, 8:-8, 8:-8].diff(dim=0).mean() == pytest.approx(steps.mean().item(), abs=1e-4)


def test_brightness_touches_pictures_alone_and_all_frames_alike(clip: Tensor) -> None:
    clip[1:] = clip[0]
    out = augment_clip(clip, with_(brightness=0.3), draw())
    assert torch.equal(out[:, 3:], clip[:, 3:].float())
    assert not torch.equal(out[:, :3], clip[:, :3].float())
    assert torch.equal(out[0], out[1])
    assert out.min() >= 0 and out.max() <= 255


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_without_flow(channels: int) -> None:
    clip = torch.randint(0, 256, (1, channels, 32, 32), dtype=torch.uint8)
    out = augment_clip(clip, with_(hflip=1), draw())
    assert torch.equal(out, clip.float().flip(-1))
    full = AugmentParams(crop=0.6, hflip=0.5, vflip=0.5, brightness=0.3)
    assert augment_clip(clip, full, draw()).shape == clip.shape


def test_it_is_a_function_of_its_draw_and_leaves_its_input_alone(clip: Tensor) -> None:
    full = AugmentParams(crop=0.6, hflip=0.5, vflip=0.5, brightness=0.3)
    before, floats = clip.clone(), clip.float()
    first, again, other = (augment_clip(floats, full, draw(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(floats, before.float())


def test_flow_alone_is_changed_as_beside_its_pictures(clip: Tensor) -> None:
    settings = with_(crop=0.6, hflip=1, vflip=1, brightness=0.5)
    both, alone = augment_clip(clip, settings, draw()), augment_clip(clip[:, 3:], settings, draw())
    assert torch.equal(alone, both[:, 3:])
