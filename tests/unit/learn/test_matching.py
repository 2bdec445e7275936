"""Learning another network's features."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from slimstream.learn.matching import FeatureMatch, FrameFeatures


class Net(nn.Module):
    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor([bias, 0.0]))

    def frame_features(self, clip: Tensor) -> Tensor:
        return clip + self.bias


CLIP = torch.tensor([[[0.0, 0.0], [2.0, 20.0]]])  # (B=1, T=2, F=2)
BATCH = SimpleNamespace(clip=CLIP, indices=torch.tensor([0]), labels=torch.tensor([0]))


def loss(student: Net) -> Tensor:
    match = FeatureMatch.of(Net(0.0), [CLIP])
    return match(FrameFeatures(student)(CLIP), BATCH, 0)["loss"]


def test_the_teacher_itself_has_no_error() -> None:
    assert loss(Net(0.0)).item() == 0


def test_the_error_is_counted_in_units_of_each_features_spread() -> None:
    # Feature 0 is off by 1, its spread is √2 plus a hundredth of the mean spread, (√2 + 10·√2) / 2.
    spread = 2**0.5 * (1 + 0.01 * 5.5)
    assert loss(Net(1.0)).item() == pytest.approx((1 / spread) ** 2 / 2, rel=1e-5)


def test_only_the_student_learns() -> None:
    student, match = Net(1.0), FeatureMatch.of(Net(0.0), [CLIP])
    match(FrameFeatures(student)(CLIP), BATCH, 0)["loss"].backward()
    assert student.bias.grad is not None and student.bias.grad[0] > 0
    assert match.teacher.bias.grad is None  # type: ignore[union-attr]
