import pytest
import torch

from slimstream.models.video.per_frame import per_frame_cnn
from tests.unit.models.random_clips import clip_of, params


def test_its_layers_are_the_papers() -> None:
    with torch.device("meta"):
        model = per_frame_cnn(3)
    convolutions = [(3, 96, 11), (96, 256, 5), (256, 384, 3), (384, 384, 3), (384, 256, 3)]
    by_hand = sum(a * b * k * k + b for a, b, k in convolutions) + 2 * (96 + 256)
    by_hand += 256 * 6 * 6 * 4096 + 4096 + 4096 * 4096 + 4096 + 3 * 4097
    assert params(model) == by_hand


@pytest.mark.parametrize("side", [64, (100, 180), 170])
def test_a_clips_scores_are_the_mean_of_its_frames(side: int | tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = per_frame_cnn(3, width=0.125).eval()
    clip = clip_of(3, side=side)
    with torch.no_grad():
        single = torch.stack([model(clip[:, t : t + 1]) for t in range(3)])
        assert single.std(0).max() > 1e-3
        torch.testing.assert_close(model(clip), single.mean(0), rtol=1e-4, atol=1e-5)
        assert model.frame_features(clip).shape == (2, 3, 512)
