from itertools import pairwise

import pytest
import torch

from slimstream.models.cost import count_macs
from slimstream.models.video.c3d import c3d, two_stream_c3d
from tests.unit.models.random_clips import clip_of, params


def test_it_has_the_papers_size() -> None:
    with torch.device("meta"):
        model = c3d(3)
        sports = c3d(487)
    convolutions = [3, 64, 128, 256, 256, 512, 512, 512, 512]
    by_hand = sum(27 * a * b + b for a, b in pairwise(convolutions))
    by_hand += 8192 * 4096 + 4096 + 4096 * 4096 + 4096
    assert params(model) == by_hand + 3 * 4097
    assert params(sports) == pytest.approx(79.92e6, rel=0.001)  # P1, Table 2
    assert count_macs(model, (1, 16, 5, 112, 112)) == pytest.approx(38.5e9, rel=0.01)  # Tran et al. 2018


@pytest.mark.parametrize(("frames", "side"), [(1, 32), (5, (48, 80)), (16, 112), (20, 128)])
def test_any_length_and_size(frames: int, side: int | tuple[int, int]) -> None:
    model = c3d(4, width=0.125).eval()
    with torch.no_grad():
        logits = model(clip_of(frames, channels=3, side=side))
    assert logits.shape == (2, 4) and logits.isfinite().all()
    assert model.features(clip_of(frames, side=side)).shape == (2, 512)


def test_two_streams_are_two_networks_that_see_their_own_channels() -> None:
    with torch.device("meta"):
        assert params(two_stream_c3d(3)) == 2 * params(c3d(3)) - 3
    model = two_stream_c3d(3, width=0.0625).eval()
    clip = clip_of(3, side=32)
    still = clip.clone()
    still[:, :, 3:] = 128
    with torch.no_grad():
        change = (model.features(still) - model.features(clip)).abs().amax(0)
    assert change[:256].max() == 0 and change[256:].max() > 0


def test_signals_do_not_fade_in_a_fresh_network() -> None:
    torch.manual_seed(0)
    model = c3d(3, width=0.25).eval()
    with torch.no_grad():
        features = model.features(clip_of(16, side=112))
    assert 0.02 < features.std() < 20


def test_it_sees_the_order_of_frames() -> None:
    torch.manual_seed(0)
    model = c3d(3, width=0.125).eval()
    clip = clip_of(16)
    with torch.no_grad():
        assert (model.features(clip) - model.features(clip.flip(1))).abs().max() > 1e-3
