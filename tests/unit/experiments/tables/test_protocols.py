"""Which clips a row learns from and is judged on."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments.stage_runs import hash_key
from slimstream.experiments.tables.asked import Asked, open_protocol, with_answers
from slimstream.experiments.tables.cells import DataSource
from slimstream.experiments.tables.protocols import Replicates, Splits
from slimstream.experiments.tables.spec import Row, Spec, load_spec
from slimstream.stages.ingest.plants.rig import RigClip

ROOT = Path(__file__).parents[4]
REAL: dict[str, Any] = {
    "paper": "p",
    "title": "",
    "budgets": {"cpu": {"train": {"fit": {"epochs": 5}}}},
    "tables": {"t": {"title": "", "rows": [{"name": "one"}, {"name": "two"}]}},
    "as_printed": {"splits": 3, "budgets": {"cpu": {"train": {"fit": {"epochs": 60}}}}},
}
SIMULATED: dict[str, Any] = {
    "plant": "rig",
    "replicates": 3,
    "others": 2,
    "settings": {"ingest": {"rig": {"recordings": 5, "seed": 1000}}, "split": {"group_by": ["recording"]}},
    "quick": {"ingest": {"rig": {"recordings": 4}}},
}
CLAIM = {"says": "x", "table": "t", "of": "one", "above": 0.5}


def spec(**more: Any) -> Spec:
    return Spec.model_validate(REAL | more)


@pytest.fixture
def clips(tmp_path: Path) -> pd.DataFrame:
    """60 clips of two classes, of which every third is a near twin of the one before."""
    paths = Paths(tmp_path)
    paths.clips.parent.mkdir()
    names = [f"{n:02d}" for n in range(60)]
    twins = [f"{n - n % 3 // 2:02d}" for n in range(60)]
    table = pd.DataFrame({"id": names, "sha256": names, "twin": twins, "label": ["a", "b", "b"] * 20})
    table.to_parquet(paths.clips)
    return table


def test_random_splits_keep_near_twins_together_in_the_printed_shares(
    tmp_path: Path, clips: pd.DataFrame
) -> None:
    data, found = DataSource.of_checkout(Paths(tmp_path)), []
    splits = Splits(spec(), "cpu", data, 3, (0.7, 0.2, 0.1))
    for number in range(3):
        (cell,) = splits.cells(Row(name="one"), number)
        parts = cell.clips["printed"]
        assert cell.params.split.given == "printed" and cell.params.train.fit.seed == number
        assert parts.groupby(clips["twin"]).nunique().eq(1).all()
        shares = parts.value_counts(normalize=True)
        assert shares[["train", "val", "test"]].tolist() == pytest.approx([0.7, 0.2, 0.1], abs=0.05)
        found.append(hash_key(parts.tolist()))
    assert len(set(found)) == 3
    assert splits.overlap == pytest.approx(1 / 7)  # nothing is learnt from val
    assert Splits(spec(), "cpu", data, 3, (0.7, 0.0, 0.3)).overlap == pytest.approx(0.3 / 0.56)


def test_a_cell_of_a_replicate_depends_on_how_its_clips_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    under = with_answers(spec(simulated=SIMULATED), Asked())
    keys = []
    for version in (1, 2):
        monkeypatch.setattr(RigClip, "version", version)
        (cell,) = Replicates(under, "cpu", "rig", 3, Paths(tmp_path)).cells(Row(name="one"), 0)
        keys.append(cell.key)
    assert keys[0] != keys[1]


def test_the_sections_of_a_protocol_come_after_the_budget() -> None:
    under = with_answers(spec(simulated=SIMULATED), Asked(source="/clips", as_printed=True))
    assert under.params(under.tables["t"].rows[0], "cpu").train.fit.epochs == 60
    folds = with_answers(spec(simulated=SIMULATED), Asked(source="/clips"))
    assert folds.params(folds.tables["t"].rows[0], "cpu").train.fit.epochs == 5


def test_a_replicate_has_its_own_clips_and_weights(tmp_path: Path) -> None:
    under = with_answers(spec(simulated=SIMULATED), Asked())
    first, second = (under.replicate(under.tables["t"].rows[0], "cpu", number) for number in (0, 1))
    assert (first.ingest.source, first.ingest.rig.seed, second.ingest.rig.seed) == ("rig", 1000, 1001)
    assert (first.train.fit.seed, second.train.fit.seed) == (0, 1)
    plant = open_protocol(under, "cpu", Asked(), Paths(tmp_path))
    assert isinstance(plant, Replicates)
    (cell,), (again,), (next_,) = (plant.cells(Row(name="one"), number) for number in (0, 0, 1))
    assert (cell.number, cell.seed, next_.seed) == (0, 1000, 1001) and cell.key == again.key != next_.key
    assert not plant.ready(0) and cell.done() is None and not list(tmp_path.iterdir()), "nothing is rendered"
    assert plant.suffix == "-rig" and "simulated" in plant.heading


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        ("p1", "see 8 frames of 96 × 96 pixels and train for 10 to 20 epochs"),
        ("p2", "see 8 to 30 frames of 64 × 64 pixels and train for 6 to 20 epochs"),
        ("p3", "see 1 frame of 50 × 50 pixels and train for 4 to 16 epochs"),
    ],
)
def test_a_page_of_replicates_says_what_networks_see_and_how_long_they_train(paper: str, said: str) -> None:
    under = with_answers(load_spec(paper, Paths(ROOT)), Asked())
    simulated = under.simulated
    assert simulated
    plant = Replicates(under, "cpu", simulated.plant, simulated.replicates, Paths(ROOT))
    assert said in plant.preamble and f"recipes/tables/{paper}.yaml" in plant.preamble


@pytest.mark.parametrize("paper", ["p1", "p2", "p3"])
def test_the_papers_have_settings_for_every_protocol(paper: str) -> None:
    tables = load_spec(paper, Paths(ROOT))
    assert tables.simulated and tables.simulated.replicates >= 5
    wishes = (Asked(), Asked(quick=True), Asked(folds=10), Asked(source="/clips", as_printed=True))
    for wish in wishes:
        under = with_answers(tables, wish)
        for row in (row for table in under.tables.values() for row in table.rows):
            params = under.params(row, "cpu")
            if wish.source is None:
                assert getattr(params.ingest, tables.simulated.plant).seed == 1000
            assert row.count or not wish.quick or params.train.fit.epochs <= 1


@pytest.mark.parametrize("paper", ["p1", "p2", "p3"])
def test_as_printed_weighs_no_classes_and_p3_does_not_augment(paper: str) -> None:
    under = with_answers(load_spec(paper, Paths(ROOT)), Asked(source="/clips", as_printed=True))
    for row in (row for table in under.tables.values() for row in table.rows if not row.count):
        for budget in set(under.budgets) - {"paper"}:
            params = under.params(row, budget)
            fits = [params.train.fit, *(teacher.fit for teacher in params.teachers.values())]
            fits += [params.prune.fit, params.distill.fit] if paper == "p1" else []
            fits += [params.distill.fit] if paper == "p3" else []
            assert {fit.class_balance for fit in fits} == {0.0}, row.name
            if paper == "p3":
                drawn = {(fit.augment.crop, fit.augment.hflip, fit.augment.vflip) for fit in fits}
                assert drawn == {(1.0, 0.0, 0.0)} and params.distill.views == 1, row.name


def test_rows_without_a_claim_come_last_and_have_fewer_replicates(tmp_path: Path) -> None:
    under = with_answers(spec(simulated=SIMULATED, claims=[CLAIM]), Asked())
    rows = {("t", row.name): row for row in under.tables["t"].rows}
    plant = Replicates(under, "cpu", "rig", 3, Paths(tmp_path))
    assert list(plant.rounds(rows, None)) == [[(("t", "one"), number)] for number in range(3)]
    assert list(plant.last_rounds(rows)) == [[(("t", "two"), number)] for number in range(2)]


def test_the_first_claims_have_their_rows_first(tmp_path: Path) -> None:
    claims = [{"says": "x", "table": "t", "of": "two", "above": 0.5}, CLAIM]
    under = with_answers(spec(simulated=SIMULATED, claims=claims), Asked())
    rows = {("t", row.name): row for row in under.tables["t"].rows}
    (first, *_) = Replicates(under, "cpu", "rig", 3, Paths(tmp_path)).rounds(rows, None)
    assert first == [(("t", "two"), 0), (("t", "one"), 0)]


def test_quick_is_one_replicate_and_one_epoch() -> None:
    under = with_answers(spec(simulated=SIMULATED), Asked(quick=True))
    params = under.params(under.tables["t"].rows[0], "cpu")
    assert (params.train.fit.epochs, params.prune.fit.epochs, params.ingest.rig.recordings) == (1, 1, 4)
    assert under.simulated and under.simulated.replicates == 1


def test_few_clips_cannot_be_split_in_tenths(tmp_path: Path, clips: pd.DataFrame) -> None:
    clips.assign(twin=np.repeat(["x", "y"], 30)).to_parquet(Paths(tmp_path).clips)
    data = DataSource.of_checkout(Paths(tmp_path))
    with pytest.raises(UserError, match="2 near-twin sets"):
        Splits(spec(), "cpu", data, 3, (0.7, 0.0, 0.3)).cells(Row(name="one"), 0)
