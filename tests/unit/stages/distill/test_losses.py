"""What is learnt from other networks, against values worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from slimstream.stages.distill.losses import AttentionTransfer, Distillation, attention, attention_distance
from slimstream.training.objectives import CenterLoss, CrossEntropy
from tests.unit.training.fakes import FixedLogits, Linear, batch


def test_distillation_by_hand_with_two_teachers() -> None:
    # T = 2: the teachers' softened outputs are σ(1) and σ(-1), their mean is (½, ½);
    # the student's softened output is σ(1) = (0.7311, 0.2689); KL = Σ ½·log(½ / m).
    teachers = torch.tensor([[[[2.0, 0.0]], [[0.0, 2.0]]]])  # (1 view, 2 teachers, 1 clip, 2 classes)
    objective = Distillation(CrossEntropy(torch.ones(2)), teachers, temperature=2.0, weight=0.25)
    terms = objective(FixedLogits([2.0, 0.0]), batch([0]), 0)
    kl = 0.5 * math.log(0.5 / 0.731059) + 0.5 * math.log(0.5 / 0.268941)
    assert float(terms["soft"]) == pytest.approx(4 * kl, rel=1e-4)
    assert float(terms["loss"]) == pytest.approx(0.25 * 4 * kl + 0.75 * 0.126928, rel=1e-4)


def test_the_loss_as_printed_has_no_square_of_the_temperature() -> None:
    teachers, student = torch.tensor([[[[2.0, 0.0]], [[0.0, 2.0]]]]), FixedLogits([2.0, 0.0])
    ours, printed = (
        Distillation(CrossEntropy(torch.ones(2)), teachers, 4.0, 0.5, squared=squared)(student, batch([0]), 0)
        for squared in (True, False)
    )
    assert float(ours["soft"]) == pytest.approx(16 * float(printed["soft"]))
    assert float(printed["loss"]) == pytest.approx(float(printed["soft"] + printed["hard"]) / 2)


def test_one_of_the_teachers_teaches_something_else_than_both() -> None:
    both = torch.tensor([[[[2.0, 0.0]], [[0.0, 2.0]]]])
    one = both[:, :1]
    student = FixedLogits([2.0, 0.0])
    soft = [
        Distillation(CrossEntropy(torch.ones(2)), t, 2.0, 1.0)(student, batch([0]), 0) for t in (both, one)
    ]
    assert float(soft[0]["soft"]) > 0.4 and float(soft[1]["soft"]) == pytest.approx(0, abs=1e-6)


def test_lambda_zero_is_plain_cross_entropy_exactly() -> None:
    net = FixedLogits(*torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).tolist())
    plain = CrossEntropy(torch.ones(3), 0.1)
    labels = batch([0, 1, 2, 1, 0])
    control = Distillation(plain, torch.randn(2, 1, 5, 3), temperature=4.0, weight=0.0)
    assert torch.equal(control(net, labels, 1)["loss"], plain(net, labels, 1)["loss"])


def test_epoch_shows_the_view_its_teacher_saw() -> None:
    teachers = torch.tensor([[[[9.0, 0.0]]], [[[0.0, 9.0]]]])  # two views that disagree
    objective = Distillation(CrossEntropy(torch.ones(2)), teachers, temperature=1.0, weight=1.0)
    losses = [float(objective(FixedLogits([9.0, 0.0]), batch([0]), epoch)["loss"]) for epoch in range(4)]
    assert losses[0] == losses[2] == pytest.approx(0, abs=1e-4)
    assert losses[1] == losses[3] > 5


def test_what_an_inner_objective_remembers_is_saved_and_the_teachers_are_not() -> None:
    center = CenterLoss(CrossEntropy(torch.ones(2)), 0.1, classes=2, features=2, directions=False)
    objective = Distillation(center, torch.zeros(1, 1, 1, 2), 2.0, 0.5)
    terms = objective(Linear(), batch([0], clip=torch.ones(1, 2)), 0)
    assert {"loss", "hard", "soft", "center"} == set(terms)
    assert list(objective.state_dict()) == ["inner.centers"]


def test_attention_is_the_sum_of_squares_over_channels() -> None:
    maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 1.0]]]])  # (B·T=2, C=2, 1, 2)
    assert attention(maps, clips=1).tolist() == [[[[10.0, 4.0]], [[0.0, 1.0]]]]  # one clip of two frames
    in_time = maps.transpose(0, 1).unsqueeze(0)  # (B=1, C=2, T=2, 1, 2)
    assert torch.equal(attention(in_time, clips=1), attention(maps, clips=1))


def test_attention_differs_in_direction_not_in_strength() -> None:
    a = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    b = torch.tensor([4.0, 3.0]).view(1, 1, 1, 2)
    assert float(attention_distance(a, b)) == pytest.approx(2 * 0.2**2)  # (0.6, 0.8) and (0.8, 0.6)
    assert float(attention_distance(a, 7 * a)) == pytest.approx(0, abs=1e-6)


def test_a_finer_map_is_averaged_down_to_the_coarser() -> None:
    fine = torch.tensor([[2.0, 4.0, 3.0, 5.0], [2.0, 4.0, 3.0, 5.0]]).view(1, 1, 2, 4)  # averages 3 and 4
    coarse = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
    for pair in ((fine, coarse), (coarse, fine)):
        assert float(attention_distance(*pair)) == pytest.approx(0, abs=1e-6)


class Looks(nn.Module):
    """Two maps: one pixel wide, then this one of a channel and two pixels."""

    def __init__(self, *where: float) -> None:
        super().__init__()
        self.where = nn.Parameter(torch.tensor(where))

    def maps(self, clip: Tensor) -> tuple[Tensor, ...]:
        return (torch.ones(len(clip), 1, 1, 1), self.where.view(1, 1, 1, 2).repeat(len(clip), 1, 1, 1))

    def forward(self, clip: Tensor) -> Tensor:
        return self.maps(clip)[1].flatten(1)


def transfer(weight: float = 2.0) -> AttentionTransfer:
    plain = CrossEntropy(torch.ones(2))
    attended = [0.6, 0.8], [0.8, 0.6]
    # Two teachers with a map each, one view of one clip of one frame.
    teachers = [[torch.tensor(q).view(1, 1, 1, 1, 2)] for q in attended]
    return AttentionTransfer(plain, teachers, weight)


def test_attention_transfer_by_hand() -> None:
    student = Looks(0.6**0.5, 0.8**0.5)  # its attention is (0.6, 0.8), the first teacher's own
    objective = transfer()
    terms = objective(student, batch([0]), 0)
    # 0 from the first teacher and 2·0.2² from the second; half of it, mean over the two.
    assert float(terms["attention"].detach()) == pytest.approx(0.02, rel=1e-4)
    plain = objective.inner(student, batch([0]), 0)["loss"].item()
    assert float(terms["loss"]) == pytest.approx(plain + 2 * 0.02, rel=1e-4)
    terms["loss"].backward()
    assert student.where.grad is not None and student.where.grad.isfinite().all()
