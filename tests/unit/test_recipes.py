"""The recipes of the house: each can be run as it is, and says no more than what it changes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.params_file import from_recipe
from slimstream.pipeline.preflight import preflight
from slimstream.pipeline.recipes import load_recipe, resolve

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, marks=[pytest.mark.box] if recipe.stem.endswith("-paper") else [])
        for recipe in RECIPES
    ],
    ids=[recipe.stem for recipe in RECIPES],
)
def test_its_networks_can_be_trained_and_pruned_as_it_says(recipe: Path) -> None:
    params = load_recipe(recipe)
    assert params.recipe == recipe.stem
    preflight(params, Paths())  # among others every pattern of prune.leave


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_it_says_only_what_it_changes(recipe: Path) -> None:
    """Without any of its settings it would be another recipe."""
    text = recipe.read_text()
    assert text.startswith("# ") and len(text.splitlines()) <= 50
    whole = settings(YAML(typ="safe", pure=True).compose(text))
    for place, node in enumerate(mapping(YAML(typ="safe", pure=True).compose(text))):
        for number in range(len(node.value)):
            root = YAML(typ="safe", pure=True).compose(text)
            name, _ = list(mapping(root))[place].value.pop(number)
            assert settings(root) != whole, f"line {name.start_mark.line + 1}: {name.value} is the default"


def test_the_example_of_the_docs_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"`recipes/press.yaml`, has five\s+lines:.*?```yaml\n(.*?)```",
        (ROOT / "docs/operations.md").read_text(),
        re.DOTALL,
    )
    path = tmp_path / "press.yaml"
    path.write_text(example)
    params = load_recipe(path)
    assert len(example.splitlines()) == 5 and params.publish.name == "press"
    preflight(params, Paths())


def settings(root: Node) -> Params | None:
    """What a recipe comes to; None when it does not fit any more."""
    try:
        return resolve(YAML(typ="safe", pure=True).constructor.construct_document(root), "a recipe")
    except UserError:
        return None


def mapping(node: Node) -> Iterator[MappingNode]:
    """Every mapping of a YAML file, as it is written: what `<<` brings along belongs to its anchor."""
    if isinstance(node, MappingNode):
        yield node
        for name, value in node.value:
            if name.value != "<<" and name.start_mark.index < value.start_mark.index:  # no alias
                yield from mapping(value)


def test_params_yaml_is_the_recipe_rig_in_full() -> None:
    same = (ROOT / "params.yaml").read_text() == from_recipe(ROOT / "recipes/rig.yaml")
    assert same, "a default or the recipe has changed: python -m flows.recipe rig"
