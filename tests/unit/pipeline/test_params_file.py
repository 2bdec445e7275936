"""params.yaml as text: whole, described, with the recipe's comments, and read as it was meant."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.params_file import WIDTH, from_recipe, inline, read_comments
from slimstream.pipeline.recipes import load_recipe

RECIPE = """\
# Two cameras.
# Chosen in May.
extract:
  frames: 12  # as many as memory bears
  # what the backbone
  # was pretrained at
  size: [224, 224]
train:
  model_args: {freeze: 6}  # the stem counts
teachers:
  # the best of three
  big: {model: vgg16, fit: {loss: cross_entropy, head: 0.01}}
prune:
  leave: [head, "*#1"]  # the first
# nothing follows
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipes/may.yaml"
    path.parent.mkdir()
    path.write_text(RECIPE)
    return path


def test_every_setting_stands_in_it(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(from_recipe(recipe))
    assert load_params(path) == load_recipe(recipe)
    assert YAML(typ="safe").load(path.read_text()) == load_recipe(recipe).model_dump(
        mode="json", by_alias=True
    )


def test_settings_are_described_once(recipe: Path) -> None:
    lines = from_recipe(recipe).splitlines()
    assert "  fps: 25.0  # frames per second".replace("  fps", "    fps", 1) in lines
    assert "# Shares of train, val and test, and the groups that stay together." in lines
    assert "  fit:  # described at train.fit" in lines
    assert sum("peak learning rate" in line for line in lines) == 1
    assert all(len(line) <= WIDTH for line in lines)


def test_comments_of_the_recipe_stand_above_what_they_are_about(recipe: Path) -> None:
    text = from_recipe(recipe)
    assert text.startswith("# Two cameras.\n# Chosen in May.\n#\n# Made from recipes/may.yaml: all settings")
    assert "  # may: as many as memory bears\n  frames: 12  # " in text
    assert "  # may: what the backbone was pretrained at\n  size: [224, 224]" in text
    assert "  # may: the stem counts\n  model_args: {freeze: 6}" in text
    assert "  # may: the best of three\n  big:" in text
    assert '  # may: the first\n  leave: [head, "*#1"]' in text


def test_a_copy_of_params_is_a_recipe_whose_descriptions_do_not_double(recipe: Path) -> None:
    text = from_recipe(recipe)
    copy = recipe.with_name("mine.yaml")
    copy.write_text(text)
    assert from_recipe(copy) == text.replace("from recipes/may.yaml", "from recipes/mine.yaml")
    copy.write_text(
        text.replace("recipe: may", "recipe: mine").replace("flow: farneback  #", "flow: dis  # try:")
    )
    again = from_recipe(copy)
    assert "  # mine: may: the stem counts\n" in again and again.count("how flow is computed") == 2
    assert sum("peak learning rate" in line for line in again.splitlines()) == 1


def test_a_hash_inside_of_a_value_is_no_comment() -> None:
    text = "--- # start\na: 'x # y'  # z\nb: |\n  one # two\nc: s3://b#c\nd: [1, # in\n  2]\n"
    assert read_comments(text) == {(): ["start"], ("a",): ["z"], ("d",): ["in"]}
    assert read_comments("") == read_comments("# all there is\n") == {}


@pytest.mark.parametrize(
    "value",
    [
        *(
            "rig",
            "s3://plant/2026",
            "../Bob's clips #1",
            'C:\\my "clips"',
            "ü 😀",
            "",
            " ",
            "a: b",
            "- a",
            "*.x",
            "x:",
        ),
        *(
            "null",
            "Off",
            "y",
            "~",
            "1e5",
            "0x1f",
            "2026-05-01",
            ".5",
            ".inf",
            "line\nbreak",
            "odd\u2028break",
            "@",
        ),
        *(
            None,
            True,
            0,
            10_000.0,
            1e-5,
            1e22,
            float("inf"),
            [],
            {},
            [1.5, "a,b"],
            {"a:b": {"no": ["s3://c"]}},
        ),
    ],
)
def test_values_are_read_as_they_were_written(value: object) -> None:
    """By YAML 1.2, in Python and in C (which DVC takes), and by YAML 1.1 (other people's programs)."""
    text = f"x: {inline(value)}  # comment\n"
    yaml_1_1 = YAML(typ="safe", pure=True)
    yaml_1_1.version = (1, 1)
    for yaml in (YAML(typ="safe"), YAML(typ="safe", pure=True), yaml_1_1):
        assert yaml.load(text) == {"x": value}


def test_the_defaults_alone_are_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipes/plain.yaml"
    path.parent.mkdir()
    path.touch()
    assert from_recipe(path).startswith("# Made from recipes/plain.yaml")
    assert load_recipe(path) == Params(recipe="plain")
