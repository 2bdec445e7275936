"""Pages, CSV and the summary of results, from cells made by hand."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from slimstream.core.paths import Paths
from slimstream.experiments.tables.cells import DataSource
from slimstream.experiments.tables.protocols import FLATTERS, Folds, Replicates, Splits
from slimstream.experiments.tables.results import Seeds
from slimstream.experiments.tables.rows import network_cost
from slimstream.experiments.tables.spec import Spec
from slimstream.experiments.tables.write import replace_section, write_results
from tests.unit.experiments.tables.cells_by_hand import cells, replicates

CONTENT: dict[str, Any] = {
    "paper": "p",
    "title": "A paper",
    "budgets": {"cpu": {}},
    "simulated": {"plant": "rig", "settings": {"split": {"group_by": ["recording"]}}},
    "tables": {
        "t": {
            "title": "Table 1",
            "note": "The clips are few.",
            "note_simulated": "The bubbles are alike.",
            "rows": [
                {"name": "new", "paper": {"accuracy": 90.0}},
                {"name": "old", "paper": {"accuracy": 99.0}},
                {"name": "later"},
            ],
        }
    },
    "claims": [
        {"says": "New is better", "table": "t", "of": "new", "against": ["old"], "above": 0.0},
        {"says": "Later is better", "table": "t", "of": "later", "against": ["old"], "above": 0.0},
    ],
}
DONE: dict[tuple[str, str], Seeds] = {
    ("t", "new"): cells([0.9, 0.91, 0.9]),
    ("t", "old"): cells([0.7, 0.7, 0.71]),
}


@pytest.fixture
def spec() -> Spec:
    return Spec.model_validate(CONTENT)


@pytest.fixture
def data(tmp_path: Path) -> DataSource:
    paths = Paths(tmp_path)
    paths.clips.parent.mkdir()
    paths.clips.touch()
    return DataSource.of_checkout(paths)


def test_a_page_holds_scores_claims_and_what_was_not_run(
    tmp_path: Path, spec: Spec, data: DataSource
) -> None:
    page = write_results(Folds(spec, "cpu", data), Paths(tmp_path), DONE)
    assert page == (tmp_path / "docs/results/p.md").read_text()
    assert "| New is better | -9.0 points | +20.0 (+17.5 to +22.5) | **borne out** |" in page
    assert "| Later is better |  | not run: later | **not run** |" in page
    assert "The order by accuracy is not the paper's (1 of 1 pairs differ beyond their intervals" in page
    assert "accuracy 99.0" in page and "| later | not run |" in page
    assert "The clips are few." in page and "bubbles" not in page
    table = pd.read_csv(tmp_path / "docs/results/p-t.csv").set_index("row")
    assert table.loc["new", "accuracy"] == pytest.approx(0.9033, abs=1e-4)
    assert table.loc["new", "folds"] == 3 and table.loc["later", "state"] == "not run"


def test_simulated_numbers_are_named_so_and_head_the_summary(
    tmp_path: Path, spec: Spec, data: DataSource
) -> None:
    paths = Paths(tmp_path)
    write_results(Folds(spec, "cpu", data), paths, DONE)
    summary = tmp_path / "docs/results.md"
    assert "**borne out** | [on real clips, in folds](results/p.md) |" in summary.read_text()
    done = {("t", "new"): replicates(0.6, 0.61, 0.6), ("t", "old"): replicates(0.8, 0.81, 0.8)}
    page = write_results(Replicates(spec, "cpu", "rig", 3, paths), paths, done)
    assert page.startswith("# A paper, on the simulated plant rig\n") and "All clips are simulated" in page
    assert "The bubbles are alike." in page and "3 replicates" in page
    assert pd.read_csv(tmp_path / "docs/results/p-t-rig.csv")["replicates"][0] == 3
    (line,) = [line for line in summary.read_text().splitlines() if "New is better" in line]
    assert line.endswith("**contradicted** | [on the simulated plant rig](results/p-rig.md) |")


def test_as_printed_stands_beside_the_honest_number(tmp_path: Path, spec: Spec, data: DataSource) -> None:
    paths = Paths(tmp_path)
    splits = Splits(spec, "cpu", data, 2, (0.7, 0.0, 0.3))
    page = write_results(splits, paths, {("t", "new"): replicates(0.98, 0.99)})
    assert f"**{FLATTERS}**" in page and "7:3 splits" in page
    page = write_results(Folds(spec, "cpu", data), paths, DONE)
    assert f"accuracy, split as printed ({FLATTERS})" in page
    assert "0.985" in next(line for line in page.splitlines() if line.startswith("| new |"))


def test_networks_are_counted_without_a_run() -> None:
    rows = [
        {"name": "student", "model": "distilled", "set": {"distill": {"student": "scratch"}}},
        {"name": "teacher", "model": "teachers/one"},
        {"name": "pruned", "model": "pruned"},
    ]
    settings = {
        "extract": {"frames": 1, "size": [50, 50], "flow": "none", "grey": True},
        "train": {"model": "light_residual_net_small"},
        "teachers": {"one": {"model": "vgg16", "model_args": {"width": 0.25}}},
    }
    content = CONTENT | {"settings": settings, "tables": {"t": {"title": "", "rows": rows}}, "claims": []}
    spec = Spec.model_validate(content)
    student, teacher, pruned = (network_cost(spec, row, "cpu") for row in spec.tables["t"].rows)
    assert 0 < student["params"] < teacher["params"] and 0 < student["macs"] < teacher["macs"]
    assert pruned == {}


def test_sections_are_replaced_between_their_markers_alone() -> None:
    text = replace_section("# Results\n\nby hand\n", "p1", "old")
    text = replace_section(text + "\nmore by hand\n", "p2", "other")
    text = replace_section(text, "p1", "new")
    assert "old" not in text and text.count("p1: begin") == 1
    assert text.index("by hand") < text.index("new") < text.index("more by hand") < text.index("other")
    assert replace_section(text, "p1", "new") == text
