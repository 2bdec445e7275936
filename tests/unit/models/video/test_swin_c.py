import pytest
import torch
from torch import nn

from slimstream.models.video.swin_c import two_stream_swin_c
from tests.unit.models.random_clips import clip_of, params


def test_it_has_the_papers_size() -> None:
    with torch.device("meta"):
        model = two_stream_swin_c(3)
    assert params(model) == pytest.approx(32.58e6, rel=0.01)  # P1, Table 2
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv3d)]
    assert len(convolutions) == 2 * (2 + 2 + 6 + 2)
    assert {c.kernel_size for c in convolutions} == {(3, 3, 3)}


@pytest.mark.parametrize(("frames", "side"), [(1, 32), (2, 64), (3, (96, 64)), (2, (40, 70))])
def test_any_length_and_size(frames: int, side: int | tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = two_stream_swin_c(3, width=24).eval()
    height, width = (side, side) if isinstance(side, int) else side
    clip = clip_of(frames, side=side)
    with torch.no_grad():
        seen = model.rgb(torch.randn(2, 3, frames, height, width))
        assert seen.shape == (2, 192, frames, -(-height // 32), -(-width // 32))
        assert model(clip).isfinite().all()


def test_frames_of_a_clip_are_joined_and_clips_are_not() -> None:
    torch.manual_seed(0)
    model = two_stream_swin_c(3, width=24).eval()
    clip = clip_of(3)
    other = clip.clone()
    other[1, 2] = 0
    with torch.no_grad():
        change = (model.frame_features(clip) - model.frame_features(other)).abs().amax(2)
    assert (change[0] < 1e-6).all()
    assert (change[1] > 1e-6).all()  # reaches back from frame 2 to frame 0
