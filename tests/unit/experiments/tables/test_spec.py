"""Tables as data: what a mistake is told, and that every row can be built."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments.tables.run import check_rows
from slimstream.experiments.tables.spec import Row, Spec, listing, load_spec, load_specs, seeded

ROOT = Path(__file__).parents[4]
PAPERS = ("p1", "p2", "p3")
BUDGETS = {"p1": ("cpu", "paper"), "p2": ("cpu", "paper"), "p3": ("cpu", "gpu", "paper")}


def rows(paper: str) -> list[tuple[str, Row]]:
    return [(name, row) for name, table in load_spec(paper, Paths(ROOT)).tables.items() for row in table.rows]


def test_a_seed_reaches_every_training() -> None:
    settings = {
        "train": {"fit": {"seed": 1}},
        "teachers": {"vgg": {"fit": {"seed": 0}}},
        "split": {"seed": 0},
    }
    assert seeded(settings, 2) == {
        "train": {"fit": {"seed": 3}},
        "teachers": {"vgg": {"fit": {"seed": 2}}},
        "split": {"seed": 0},
    }


def test_teachers_are_the_same_for_all_seeds_unless_they_are_judged() -> None:
    spec = load_spec("p3", Paths(ROOT))
    judged, student = (
        next(r for _, r in rows("p3") if r.name == name) for name in ("VGG-16", "student alone")
    )
    taught = spec.params(student, "cpu", 2)
    assert taught.distill.fit.seed == taught.train.fit.seed == 2 and taught.teachers["vgg16"].fit.seed == 0
    assert spec.params(judged, "cpu", 2).teachers["vgg16"].fit.seed == 2


def test_a_row_of_a_claim_must_exist() -> None:
    tables = {"t": {"title": "", "rows": [{"name": "one"}]}}
    claim = {"says": "x", "table": "t", "of": "one", "against": ["two"], "above": 0}
    with pytest.raises(ValueError, match="no row 'two'"):
        Spec.model_validate({"title": "", "budgets": {}, "tables": tables, "claims": [claim]})


def test_a_figure_may_not_have_the_name_of_a_table() -> None:
    """Its CSV replaced that of the table."""
    content = {"title": "", "budgets": {}, "tables": {"t": {"title": "", "rows": [{"name": "one"}]}}}
    figures = {"t": {"title": "", "table": "t", "rows": ["one"]}}
    with pytest.raises(ValueError, match="a table and a figure are called 't'"):
        Spec.model_validate(content | {"figures": figures})


def test_unknown_papers_and_budgets_name_those_there_are() -> None:
    with pytest.raises(UserError, match="p1, p2, p3, all"):
        load_specs("p9", Paths(ROOT))
    assert [spec.paper for spec in load_specs("all", Paths(ROOT))] == ["p1", "p2", "p3"]
    with pytest.raises(UserError, match="paper, cpu"):
        listing(load_spec("p1", Paths(ROOT)), "gpu")


@pytest.mark.parametrize(
    ("paper", "budget"),
    [
        pytest.param(paper, budget, marks=[pytest.mark.box] if budget == "paper" else [])
        for paper in PAPERS
        for budget in BUDGETS[paper]
    ],
)
def test_every_row_can_be_run(paper: str, budget: str) -> None:
    """Its settings fit, and its networks can be built, see such clips and have what the objective needs."""
    check_rows(load_spec(paper, Paths(ROOT)), [row for _, row in rows(paper)], budget, Paths(ROOT))


def test_a_row_that_cannot_be_is_said_by_its_name() -> None:
    spec = load_spec("p3", Paths(ROOT))
    for sections, words in (
        ({"train": {"model": "light_residual_nett"}}, "did you mean 'light_residual_net'"),
        ({"train": {"model": "two_stream_mobilevit"}}, "grey pictures"),
        ({"train": {"fit": {"epoch": 3}}}, "did you mean 'epochs'"),
    ):
        with pytest.raises(UserError, match=f"p3, row 'odd': .*{words}"):
            check_rows(spec, [Row(name="odd", set=sections)], "cpu", Paths(ROOT))


def test_recipes_are_plain_data() -> None:
    for paper in PAPERS:
        content = YAML(typ="safe").load((ROOT / f"recipes/tables/{paper}.yaml").read_text())
        assert set(content["budgets"]) == set(BUDGETS[paper])
