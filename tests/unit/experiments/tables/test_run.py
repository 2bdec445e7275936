"""What counts as a finished seed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from slimstream.experiments.tables.run import finished_cells


def test_what_draws_nothing_has_one_seed() -> None:
    """A head in closed form: its cells are the same whatever the seed."""

    def cells(where: Any, seed: int) -> list[Any]:
        return [SimpleNamespace(scores=Path(f"{where}-{fold}"), done=lambda: "scores") for fold in range(4)]

    assert finished_cells(cells, ("t", "closed"), range(5)) == [["scores"] * 4]  # type: ignore[comparison-overlap]


def test_a_seed_counts_when_all_of_its_folds_are_there() -> None:
    def cells(where: Any, seed: int) -> list[Any]:
        there = [True, seed < 2]
        return [
            SimpleNamespace(scores=Path(f"{seed}-{fold}"), done=lambda fold=fold: there[fold] or None)
            for fold in range(2)
        ]

    assert len(finished_cells(cells, ("t", "drawn"), range(5))) == 2


def test_a_replicate_that_is_not_rendered_yet_is_not_finished() -> None:
    def cells(where: Any, number: int) -> list[Any]:
        done = SimpleNamespace(scores=Path(f"{number}"), done=lambda: f"scores {number}")
        return [done] if number != 1 else []

    assert finished_cells(cells, ("t", "row"), range(3)) == [["scores 0"], ["scores 2"]]  # type: ignore[comparison-overlap]
