"""What cells come to, on cells made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from slimstream.experiments.tables.results import (
    above_floor,
    by_fold,
    difference,
    interval,
    units_for_width,
    units_needed,
    with_defect,
)
from tests.unit.experiments.tables.cells_by_hand import cells, replicates


def test_the_interval_is_students_over_folds() -> None:
    found = interval([0.8, 0.9, 1.0])
    # sd 0.1, n 3, t(0.975, 2) = 4.3027: half width 0.2484
    assert (found.mean, found.low, found.high) == pytest.approx((0.9, 0.6516, 1.1484), abs=1e-4)
    alone = interval([0.8])
    assert alone.mean == 0.8 and not alone.known and str(alone) == "0.800"


def test_the_interval_of_overlapping_splits_is_that_of_nadeau_and_bengio() -> None:
    found = interval([0.8, 0.9, 1.0], overlap=3 / 7)
    # sqrt(1/3 + 3/7) = 0.8729 instead of sqrt(1/3): half width 4.3027 * 0.1 * 0.8729
    assert found.high - found.mean == pytest.approx(0.37557, abs=1e-4)


def test_differences_are_paired_over_folds_after_averaging_seeds() -> None:
    found = difference(cells([0.9, 0.5], [0.7, 0.7]), cells([0.7, 0.5]), "accuracy")
    assert found.mean == pytest.approx(0.1) and found.low == pytest.approx(found.high)


def test_replicates_are_paired_by_their_number() -> None:
    found = difference(replicates(0.9, 0.8, 0.7), replicates(0.8, 0.7), "accuracy")
    assert (found.mean, found.units) == (pytest.approx(0.1), 2)


@pytest.mark.parametrize(
    ("metric", "floor"), [("accuracy", 0.75), ("macro_recall", 0.5), ("macro_precision", 0.375)]
)
def test_the_floor_is_always_naming_the_commonest_class(metric: str, floor: float) -> None:
    """Three of four clips are of the first class, whatever was predicted."""
    seeds = replicates(0.8, 0.8, confusion=[[1, 2], [0, 1]])
    assert above_floor(seeds, metric).mean == pytest.approx(0.8 - floor)


def test_the_commonest_class_is_that_of_all_test_clips() -> None:
    """Each fold has clips of one class alone: always naming one class is right in two of three folds."""
    (a, b), (c,) = (
        cells([1.0, 1.0], confusion=[[4, 0], [0, 0]])[0],
        cells([1.0], confusion=[[0, 0], [0, 2]])[0],
    )
    assert above_floor([[a, b, replace(c, fold="c")]], "accuracy").mean == pytest.approx(1 / 3)


def test_a_fold_without_defects_says_nothing_of_them() -> None:
    one, other = cells([0.7, 0.7], confusion=[[3, 1], [0, 0]])[0]
    assert "defect_recall" not in with_defect(one, "b").scores
    seen = replace(other, scores=other.scores | {"confusion": [[3, 1], [1, 2]]})
    assert by_fold([[with_defect(one, "b"), with_defect(seen, "b")]], "defect_recall") == {
        "b": pytest.approx(2 / 3)
    }


def test_the_class_of_defects_has_its_own_precision_and_recall() -> None:
    """3 of 4 clips of class a are found, and 3 of 4 that are called so are; no clip is NG."""
    (cell,) = replicates(0.7, confusion=[[3, 1], [1, 2]])[0]
    of_a = with_defect(cell, "a").scores
    assert (of_a["defect_precision"], of_a["defect_recall"]) == (0.75, 0.75)
    of_b = with_defect(cell, "b").scores
    assert (of_b["defect_precision"], of_b["defect_recall"]) == pytest.approx((2 / 3, 2 / 3))
    assert with_defect(cell, "NG") == cell


def test_always_naming_the_defect_is_no_recall_to_be_proud_of() -> None:
    seeds = [
        [with_defect(cell, "a") for cell in cells]
        for cells in replicates(0.75, 0.75, confusion=[[3, 0], [1, 0]])
    ]
    assert above_floor(seeds, "defect_recall").mean == pytest.approx(0.0)


def test_the_interval_of_one_of_several_comparisons_is_wider() -> None:
    found = interval([0.8, 0.9, 1.0])
    # t(1 - 0.025 / 3, 2) = 7.6488 instead of 4.3027
    assert found.widened(3).high - 0.9 == pytest.approx(0.4416, abs=1e-4)
    assert found.widened(1) == found and interval([0.8]).widened(3).mean == 0.8


def test_so_many_replicates_show_the_effect_four_times_in_five() -> None:
    # The textbook case: an effect as large as the spread needs 10 pairs; half as large, 34.
    assert (units_needed(0.1, 0.1), units_needed(0.1, 0.05)) == (10, 34)
    assert units_needed(0.0, 0.01) == 2
    assert units_needed(0.1, 1e-4) is None and units_needed(0.1, -0.1) is None


def test_so_many_units_make_an_interval_so_narrow() -> None:
    count = units_for_width(0.1, 0.05)
    assert count == 18, "t(0.975, 17) · 0.1 / √18 is 0.0497, and with 17 it is 0.0514"
    assert units_for_width(0.0, 0.01) == 2 and units_for_width(0.1, 1e-4) is None


def test_the_power_is_that_of_drawn_samples() -> None:
    rng = np.random.default_rng(0)
    shown = [interval(rng.normal(0.1, 0.1, 10).tolist()).low > 0 for _ in range(400)]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.06)
