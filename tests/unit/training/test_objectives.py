"""Losses against values worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from slimstream.training.hooks import capture_features, capture_logits, capture_maps
from slimstream.training.objectives import AMSoftmax, CenterLoss, CrossEntropy, Slimming, class_weights
from tests.unit.training.fakes import FixedLogits, Linear, batch


def test_class_weights_give_every_class_the_same_say() -> None:
    weights = class_weights([0, 0, 0, 1], classes=3, balance=1.0)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0, 0.0])  # 3 · 2/3 = 1 · 2; a class without clips: 0
    assert class_weights([0, 0, 0, 1], classes=2, balance=0.0).tolist() == pytest.approx([1.0, 1.0])


def test_cross_entropy_by_hand() -> None:
    objective = CrossEntropy(torch.tensor([1.0, 3.0]))
    first = math.log1p(math.exp(-2))  # -log σ(2)
    second = 3 * math.log(2)
    loss = objective(FixedLogits([2.0, 0.0], [0.0, 0.0]), batch([0, 1]), 0)["loss"]
    assert float(loss) == pytest.approx((first + second) / 2)


def test_am_softmax_by_hand() -> None:
    # s = 10, m = 0.2: cosines 0.9 and 0.5 are logits 9 and 5; the true class 0 counts 10·(0.9 - 0.2) = 7.
    objective = AMSoftmax(CrossEntropy(torch.ones(2)), margin=0.2, scale=10.0)
    loss = objective(FixedLogits([9.0, 5.0]), batch([0]), 0)["loss"]
    assert float(loss) == pytest.approx(-math.log(math.exp(7) / (math.exp(7) + math.exp(5))))


def test_am_softmax_without_margin_is_cross_entropy() -> None:
    plain, net = CrossEntropy(torch.ones(3), 0.1), FixedLogits([1.0, 2.0, 3.0], [0.0, 1.0, 0.0])
    without = AMSoftmax(plain, margin=0.0, scale=30.0)
    assert torch.equal(without(net, batch([2, 0]), 0)["loss"], plain(net, batch([2, 0]), 0)["loss"])


def center_loss(net: nn.Module, directions: bool = False) -> CenterLoss:
    plain = CrossEntropy(torch.ones(2))
    return CenterLoss(plain, 0.1, classes=2, features=2, directions=directions)


def test_center_loss_by_hand() -> None:
    net = Linear()
    objective = center_loss(net)
    objective.centers.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    clip = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0]])  # features are twice that: (2,0), (4,2), (0,2)
    net.eval()
    terms = objective(net, batch([0, 0, 1], clip=clip), 0)
    # Squared distances 1, 9 + 4 and 0: half their mean is 14 / 6.
    assert float(terms["center"].detach()) == pytest.approx(14 / 6)
    plain = objective.inner(net, batch([0, 0, 1], clip=clip), 0)["loss"]
    assert float(terms["loss"].detach()) == pytest.approx(float(plain.detach()) + 0.1 * 14 / 6)


def test_centers_follow_their_own_rule() -> None:
    net = Linear().eval()
    objective = center_loss(net)
    objective.centers.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    objective(net, batch([0, 0], clip=torch.tensor([[1.0, 0.0], [2.0, 1.0]])), 0)
    # Σ (c - x) = (1-2, 0-0) + (1-4, 0-2) = (-4, -2); halved and over 1 + 2 clips: (-2/3, -1/3).
    assert objective.centers[0].tolist() == pytest.approx([1 + 2 / 3, 1 / 3])
    assert objective.centers[1].tolist() == [0.0, 2.0]
    assert not objective.centers.requires_grad and "centers" in objective.state_dict()


def test_directions_have_no_length() -> None:
    net = Linear().eval()
    clips = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    near, far = (
        center_loss(net, directions=True)(net, batch([0, 1], clip=scale * clips), 0)["center"]
        for scale in (1, 100)
    )
    assert float(near) == pytest.approx(float(far)) == pytest.approx(0.5)  # centres still at 0: ½·‖1‖²


def test_features_are_heard_before_dropout_and_the_network_is_left_alone() -> None:
    net, clip = Linear(dropout=0.9).train(), torch.ones(4, 2)
    with capture_features(net) as features, capture_logits(net) as logits:
        answer = net(clip)
    assert torch.equal(features[0], 2 * clip) and logits[0] is answer
    net(clip)
    assert len(features) == len(logits) == 1


def test_maps_are_heard_while_the_network_answers() -> None:
    class Net(nn.Module):
        calls = 0

        def maps(self, clip: Tensor) -> tuple[Tensor, ...]:
            self.calls += 1
            return (clip, clip + 1)

        def forward(self, clip: Tensor) -> Tensor:
            return self.maps(clip)[1].sum()

    net = Net()
    with pytest.raises(KeyError), capture_maps(net) as heard:
        assert net(torch.zeros(2)) == 2
        raise KeyError
    assert [each.tolist() for each in heard[0]] == [[0, 0], [1, 1]]
    net(torch.zeros(2))
    assert len(heard) == 1 and net.calls == 2


def test_slimming_adds_the_scales_of_batch_norms_that_learn() -> None:
    net = nn.Sequential(
        nn.BatchNorm1d(2), nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False), nn.LayerNorm(2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([0.5, -2.0]))
        net[1].weight.requires_grad_(False)
    objective = Slimming(lambda model, batch, epoch: {"loss": torch.tensor(1.0)}, 0.01)
    terms = objective(net, batch([0]), 0)
    assert float(terms["scales"]) == 2.5 and float(terms["loss"]) == pytest.approx(1.025)
    terms["loss"].backward()
    assert net[0].weight.grad is not None and net[0].weight.grad.tolist() == pytest.approx([0.01, -0.01])
