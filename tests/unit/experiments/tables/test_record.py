"""What is left of finished cells on another machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from slimstream.core.errors import UserError
from slimstream.experiments.tables.record import read_cells, write_cells
from tests.unit.experiments.tables.cells_by_hand import finished


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cell = finished("007", 0.125, confusion=[[3, 1], [0, 4]])
    cell = replace(cell, key="12345678e9012345", curves={"epoch": [1.0, 2.0], "val_loss": [0.5, 0.25]})
    timed = replace(cell, key="b", seed=7, scores=cell.scores | {"latency_p50_ms": 1.5})
    file = tmp_path / "cells.csv"
    assert read_cells(file) == {}
    write_cells(file, {("t", "one"): [cell], ("t", "two"): [timed]}, {("t", "one")})
    assert read_cells(file) == {cell.key: cell, "b": replace(timed, curves={})}


def test_a_cell_of_two_rows_keeps_the_curves_of_the_one_that_is_drawn(tmp_path: Path) -> None:
    cell, file = replace(finished("a", 0.5), curves={"epoch": [1.0]}), tmp_path / "cells.csv"
    write_cells(file, {("t", "drawn"): [cell], ("u", "not"): [cell]}, {("t", "drawn")})
    assert read_cells(file)[cell.key].curves == {"epoch": [1.0]}


def test_lines_of_other_settings_stay(tmp_path: Path) -> None:
    """Whoever tries another setting, or other clips, and takes it back finds what was computed before."""
    file, cell = tmp_path / "cells.csv", finished("007", 0.123456789)
    old = replace(cell, key="8e9", scores=cell.scores | {"latency_p50_ms": 1.5})
    write_cells(file, {("t", "one"): [old]}, set())
    new = replace(cell, key="b", training=51.0)
    write_cells(file, {("t", "one"): [new]}, set())
    write_cells(file, {("t", "one"): [new]}, set())
    lines = file.read_text().splitlines()
    assert len(lines) == 3 and lines[1].split(",")[5] == "b", "those of today come first"
    assert read_cells(file).keys() == {"8e9", "b"} and read_cells(file)["8e9"].scores["latency_p50_ms"] == 1.5


def test_an_unfinished_merge_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "cells.csv"
    write_cells(file, {("t", "one"): [finished("a", 0.5)]}, set())
    file.write_text(file.read_text() + "<<<<<<< HEAD\n")
    with pytest.raises(UserError, match=r"cells.csv has lines '<<<<<<< HEAD' of an unfinished merge"):
        read_cells(file)


def test_nothing_finished_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "cells.csv"
    write_cells(file, {("t", "one"): [finished("a", 0.5)]}, set())
    before = file.read_text()
    write_cells(file, {("t", "one"): []}, set())
    assert file.read_text() == before
