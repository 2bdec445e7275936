"""Losses against values worked out by hand."""

from types import SimpleNamespace

import pytest
import torch

from slimstream.learn.objectives import CrossEntropy, Distillation, class_weights


def batch(labels: list[int], indices: list[int] | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        indices=torch.tensor(indices or range(len(labels))), labels=torch.tensor(labels), clip=torch.zeros(0)
    )


def test_class_weights_give_every_class_the_same_say() -> None:
    weights = class_weights([0, 0, 0, 1], classes=3, balance=1.0)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0, 0.0])  # 3 · 2/3 = 1 · 2; a class without clips: 0
    assert class_weights([0, 0, 0, 1], classes=2, balance=0.0).tolist() == pytest.approx([1.0, 1.0])


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    objective = CrossEntropy(torch.tensor([1.0, 3.0]))
    first = torch.log1p(torch.exp(torch.tensor(-2.0)))  # -log σ(2)
    second = 3 * torch.log(torch.tensor(2.0))
    assert objective(logits, batch([0, 1]), 0)["loss"] == pytest.approx(float((first + second) / 2))


def test_distillation_by_hand_with_two_teachers() -> None:
    # T = 2: the teachers' softened outputs are σ(1) and σ(-1), their mean is (½, ½);
    # the student's softened output is σ(1) = (0.7311, 0.2689); KL = Σ ½·log(½ / m).
    teachers = torch.tensor([[[[2.0, 0.0]], [[0.0, 2.0]]]])  # (1 view, 2 teachers, 1 clip, 2 classes)
    objective = Distillation(CrossEntropy(torch.ones(2)), teachers, temperature=2.0, weight=0.25)
    terms = objective(torch.tensor([[2.0, 0.0]]), batch([0]), 0)
    kl = 0.5 * torch.log(torch.tensor(0.5 / 0.731059)) + 0.5 * torch.log(torch.tensor(0.5 / 0.268941))
    assert float(terms["soft"]) == pytest.approx(4 * float(kl), rel=1e-4)
    assert float(terms["loss"]) == pytest.approx(0.25 * 4 * float(kl) + 0.75 * 0.126928, rel=1e-4)


def test_lambda_zero_is_plain_cross_entropy_exactly() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    plain = CrossEntropy(torch.ones(3), 0.1)
    labels = batch([0, 1, 2, 1, 0])
    control = Distillation(plain, torch.randn(2, 1, 5, 3), temperature=4.0, weight=0.0)
    assert torch.equal(control(logits, labels, 1)["loss"], plain(logits, labels, 1)["loss"])


def test_epoch_shows_the_view_its_teacher_saw() -> None:
    teachers = torch.tensor([[[[9.0, 0.0]]], [[[0.0, 9.0]]]])  # two views that disagree
    objective = Distillation(CrossEntropy(torch.ones(2)), teachers, temperature=1.0, weight=1.0)
    logits = torch.tensor([[9.0, 0.0]])
    losses = [float(objective(logits, batch([0]), epoch)["loss"]) for epoch in range(4)]
    assert losses[0] == losses[2] == pytest.approx(0, abs=1e-4)
    assert losses[1] == losses[3] > 5
