"""Which numbers of a row count as finished."""

from types import SimpleNamespace
from typing import Any

from slimstream.experiments.tables.run import finished_cells


def cell(key: str, scores: str | None) -> Any:
    return SimpleNamespace(key=key, scores=scores)


def scores_of(cell: Any) -> Any:
    return cell.scores


def test_what_draws_nothing_has_one_seed() -> None:
    """A head in closed form: its cells are the same whatever the seed."""
    found = finished_cells(
        lambda where, seed: [cell(f"fold{fold}", "scores") for fold in range(4)],
        ("t", "closed"),
        range(5),
        scores_of,
    )
    assert found == [["scores"] * 4]  # type: ignore[comparison-overlap]


def test_a_seed_counts_when_all_of_its_folds_are_there() -> None:
    there = {("seed0", 0), ("seed0", 1), ("seed1", 0), ("seed2", 0), ("seed2", 1)}
    found = finished_cells(
        lambda where, seed: [
            cell(f"seed{seed} {fold}", f"{seed} {fold}" if (f"seed{seed}", fold) in there else None)
            for fold in range(2)
        ],
        ("t", "drawn"),
        range(5),
        scores_of,
    )
    assert found == [["0 0", "0 1"], ["2 0", "2 1"]]  # type: ignore[comparison-overlap]
