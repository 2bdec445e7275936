"""Least squares give a pruned network its original's maps back."""

import copy

import pytest
import torch
from torch import Tensor, nn

from slimstream.core.errors import UserError
from slimstream.models import create_model
from slimstream.stages.prune.pruning import prune_channels
from slimstream.stages.prune.reconstruct import _independent_layers, reconstruct


class Net(nn.Module):
    """Four hidden channels of which the last two repeat the first two."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.up = nn.Conv2d(2, hidden, 1, bias=False)
        self.down = nn.Conv2d(hidden, 3, 3, padding=1, bias=False)

    def forward(self, clip: Tensor) -> Tensor:
        return self.down(self.up(clip).relu())


@pytest.fixture
def pair() -> tuple[Net, Net]:
    torch.manual_seed(0)
    original, cut = Net(4), Net(2)
    with torch.no_grad():
        original.up.weight[2:] = original.up.weight[:2]
        cut.up.weight.copy_(original.up.weight[:2])
        cut.down.weight.copy_(original.down.weight[:, :2])
    return original, cut


def test_a_redundant_channel_is_not_missed(pair: tuple[Net, Net]) -> None:
    original, cut = pair
    clips = [torch.randn(2, 2, 9, 9) for _ in range(4)]
    found = reconstruct(cut, original, lambda: clips, lambda: clips, ridge=1e-8)
    assert found.layers == 1 and found.before > 0.1 and found.after < 1e-6
    # The weights of the lost channels have moved to those they repeat.
    both = original.down.weight[:, :2] + original.down.weight[:, 2:]
    assert torch.allclose(cut.down.weight, both, atol=1e-3)


def test_the_error_is_what_is_left_of_the_output(pair: tuple[Net, Net]) -> None:
    original, cut = pair
    with torch.no_grad():
        original.up.weight[2:] = torch.randn(2, 2, 1, 1)  # nothing to make up for what is lost
    clips = [torch.randn(2, 2, 9, 9) for _ in range(4)]
    found = reconstruct(cut, original, lambda: clips, lambda: clips, ridge=1e-6)
    energy, missing = 0.0, 0.0
    with torch.no_grad():
        for clip in clips:
            energy += float(original(clip).square().sum())
            missing += float((original(clip) - cut(clip)).square().sum())
    assert found.after == pytest.approx(missing / energy, rel=1e-3)
    assert found.after < found.before


def test_a_pruned_network_comes_closer_in_every_stream() -> None:
    torch.manual_seed(0)
    original = create_model("two_stream_efficientnet_lite0", 3, freeze=6).eval()
    pruned = copy.deepcopy(original)
    clips = [torch.randint(0, 256, (2, 2, 5, 64, 64), dtype=torch.uint8) for _ in range(2)]
    prune_channels(pruned, clips[0], target_params=0.66, leave=["head", "*.conv_pwl"], round_to=8)

    def error() -> list[float]:
        with torch.no_grad():
            return [
                float((a - b).square().mean())
                for clip in clips
                for a, b in zip(original.maps(clip), pruned.maps(clip), strict=True)
            ]

    before = error()
    found = reconstruct(pruned, original, lambda: clips, lambda: clips, ridge=1e-3)
    assert found.layers == 10  # five blocks in each stream
    assert all(now < 0.5 * then for now, then in zip(error(), before, strict=True))


def test_a_network_without_such_layers_says_so(pair: tuple[Net, Net]) -> None:
    original, _ = pair
    with pytest.raises(UserError, match=r"prune\.restore"):
        clips = [torch.randn(1, 2, 9, 9)]
        reconstruct(copy.deepcopy(original), original, lambda: clips, lambda: clips, ridge=1.0)


def test_what_follows_the_meeting_of_the_streams_is_refitted_last() -> None:
    names = ["rgb.a", "rgb.b", "flow.a", "fusion.mix", "joint.a"]
    assert _independent_layers(names) == [["rgb.a", "flow.a"], ["rgb.b"], ["fusion.mix"], ["joint.a"]]
