"""What the benchmarks count with: ratios in turns, and a table that says what was missed."""

import re
import time
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.__main__ import PARTS, row
from benchmarks.compare import Result, compare_times, ratio_result
from benchmarks.front import picture
from benchmarks.plants import bench_sheet, pellet_sheet, rig_sheet
from slimstream.core.paths import Paths
from tests.unit.stages.evaluate.report.fake_report import candidates


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have left in this process takes a second to go through, every time."""
    monkeypatch.setattr("benchmarks.compare.gc.collect", lambda: 0)


def test_a_ratio_is_that_of_the_times() -> None:
    compared = compare_times(
        "sleep", ("long", lambda: time.sleep(0.03)), ("short", lambda: time.sleep(0.01)), rounds=3
    )
    assert compared.ratio > 2  # the median of three: another process may hold up one of them
    assert compared.low <= compared.ratio <= compared.high
    assert compared.reached is None


def test_each_goes_first_in_every_other_round() -> None:
    order: list[str] = []
    compare_times(
        "x", ("a", lambda: order.append("a")), ("b", lambda: order.append("b")), rounds=4, warm_up=0
    )
    assert "".join(order) == "abbaabba"


@pytest.mark.parametrize(("most", "said"), [(0.5, "**missed**"), (0.7, "reached"), (None, "| a note |")])
def test_the_table_says_what_was_missed(most: float | None, said: str) -> None:
    compared = ratio_result("part", "ours", "peer", [0.4, 0.8, 0.6], most=most, note="a note")
    assert (compared.ratio, compared.low, compared.high) == (0.6, 0.4, 0.8)
    assert said in row(compared) and "**0.600**" in row(compared)
    assert row(Result("p", "o", "q", 1, 1, 1)).count("|") == 8


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_a_program_and_in_the_readme(part: str) -> None:
    folder = Path(__file__).parents[2] / "benchmarks"
    assert "def run(" in (folder / f"{part}.py").read_text()
    assert f"({part}.py)" in (folder / "README.md").read_text()


def test_the_picture_of_the_readme_is_of_the_rig_alone_and_has_its_own_colours(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.params.write_text("ingest: {source: rig}\n")
    with pytest.raises(SystemExit, match=r"search.csv has no candidates; run `make demo` first"):
        picture(paths)
    paths.curves("search").parent.mkdir()
    pd.DataFrame(candidates()).to_csv(paths.curves("search"), index=False)
    drawn = picture(paths)
    asked = set(re.findall(r"var\((--\w+)\)", drawn))
    assert asked and all(f"{name}:" in drawn for name in asked) and drawn.startswith("<svg")
    paths.params.write_text("ingest: {source: /data/plant}\n")
    with pytest.raises(SystemExit, match="not those of the rig"):
        picture(paths)


def test_the_sheets_of_the_plants_have_a_row_of_each_class() -> None:
    sheets = rig_sheet(2, 0.2), bench_sheet(2, 1.0), pellet_sheet(1, 2)
    assert [drawn.shape for drawn in sheets] == [(360, 416, 3), (600, 416, 3), (200, 296, 3)]
    assert all((drawn[:, :96] < 100).any() for drawn in sheets), "titles"
