"""What a user may ask of the tables, and what is refused before any work."""

from pathlib import Path

import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.experiments.tables.asked import Asked, check_folder, open_protocol, with_answers
from tests.unit.experiments.tables.test_protocols import SIMULATED, spec


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(source="/clips", replicates=5), "--replicates: a replicate renders new clips, and .* /clips"),
        (Asked(source="/clips", quick=True), "--quick: a replicate renders new clips"),
        (Asked(source="bench"), "the tables of p have the simulated plant rig"),
        (Asked(as_printed=True), "--as-printed: random splits flatter"),
        (Asked(seeds=2), "--seeds: only folds"),
        (Asked(source="/clips", seeds=0), "--seeds 0: it is 1 to 5"),
        (Asked(replicates=1), "--replicates 1: it is 2 to 40"),
        (Asked(folds=2), "--folds 2: it is 3 to any"),
        (Asked(hours=-1), "--hours -1"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(asked: Asked, words: str) -> None:
    with pytest.raises(UserError, match=words):
        with_answers(spec(simulated=SIMULATED), asked)


def test_folds_on_a_plant_need_groups_before_any_work(tmp_path: Path) -> None:
    asked = Asked(folds=6)
    under = with_answers(spec(simulated=SIMULATED), asked)
    with pytest.raises(UserError, match="--folds 6: the simulated plant rig has 5 groups by 'recording'"):
        open_protocol(under, "cpu", asked, Paths(tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_unknown_source_names_those_that_are_near(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="do you mean 'pellets'"):
        check_folder("pelets", Paths(tmp_path))
    with pytest.raises(UserError, match="ftp://… is no source"):
        check_folder("ftp://host/clips", Paths(tmp_path))
    (tmp_path / "clips").mkdir()
    for source in ("rig", "s3://bucket/clips", "clips"):
        check_folder(source, Paths(tmp_path))
