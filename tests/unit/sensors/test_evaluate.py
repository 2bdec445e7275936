"""Blocks keep a split honest: noise is judged at chance, and settings never see the judged windows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from slimstream.sensors import evaluate
from slimstream.sensors.methods import Method, methods
from slimstream.sensors.settings import SensorRecipe
from slimstream.sensors.splits import WindowSplit, make_splits
from slimstream.sensors.windows import Windows, cut_windows
from slimstream.training.metrics import classification as metrics
from slimstream.training.metrics.intervals import percentile_interval
from tests.unit.sensors.simulated_logs import read_log, settings, simulated_table


def windows(frame: pd.DataFrame, folder: Path, p: SensorRecipe) -> Windows:
    return cut_windows(read_log(frame, folder, p), p)


def judged(method: Method, w: Windows, split: WindowSplit) -> np.ndarray:
    guess = np.zeros_like(w.state)
    for fold in split.folds:
        guess[split.fold == fold] = evaluate.classify(method, w, split, fold, 1)[0]
    return guess


@pytest.mark.parametrize("name", ["pca", "svm", "random_forest"])
def test_states_with_a_mean_of_their_own_are_told_apart(tmp_path: Path, name: str) -> None:
    p = settings()
    w = windows(simulated_table(["a", "b", "c"], rows=400), tmp_path, p)
    guess = judged(methods(p, w.features.shape[1])[name], w, make_splits(w, p)["blocks"])
    assert (guess == w.state).mean() > 0.9


def test_noise_with_random_labels_is_at_chance_by_blocks_and_not_at_random(tmp_path: Path) -> None:
    """The leak test: independent noise, labels drawn per block, windows that overlap by nine tenths."""
    p = settings(window=20, step=2, block=40)
    labels = [str(label) for label in np.random.default_rng(1).permutation(np.repeat(["a", "b"], 20))]
    frame = simulated_table(labels, rows=60, shift=0, ar=0)
    w = windows(frame, tmp_path, p)
    found, method = make_splits(w, p), methods(p, w.features.shape[1])["svm"]
    share = {
        name: (judged(method, w, found[name]) == w.state).mean() for name in ("blocks", "runs", "random")
    }
    assert share["random"] > 0.8
    assert 0.35 < share["blocks"] < 0.65 and 0.35 < share["runs"] < 0.65


def test_settings_are_chosen_without_the_judged_windows(tmp_path: Path) -> None:
    p = settings()
    w = windows(simulated_table(["a", "b"], rows=400), tmp_path, p)
    split = make_splits(w, p)["blocks"]
    learnt: list[np.ndarray] = []

    class Spy:
        def fit(self, x: np.ndarray, y: np.ndarray) -> "Spy":
            learnt.append(x)
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.zeros(len(x), np.int64)

    evaluate.classify(Method(({"c": 1}, {"c": 2}), lambda config, seed: Spy()), w, split, 0, seeds=2)
    hidden = {row.tobytes() for row in w.features[split.fold == 0]}
    assert len(learnt) == 2 * p.inner + 2
    assert not any(row.tobytes() in hidden for x in learnt for row in x)


def test_the_first_of_equal_configurations_is_chosen(tmp_path: Path) -> None:
    p = settings()
    w = windows(simulated_table(["a", "b"], rows=400), tmp_path, p)
    train = np.arange(len(w.state))
    known = methods(p, w.features.shape[1])["majority"]
    twice = Method(({"n": 1}, {"n": 2}), known.build)
    assert evaluate.choose_config(twice, w, train, make_splits(w, p)["blocks"].inner(train)) == {"n": 1}


def test_the_detector_finds_a_shifted_state_and_leaves_the_normal_one_alone(tmp_path: Path) -> None:
    p = settings(normal="a", folds=4)
    frame = simulated_table(["a", "b"], rows=3000, shift=0, ar=0)
    frame.loc[frame["state"] == "b", "s2"] += 3
    w = windows(frame, tmp_path, p)
    split = make_splits(w, p)["blocks"]
    alarms = np.zeros((len(w.state), 3), bool)
    size = np.zeros((len(w.state), 2))
    for fold in split.folds:
        watch = evaluate.detect(p.detector, w, 0, split, fold)
        assert set(watch.alarms) == {
            (how, level) for how in ("theory", "empirical") for level in (0.95, 0.99)
        }
        alarms[split.fold == fold] = watch.alarms["empirical", 0.99]
        size[split.fold == fold] = watch.statistics
    assert (alarms[:, 2] == alarms[:, :2].any(1)).all()
    r = evaluate.resample_windows(w, split, 100)
    found = evaluate.alarm_scores(w.state, alarms[:, 2].astype(int), size.max(1), r)
    assert found["detection_rate"] > 0.99 and found["auc"] > 0.99
    assert found["false_alarm_rate"] < 0.06
    assert found["false_alarm_rate_low"] <= found["false_alarm_rate"] <= found["false_alarm_rate_high"]


def test_areas_equal_scikit_learn_on_every_resample() -> None:
    rng = np.random.default_rng(0)
    fault, unit = rng.integers(0, 2, 60), rng.integers(0, 9, 60)
    size = rng.integers(0, 10, 60).astype(float) + fault  # with ties
    drawn = rng.multinomial(9, np.full(9, 1 / 9), size=5)
    expected = [roc_auc_score(fault, size, sample_weight=draw[unit]) for draw in drawn]
    np.testing.assert_allclose(evaluate.roc_areas(fault, size, unit, drawn), expected)


def test_scores_are_means_over_seeds_with_one_draw_for_all(tmp_path: Path) -> None:
    p = settings()
    w = windows(simulated_table(["a", "b"], rows=400), tmp_path, p)
    r = evaluate.resample_windows(w, make_splits(w, p)["blocks"], 200)
    flat = np.zeros_like(w.state)
    one, both = (
        evaluate.classification_scores(w.state, np.stack(many), 2, r) for many in ([flat], [flat, w.state])
    )
    assert both["accuracy"] == pytest.approx((one["accuracy"] + 1) / 2)
    assert both["accuracy_low"] == pytest.approx((one["accuracy_low"] + 1) / 2)
    assert percentile_interval(np.array([1.0, 1.0])) == (1, 1) and one["macro_recall"] == 0.5
    assert one["macro_precision"] == pytest.approx(metrics.accuracy(metrics.confusion(w.state, flat, 2)) / 2)
