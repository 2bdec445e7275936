"""Every recipe is a params.yaml that could be run as it is."""

from pathlib import Path

import pytest

from slimstream.core.paths import Paths
from slimstream.pipeline.params import load_params
from slimstream.pipeline.preflight import preflight

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_its_networks_can_be_trained_and_pruned_as_it_says(recipe: Path) -> None:
    params = load_params(recipe)
    assert params.recipe == recipe.stem
    preflight(params, Paths())  # among others every pattern of prune.leave
