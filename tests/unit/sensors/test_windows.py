"""Windows: what they tell of a sensor, and that no two blocks share a row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.sensors.splits import make_splits
from slimstream.sensors.windows import FEATURES, Windows, cut_windows
from tests.unit.sensors.simulated_logs import read_log, settings, simulated_table


def windows(frame: pd.DataFrame, folder: Path, **changes: object) -> Windows:
    p = settings(**changes)
    return cut_windows(read_log(frame, folder, p), p)


def refusal(frame: pd.DataFrame, folder: Path, **changes: object) -> str:
    with pytest.raises(UserError) as error:
        windows(frame, folder, **changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_features_by_hand() -> None:
    rows = np.array([[[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]]])  # one window, two sensors, three rows
    assert FEATURES["mean"](rows).tolist() == [[3, 5]]
    assert FEATURES["std"](rows)[0] == pytest.approx([np.sqrt(14 / 3), 0])
    assert FEATURES["slope"](rows)[0] == pytest.approx([2.5, 0])  # (6 - 1) / 2


def test_windows_tell_of_their_own_rows(tmp_path: Path) -> None:
    frame = simulated_table(["a", "b"])
    w = windows(frame, tmp_path, folds=4)
    assert w.features.shape == (len(w.state), 12) and w.states == ("a", "b")
    for i in range(len(w.state)):
        rows = frame.iloc[w.first[i] : w.first[i] + w.rows]
        assert set(rows["state"]) == {w.states[w.state[i]]}
        assert w.features[i, :4] == pytest.approx(rows[["s0", "s1", "s2", "s3"]].mean().to_list())


@pytest.mark.parametrize("step", [1, 5, 13])
def test_windows_of_two_blocks_are_a_window_length_apart(tmp_path: Path, step: float) -> None:
    frame = simulated_table(["a", "b", "a"], rows=250)
    frame["t"] += np.where(frame.index > 350, 500, 0)  # a break
    w = windows(frame, tmp_path, step=step, folds=4)
    for block in np.unique(w.block):
        inside = w.first[w.block == block]
        rest = w.first[w.block != block]
        gap = np.maximum(rest - (inside.max() + w.rows), inside.min() - (rest + w.rows))
        assert gap.min() >= w.rows


def test_no_window_reaches_across_a_break_and_a_break_starts_no_run(tmp_path: Path) -> None:
    frame = simulated_table(["a", "b"], rows=250)
    frame["t"] += np.where(frame.index >= 120, 500, 0)
    w = windows(frame, tmp_path, step=1, folds=4)
    assert not np.any((w.first < 120) & (w.first + w.rows > 120))
    assert w.counts()["runs"].tolist() == [1, 1]


def test_skipped_states_leave_a_hole(tmp_path: Path) -> None:
    w = windows(simulated_table(["a", "start-up", "b"]), tmp_path, skip=["start-up"], folds=4)
    assert w.states == ("a", "b")
    assert not np.any((w.first + w.rows > 200) & (w.first < 400))


@pytest.mark.parametrize(
    ("states", "changes", "said"),
    [
        (["a"], {}, "one state only, a"),
        (["a"], {"skip": ["a"]}, "no state that is not skipped"),
        (
            ["a", "b"],
            {"normal": "Normal"},
            "no row has the label 'Normal', set as `normal`; the log's are a, b",
        ),
        (["a", "b"], {"window": 150, "block": 300}, "no stretch of state a lasts two windows of 150 s"),
        (["a", "b"], {"block": 100}, "state a has 2 blocks of 100 s, and 5 folds need 5"),
        (["a", "b"], {"window": 1}, "holds 1 rows of 1 s and needs 3"),
    ],
)
def test_logs_too_short_or_too_poor(
    tmp_path: Path, states: list[str], changes: dict[str, object], said: str
) -> None:
    assert said in refusal(simulated_table(states), tmp_path, **changes)


def test_splits_keep_blocks_and_runs_whole(tmp_path: Path) -> None:
    p = settings(inner=2)
    w = cut_windows(read_log(simulated_table(["a", "b", "c", "a", "b"], rows=300), tmp_path, p), p)
    found = make_splits(w, p)
    blocks, runs = found["blocks"], found["runs"]
    assert blocks.folds == [0, 1, 2, 3, 4]
    for block in np.unique(w.block):
        assert len(set(blocks.fold[w.block == block])) == 1
    for state in range(3):  # stretches: each state's folds follow in time
        inside = blocks.fold[w.state == state]
        assert (np.diff(inside) >= 0).all() and set(inside) == set(range(5))
    # c was seen once, so nothing can be said of another run of it.
    assert set(w.state[runs.fold < 0]) == {2} and len(runs.folds) == 4
    for fold in blocks.folds:
        train = np.flatnonzero(blocks.fold != fold)
        inner = blocks.inner(train)
        for block in np.unique(w.block[train]):
            assert len(set(inner[w.block[train] == block])) == 1


def test_without_repeated_runs_there_is_no_split_by_run(tmp_path: Path) -> None:
    p = settings(folds=4)
    assert "runs" not in make_splits(cut_windows(read_log(simulated_table(["a", "b"]), tmp_path, p), p), p)
