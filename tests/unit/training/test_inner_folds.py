"""Inner folds: which clips they leave out, and what a score over them is."""

import numpy as np
import pytest

from slimstream.core.errors import UserError
from slimstream.training.inner_folds import (
    MIN_GROUPS,
    inner_folds,
    predict_left_out,
    scores_of_folds,
    val_fold,
)
from slimstream.training.metrics.classification import confusion, macro_f1
from slimstream.training.metrics.intervals import draw_resamples


def test_each_of_a_few_groups_is_left_out_once() -> None:
    folds = inner_folds(["a", "b", "b", "c"], ["1", "2", "3", "4"], np.array([0, 1, 0, 1]))
    assert folds.by == "group" and folds.of_clip.tolist() == [0, 1, 1, 2]
    assert folds.label == "3 folds, each with one training group left out"


def test_many_groups_share_folds_and_stay_whole() -> None:
    group, truth = np.repeat(np.arange(40), 3), np.tile([0, 1, 1], 40)
    folds = inner_folds(group.tolist(), range(120), truth)
    assert (folds.by, folds.count, folds.units) == ("group", 10, 40)
    assert all(len(set(folds.of_clip[group == g])) == 1 for g in range(40))
    assert folds.label == "10 folds of 40 training groups"


def test_with_two_groups_whole_near_twin_sets_are_left_out_and_it_is_said() -> None:
    twin, truth = np.repeat(np.arange(12), 2), np.repeat([0, 1, 2], 8)
    folds = inner_folds(["a"] * 12 + ["b"] * 12, twin.tolist(), truth)
    assert (folds.by, folds.count, folds.units) == ("twin", 5, 12)
    assert all(len(set(folds.of_clip[twin == t])) == 1 for t in range(12))
    assert "fewer than 3 training groups: the scores say nothing of a new group" in folds.label


def test_one_near_twin_set_cannot_be_divided() -> None:
    with pytest.raises(UserError, match=r"one near-twin set, .* search to null and prune.rate to a number"):
        inner_folds(["a", "a"], ["1", "1"], np.array([0, 1]))


def test_a_clip_is_predicted_by_the_other_folds_alone() -> None:
    """Each group has a feature of its own that gives its label away; other groups know nothing of it."""
    group = np.repeat(np.arange(4), 10)
    truth = np.tile([0, 1], 20)
    x = np.zeros((40, 4), np.float32)
    x[np.arange(40), group] = 2 * truth - 1
    folds = inner_folds(group.tolist(), range(40), truth)
    predicted = predict_left_out(x, truth, folds, 2, 1.0)
    assert all(len(set(predicted[group == g])) == 1 for g in range(4))  # all clips look alike to the others
    assert (predict_left_out(np.repeat(x.sum(1, keepdims=True), 2, 1), truth, folds, 2, 1.0) == truth).all()


def test_a_fold_whose_training_clips_have_one_class_predicts_it() -> None:
    truth = np.array([0, 0, 1, 1, 1, 1])
    folds = inner_folds(["a", "a", "b", "b", "c", "c"], range(6), truth)
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    assert predict_left_out(x, truth, folds, 3, 1.0)[:2].tolist() == [1, 1]


def test_a_score_is_the_mean_over_folds_and_a_drawn_group_keeps_its_own() -> None:
    rng = np.random.default_rng(0)
    group, truth = np.repeat(np.arange(5), 12), rng.integers(0, 3, 60)
    predicted = np.where(rng.random(60) < 0.7, truth, rng.integers(0, 3, 60))
    folds = inner_folds(group.tolist(), range(60), truth)
    own = np.array([macro_f1(confusion(truth[group == g], predicted[group == g], 3)) for g in range(5)])
    assert scores_of_folds(truth, predicted, folds, 3) == pytest.approx(own.mean())
    draws = draw_resamples(group.tolist(), range(60), 50, min_groups=MIN_GROUPS)
    assert draws.by == "group"
    expected = (draws.draws * own).sum(1) / 5
    np.testing.assert_allclose(scores_of_folds(truth, predicted, folds, 3, draws), expected)


def test_val_clips_are_one_fold_and_few_groups_are_said_plainly() -> None:
    assert val_fold(list("aab")).count == 1 and val_fold(list("abc")).label == "the val clips of 3 groups"
    said = "fewer than 3, so that bounds are of near-twin sets and say nothing of others"
    assert val_fold(list("aab")).label == f"the val clips of 2 groups, {said}"
