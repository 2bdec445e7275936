"""A temperature that undoes too much confidence, and a reference that tells what was not learnt."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slimstream.runtimes.base import softmax
from slimstream.stages.export.calibrate import (
    Judged,
    calibrate,
    calibrate_network,
    fit_reference,
    fit_temperature,
    tell_left_out,
)
from slimstream.training.closed_form import linear_classifier, standardisation

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


def test_a_head_that_was_fitted_again_is_calibrated_by_heads_like_it() -> None:
    """The head from before was much surer; its temperature would make the new one guess."""
    x = (RNG.normal(size=(240, 20)) + 1.5 * np.eye(3, 20)[TRUTH]).astype(np.float32)
    part = np.where(GROUP < 2, "train", "val")
    clips: Any = SimpleNamespace(rows=pd.DataFrame({"part": part}), truth=TRUTH)
    sure = softmax(20 * RNG.normal(size=((part == "val").sum(), 3)))
    some, names = list(range(240)), ("a", "b", "c")
    before = calibrate_network(sure, x, clips, some, names, keep=None)
    found = calibrate_network(sure, x, clips, some, names, keep=None, strength=0.01)
    held, known = part == "val", part == "train"
    mean, scale = standardisation(x[known])
    weight, bias = linear_classifier((x[known] - mean) / scale, TRUTH[known], 3, 0.01)
    logits = (x[held] - mean) / scale @ weight.T + bias
    assert found.calibration.temperature == pytest.approx(fit_temperature(logits, TRUTH[held]))
    assert found.calibration.temperature < 1 < before.calibration.temperature
    surest = found.probabilities[held].max(1).mean()
    right = (found.probabilities[held].argmax(1) == TRUTH[held]).mean()
    assert surest == pytest.approx(right, abs=0.06)
