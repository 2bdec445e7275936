import pytest
import torch
from torch import Tensor, nn

from slimstream.stages.prune.channels import Channels, traceable
from slimstream.stages.prune.macs import POWER, importance_per_macs
from slimstream.stages.prune.pruning import prune_channels

CLIP = torch.randint(0, 256, (1, 2, 5, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Narrowing(nn.Module):
    """A layer on 62 × 62 positions, a depthwise one, and one on 30 × 30."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(5, 8, 3)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.second = nn.Conv2d(8, 6, 3, stride=2)
        self.head = nn.Linear(6, 2)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.depthwise(self.first(clip.flatten(0, 1).float()).relu()).relu()
        return self.head(self.second(x).relu().mean((2, 3)))


def scores_of(model: nn.Module, per: str) -> list[Tensor]:
    with traceable(model):
        found = Channels.of(
            model,
            CLIP,
            left=[model.head],  # type: ignore[list-item]
            importance="l1",
            importance_per=per,  # type: ignore[arg-type]
        )
    return [group.scores for group in found.groups]


def test_a_channel_costs_what_makes_it_and_what_takes_it() -> None:
    torch.manual_seed(0)
    model = Narrowing()
    frames = 2
    macs = {
        8: frames * (62 * 62 * (5 * 9 + 9) + 30 * 30 * 6 * 9),  # first, depthwise, and inputs of second
        6: frames * (30 * 30 * 8 * 9 + 2),  # second, and inputs of the head
    }
    plain, weighed = scores_of(model, "channel"), scores_of(model, "macs")
    assert {len(scores) for scores in plain} == macs.keys()
    for before, after in zip(plain, weighed, strict=True):
        torch.testing.assert_close(after, importance_per_macs(before, macs[len(before)]))


def test_importance_is_the_share_of_what_is_left_by_hand() -> None:
    weighed = importance_per_macs(torch.tensor([3.0, 1.0, 4.0]), macs=16.0)
    cost = 16.0**POWER
    assert weighed.tolist() == pytest.approx([3 * 3 / 7 / cost, 3 * 1 / 8 / cost, 3 * 4 / 4 / cost])
    assert importance_per_macs(torch.zeros(3), macs=0.0).tolist() == [0, 0, 0]


def test_the_costly_layer_loses_more_channels() -> None:
    widths = {}
    for per in ("channel", "macs"):
        torch.manual_seed(0)
        model = Narrowing()
        prune_channels(model, CLIP, rate=0.5, importance_per=per)  # type: ignore[arg-type]
        widths[per] = model.first.out_channels, model.second.out_channels
        assert sum(widths[per]) == 7
    assert widths["macs"][0] < widths["channel"][0]
