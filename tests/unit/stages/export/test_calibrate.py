"""A temperature that undoes too much confidence, and a reference that tells what was not learnt."""

import numpy as np
import pytest

from slimstream.stages.export.calibrate import (
    Judged,
    calibrate,
    fit_reference,
    fit_temperature,
    tell_left_out,
)

RNG = np.random.default_rng(0)
TRUTH = np.arange(240) % 3
GROUP = np.arange(240) // 3 % 4
CENTRES = 6 * np.eye(3, 20)
X = (CENTRES[TRUTH] + RNG.normal(size=(240, 20))).astype(np.float32)
LIMITS = (2.0, 1.0)
JUDGED = [Judged(g != GROUP, g == GROUP) for g in range(4)]


def test_the_temperature_is_the_factor_by_which_logits_are_too_large() -> None:
    logits = RNG.normal(size=(4000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    truth = (p.cumsum(1) > RNG.random((4000, 1))).argmax(1)
    assert fit_temperature(3 * logits, truth) == pytest.approx(3, rel=0.1)


def test_the_wanted_share_of_clips_of_unseen_groups_is_kept_and_others_are_told() -> None:
    found = calibrate(np.eye(3)[TRUTH], X, TRUTH, 3, JUDGED, keep=0.9).calibration
    unseen = [
        fit_reference(X[j.known], TRUTH[j.known], 3).unlikeness(X[j.held], found.limits) for j in JUDGED
    ]
    assert (np.concatenate(unseen) <= 1).mean() == pytest.approx(0.9, abs=0.005)
    new = (6 * np.eye(20)[7] + RNG.normal(size=(50, 20))).astype(np.float32)
    _, unlikeness = found.answer(np.hstack([np.zeros((50, 3)), new]), 3)
    assert (unlikeness > 1).all()


def test_clips_that_all_look_the_same_are_no_error() -> None:
    found = calibrate(np.eye(3)[TRUTH], np.ones_like(X), TRUTH, 3, JUDGED, keep=0.95).calibration
    _, unlikeness = found.answer(np.hstack([np.zeros((1, 3)), np.ones((1, 20))]), 3)
    assert unlikeness[0] <= 1


def test_without_a_share_to_keep_nothing_is_unknown() -> None:
    found = calibrate(np.eye(3)[TRUTH], X, TRUTH, 3, JUDGED, keep=None).calibration
    assert found.reference is None


def test_only_held_clips_fit_the_temperature() -> None:
    held = GROUP == 0
    logits = np.where(held[:, None], np.eye(3)[TRUTH], np.nan)
    found = calibrate(logits, X, TRUTH, 3, [Judged(~held, held)], keep=0.95).calibration
    assert np.isfinite(found.temperature)


def test_it_says_what_it_says_of_clips_that_it_does_not_know() -> None:
    held = GROUP == 0
    fitted = calibrate(np.eye(3)[TRUTH], X, TRUTH, 3, [Judged(~held, held)], keep=0.9)
    found, said = fitted.calibration, fitted.numbers
    assert np.isnan(said[~held]).all() and np.isfinite(said[held]).all()
    assert found.reference is not None and found.limits is not None
    other = fit_reference(X[~held], TRUTH[~held], 3)  # the reference itself may know more clips
    assert said[held, 0] == pytest.approx(other.unlikeness(X[held], found.limits))
    assert said[held, 1] == pytest.approx(found.answer(np.hstack([np.eye(3)[TRUTH], X]), 3)[0][held].max(1))


def test_a_class_that_was_left_out_is_told_where_it_lies_elsewhere() -> None:
    areas = tell_left_out(X, TRUTH, 3, JUDGED, LIMITS)
    assert areas.keys() == {0, 1, 2} and min(areas.values()) > 0.95
    # The clips of class 2 look like those of class 1: no reference without them tells them from those.
    alike = np.where((TRUTH == 2)[:, None], np.roll(X, 1, axis=0), X)
    assert tell_left_out(alike, TRUTH, 3, JUDGED, LIMITS)[2] == pytest.approx(0.5, abs=0.1)
