"""The learning rate over an epoch axis, against values worked out by hand."""

from typing import Any

import pytest
import torch

from slimstream.training.params import FitParams
from slimstream.training.schedules import multiplier, plateaus


def at(epoch: float, **settings: Any) -> float:
    return multiplier(epoch, FitParams(epochs=10, **settings))


def test_warm_up_is_linear_and_never_zero() -> None:
    assert 0 < at(0.0, warmup_epochs=2) < 0.01
    assert at(1.0, warmup_epochs=2) == pytest.approx(0.5)
    assert at(2.0, warmup_epochs=2) == pytest.approx(1.0)


def test_warm_up_may_start_above_zero_at_each_restart() -> None:
    # From a fifth of the peak: 0.2 + 0.8 · half of the warm-up.
    warm = [at(epoch, warmup_epochs=2, warmup_from=0.2, cycles=2) for epoch in (0, 1, 2, 5, 6, 7)]
    assert warm == pytest.approx([0.2, 0.6, 1, 0.2, 0.6, 1], abs=1e-3)


def test_cosine_falls_to_a_half_midway_and_to_zero_at_the_end() -> None:
    assert at(6.0, warmup_epochs=2) == pytest.approx(0.5)
    assert at(10.0, warmup_epochs=2) == pytest.approx(0.0)


def test_constant_stays_at_the_peak() -> None:
    assert at(7.3, warmup_epochs=2, schedule="constant") == 1.0


def test_warm_restarts_run_through_warm_up_and_cosine_again() -> None:
    # Two cycles of five epochs: one of warm-up, four of descent.
    cycle = [at(epoch, warmup_epochs=1, cycles=2) for epoch in (0.5, 1, 3, 4.999)]
    assert cycle == pytest.approx([0.5, 1, 0.5, 0], abs=1e-6)
    assert [at(5 + e, warmup_epochs=1, cycles=2) for e in (0.5, 1, 3, 5)] == pytest.approx(cycle, abs=1e-6)


def test_a_descent_shorter_than_an_epoch_reaches_zero_too() -> None:
    short = FitParams(epochs=3, cycles=2, warmup_epochs=1, schedule="cosine")
    assert multiplier(1.25, short) == pytest.approx(0.5) and multiplier(2.9999, short) < 1e-6


def test_a_restart_without_warm_up_jumps_to_the_peak() -> None:
    assert [at(epoch, cycles=2) for epoch in (0, 2.5, 5, 7.5, 10)] == pytest.approx([1, 0.5, 1, 0.5, 0])


def test_steps_multiply_by_the_decay() -> None:
    steps = [at(epoch, schedule="step") for epoch in (0, 4.9, 5, 7.4, 7.5, 9.9)]
    assert steps == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert at(3, schedule="step", decay=0.5, decay_at=[0.2]) == 0.5


def test_a_plateau_is_a_loss_that_does_not_fall_for_longer_than_it_is_borne() -> None:
    # Borne for one epoch: 0.9 is better, then two in a row are not (found), then one, then a better one.
    losses = [1.0, 0.9, 0.95, 0.9, 0.9, 0.8, 0.8]
    assert [plateaus(losses[:n], patience=1) for n in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert plateaus([1.0] * 10, patience=2) == 3


def test_plateaus_are_those_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    losses = (torch.rand(60, generator=generator) + torch.linspace(1, 0, 60)).tolist()
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=3)
    p = FitParams(epochs=60, schedule="plateau", decay=0.5, patience=3)
    history: list[dict[str, float]] = []
    for epoch, loss in enumerate(losses):
        assert multiplier(epoch, p, history) == pytest.approx(optimiser.param_groups[0]["lr"])
        history.append({"val_loss": loss})
        theirs.step(loss)
    assert optimiser.param_groups[0]["lr"] < 1
