"""What cells come to, on cells made by hand."""

from pathlib import Path

import pandas as pd
import pytest

from slimstream.core.paths import Paths
from slimstream.experiments.tables.results import FinishedCell, Seeds, claim_verdict, difference, interval
from slimstream.experiments.tables.spec import Claim, Spec, Table
from slimstream.experiments.tables.write import order_line, replace_section, write_results

FACTS = {"params": 2e6, "macs": 3e8, "pretrained": False, "device": "CPU", "code": "abc"}


def cells(*by_seed: list[float]) -> Seeds:
    """Cells of folds a, b, … with these accuracies."""
    return [
        [
            FinishedCell(
                fold,
                FACTS | dict.fromkeys(("accuracy", "macro_precision", "macro_recall", "macro_f1"), value),
                50.0,
                Path("curves.csv"),
            )
            for fold, value in zip("abcd", values, strict=False)
        ]
        for values in by_seed
    ]


def claim(**threshold: float) -> Claim:
    return Claim(says="x", table="t", of="new", against=["old"], **threshold)


def test_the_interval_is_students_over_folds() -> None:
    found = interval([0.8, 0.9, 1.0])
    # sd 0.1, n 3, t(0.975, 2) = 4.3027: half width 0.2484
    assert (found.mean, found.low, found.high) == pytest.approx((0.9, 0.6516, 1.1484), abs=1e-4)
    alone = interval([0.8])
    assert alone.mean == 0.8 and alone.low != alone.low


def test_differences_are_paired_over_folds_after_averaging_seeds() -> None:
    found = difference(cells([0.9, 0.5], [0.7, 0.7]), cells([0.7, 0.5]), "accuracy")
    assert found.mean == pytest.approx(0.1) and found.low == pytest.approx(found.high)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ([0.95, 0.96, 0.95, 0.96], "borne out"),
        ([0.70, 0.71, 0.70, 0.71], "contradicted"),
        ([0.60, 0.99, 0.95, 0.80], "not decidable on this data"),
    ],
)
def test_claims_are_decided_by_the_interval(new: list[float], said: str) -> None:
    old = cells([0.90, 0.90, 0.90, 0.90])
    assert claim_verdict(claim(above=-0.02), [difference(cells(new), old, "accuracy")]) == said


def test_below_is_the_mirror_of_above() -> None:
    small, large = interval([0.001, 0.002, 0.001]), interval([0.1, 0.11, 0.1])
    assert claim_verdict(claim(below=0.01), [small]) == "borne out"
    assert claim_verdict(claim(below=0.01), [large]) == "contradicted"
    assert claim_verdict(claim(above=0.0), [large, interval([-0.1, -0.11, -0.1])]) == "contradicted"


def test_one_fold_decides_nothing() -> None:
    assert claim_verdict(claim(above=0.0), [interval([0.5])]) == "not decidable on this data"


def test_sections_are_replaced_between_their_markers_alone() -> None:
    text = replace_section("# Results\n\nby hand\n", "p1", "old")
    text = replace_section(text + "\nmore by hand\n", "p2", "other")
    text = replace_section(text, "p1", "new")
    assert "old" not in text and text.count("p1: begin") == 1
    assert text.index("by hand") < text.index("new") < text.index("more by hand") < text.index("other")
    assert replace_section(text, "p1", "new") == text


def test_a_section_holds_scores_claims_and_what_was_not_run(tmp_path: Path) -> None:
    rows = [
        {"name": "new", "paper": {"accuracy": 90.0}},
        {"name": "old", "paper": {"accuracy": 99.0}},
        {"name": "later"},
    ]
    claims = [
        {"says": "New is better", "table": "t", "of": "new", "against": ["old"], "above": 0.0},
        {"says": "Later is better", "table": "t", "of": "later", "against": ["old"], "above": 0.0},
    ]
    content = {"paper": "p", "title": "A paper", "budgets": {"cpu": {}}, "claims": claims}
    spec = Spec.model_validate(content | {"tables": {"t": {"title": "Table 1", "rows": rows}}})
    done = {"new": cells([0.9, 0.91, 0.9]), "old": cells([0.7, 0.7, 0.71])}
    write_results(spec, Paths(tmp_path), "cpu", lambda _, row: done.get(row, []))
    page = (tmp_path / "docs/results.md").read_text()
    assert "New is better: **borne out**" in page and "Later is better: not run (later)" in page
    assert "The order by accuracy is not the paper's: new > old." in page
    assert "accuracy 99.0" in page and "| later | not run |" in page
    table = pd.read_csv(tmp_path / "docs/results/p-t.csv").set_index("row")
    assert table.loc["new", "accuracy"] == pytest.approx(0.9033, abs=1e-4)
    assert table.loc["new", "folds"] == 3 and table.loc["later", "state"] == "not run"


def test_rows_that_the_paper_ranks_alike_may_come_in_any_order() -> None:
    printed = {"small": 90.0, "large": 90.0, "plain": 88.0}
    rows = [{"name": name, "paper": {"accuracy": accuracy}} for name, accuracy in printed.items()]
    table = Table.model_validate({"title": "Table 1", "rows": rows})
    done = {"small": cells([0.7, 0.8]), "large": cells([0.8, 0.9]), "plain": cells([0.6, 0.7])}
    assert order_line(table, done) == "The order by accuracy is the paper's: large > small > plain."
    assert "is not the paper's" in order_line(table, done | {"plain": cells([0.75, 0.85])})
