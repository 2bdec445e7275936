import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from slimstream.training.metrics import classification as metrics

# Six clips of three classes, judged by hand:  a→a a→b b→b b→b c→c c→a
TRUTH = np.array([0, 0, 1, 1, 2, 2])
PREDICTED = np.array([0, 1, 1, 1, 2, 0])


def test_confusion_counts_truth_in_rows() -> None:
    assert metrics.confusion(TRUTH, PREDICTED, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_macro_f1_by_hand() -> None:
    # F1: a = 2·1/(2+2) = 0.5, b = 2·2/(2+3) = 0.8, c = 2·1/(2+1) = 2/3
    matrix = metrics.confusion(TRUTH, PREDICTED, 3)
    assert metrics.macro_f1(matrix) == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert metrics.accuracy(matrix) == pytest.approx(4 / 6)


def test_macro_f1_of_many_matrices_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, (50, 30)), rng.integers(0, 5, (50, 30))  # no clip of class 4
    matrices = np.stack([metrics.confusion(t, p, 5) for t, p in zip(truth, predicted, strict=True)])
    expected = [
        f1_score(t, p, labels=np.unique(t), average="macro", zero_division=0)
        for t, p in zip(truth, predicted, strict=True)
    ]
    np.testing.assert_allclose(metrics.macro_f1(matrices), expected)


def test_macro_precision_and_recall_of_many_matrices_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 4, (50, 30)), rng.integers(0, 5, (50, 30))  # no clip of class 4
    matrices = np.stack([metrics.confusion(t, p, 5) for t, p in zip(truth, predicted, strict=True)])
    for ours, theirs in (
        (metrics.macro_precision, precision_score),
        (metrics.macro_recall, recall_score),
    ):
        expected = [
            theirs(t, p, labels=np.unique(t), average="macro", zero_division=0)
            for t, p in zip(truth, predicted, strict=True)
        ]
        np.testing.assert_allclose(ours(matrices), expected)


def test_precision_and_recall_of_a_class_by_hand() -> None:
    matrix = np.array([[[6, 2], [1, 3]], [[8, 0], [4, 0]]])  # three of five and three of four; none found
    np.testing.assert_allclose(metrics.precision(matrix)[:, 1], [3 / 5, 0])
    np.testing.assert_allclose(metrics.recall(matrix)[:, 1], [3 / 4, 0])


def test_a_class_without_clips_is_named_and_left_out_of_the_mean() -> None:
    truth, perfect = np.array([0, 0, 2, 2]), np.eye(3)[[0, 0, 2, 2]]
    assert metrics.absent_classes(truth, ["a", "b", "c"]) == ["b"]
    assert metrics.summary(truth, perfect)["macro_f1"] == 1
    rows = metrics.per_class(truth, truth, ["a", "b", "c"])
    assert (rows[1]["f1"], rows[1]["recall"], rows[1]["clips"]) == (None, None, 0)
    # One clip of `a` taken for the absent `b`: F1 of a is 2·1/(2+1), of c 1; b does not enter.
    assert metrics.macro_f1(metrics.confusion(truth, np.array([0, 1, 2, 2]), 3)) == pytest.approx(5 / 6)


def test_summary_by_hand() -> None:
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    s = metrics.summary(truth, probabilities)
    assert s["accuracy"] == 0.75
    assert s["macro_recall"] == pytest.approx((0.5 + 1) / 2)
    assert s["macro_precision"] == pytest.approx((1 + 2 / 3) / 2)
    # Brier: (0.1²·2 + 0.6²·2 + 0.2²·2 + 0.3²·2) / 4
    assert s["brier"] == pytest.approx(2 * (0.01 + 0.36 + 0.04 + 0.09) / 4)
    # One clip a bin: |0 − 0.6|, |1 − 0.7|, |1 − 0.8|, |1 − 0.9|
    assert s["ece"] == pytest.approx((0.6 + 0.3 + 0.2 + 0.1) / 4)


def test_reliability_bins_hold_equally_many_clips() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 52)
    bins = metrics.reliability(rng.integers(0, 3, 52), probabilities)
    assert sorted(b["clips"] for b in bins) == [10, 10, 10, 11, 11]
    assert [b["confidence"] for b in bins] == sorted(b["confidence"] for b in bins)


def test_preferred_by_validation_then_brier() -> None:
    assert metrics.preferred_model({"pruned.val_macro_f1": 0.9, "distilled.val_macro_f1": 0.8}) == "pruned"
    assert metrics.preferred_model({"pruned.val_macro_f1": 0.9}) == "pruned"
    tie = {"pruned.val_macro_f1": 0.9, "distilled.val_macro_f1": 0.9}
    assert metrics.preferred_model(tie) == "distilled"
    assert metrics.preferred_model({**tie, "pruned.val_brier": 0.1, "distilled.val_brier": 0.2}) == "pruned"
    assert metrics.preferred_model({"original.val_macro_f1": 1.0}) is None
    slim = {"slim.val_macro_f1": 0.9, **tie}
    assert metrics.preferred_model(slim) == "distilled"
    assert metrics.preferred_model(slim, ["slim", "pruned"]) == "pruned", "the order of the list is not asked"
    assert metrics.preferred_model(slim, ["slim"]) == "slim"
    assert metrics.preferred_model(tie, ["slim"]) is None


def test_clips_vote_by_their_mean() -> None:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.45, 0.55], [0.2, 0.8]])
    first, votes = metrics.average_by_video(probabilities, ["b", "a", "b", "b"])
    assert first.tolist() == [1, 0], "videos come sorted"
    np.testing.assert_allclose(votes, [[0.4, 0.6], [1.55 / 3, 1.45 / 3]])
    alone, same = metrics.average_by_video(probabilities, list("abcd"))
    assert alone.tolist() == [0, 1, 2, 3] and np.array_equal(same, probabilities)
