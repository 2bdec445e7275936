"""Which networks teach, as far as the settings say."""

from pathlib import Path
from typing import Any

import pytest

from slimstream.core.errors import UserError
from slimstream.core.paths import BEST, Paths
from slimstream.pipeline.recipes import resolve
from slimstream.stages.distill.stage import preflight, teacher_folders

SEARCH = {"frames": [2, 4]}


@pytest.mark.parametrize(
    ("settings", "enough"),
    [
        ({"distill": {"original": False}, "search": SEARCH}, True),
        ({"distill": {"original": False, "best": False}, "search": SEARCH}, False),
        ({"distill": {"original": False}}, False),
        ({}, True),
    ],
)
def test_the_best_network_of_a_search_counts_as_a_teacher(
    tmp_path: Path, settings: dict[str, Any], enough: bool
) -> None:
    p = resolve(settings, "a recipe")

    def check() -> None:
        preflight(p.distill, p.train, p.teachers, p.search, p.extract, Paths(tmp_path), classes=["a", "b"])

    if enough:
        check()
        return
    with pytest.raises(UserError, match="distill has no teacher"):
        check()


def test_a_network_teaches_once(tmp_path: Path) -> None:
    paths, p = Paths(tmp_path), resolve({}, "a recipe").distill
    original, best = paths.model("original"), paths.model(BEST)
    assert teacher_folders(p, paths, [], [original]) == [original]
    assert teacher_folders(p, paths, [], [best]) == [original, best]
