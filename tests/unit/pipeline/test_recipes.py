"""Recipes hold what they change: how overrides are merged, and what is said of one that does not fit."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slimstream.core.errors import UserError
from slimstream.pipeline.params import Params, load_params
from slimstream.pipeline.recipes import load_recipe, merge, resolve


def test_mappings_are_merged_and_lists_replaced() -> None:
    lower = {"train": {"fit": {"epochs": 3, "lr": 0.1}}, "split": {"group_by": ["a", "b"], "video": "v"}}
    upper = {"train": {"fit": {"lr": 0.2}}, "split": {"group_by": ["c"], "video": None}}
    assert merge(lower, upper) == {
        "train": {"fit": {"epochs": 3, "lr": 0.2}},
        "split": {"group_by": ["c"], "video": None},
    }
    assert lower["train"]["fit"]["lr"] == 0.1


def test_another_model_leaves_the_old_ones_settings_behind() -> None:
    lower = {"train": {"model": "a", "model_args": {"freeze": 6}, "fit": {"lr": 0.1}}}
    assert merge(lower, {"train": {"model": "b"}})["train"] == {"model": "b", "fit": {"lr": 0.1}}
    assert merge(lower, {"train": {"model_args": {"size": "s"}}})["train"]["model_args"] == {
        "freeze": 6,
        "size": "s",
    }


def test_of_two_alternatives_the_one_that_is_named_counts() -> None:
    prune = resolve({"prune": {"target_params": 0.6}}, "mine").prune
    assert (prune.rate, prune.target_params) == (None, 0.6)
    extract = resolve({"extract": {"fraction": 0.2}}, "mine").extract
    assert (extract.frames, extract.fraction) == (None, 0.2)
    assert resolve({"prune": {"target_params": None}}, "mine").prune.rate == 0.5
    for both in ({"rate": 0.5, "target_params": 0.6}, {"rate": None}):
        with pytest.raises(UserError, match=r"mine: 'prune': set exactly one of"):
            resolve({"prune": both}, "mine")


def test_what_a_recipe_does_not_name_keeps_its_default() -> None:
    assert resolve({}, "mine") == Params()
    found = resolve({"prune": {"round_to": 8}, "extract": {"size": [64, 64]}}, "mine")
    assert found.prune == Params().prune.model_copy(update={"round_to": 8})
    assert found.extract == Params().extract.model_copy(update={"size": (64, 64)})


def test_five_lines_are_a_recipe_that_is_called_like_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# why\nextract:\n  frames: 12\npublish:\n  name: mine\n")
    mine = load_recipe(path)
    assert (mine.recipe, mine.extract.frames, mine.publish.name) == ("mine", 12, "mine")
    path.write_text("# all defaults\n")
    assert load_recipe(path) == Params(recipe="mine")


def test_a_whole_params_file_is_a_recipe_too(tmp_path: Path) -> None:
    params = Params(recipe="old", split={"group_by": ["camera"]})  # type: ignore[arg-type]
    path = tmp_path / "mine.yaml"
    YAML(typ="safe").dump(params.model_dump(mode="json", by_alias=True), path)
    assert load_recipe(path) == load_params(path) == params
    plant = Path(__file__).parents[2] / "faults/plant.yaml"  # with anchors, comments and a name of its own
    assert load_recipe(plant) == load_params(plant)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {fit: {epoch: 3}}", "unknown setting 'train.fit.epoch'; did you mean 'epochs'?"),
        ("trian: {}", "unknown setting 'trian'; did you mean 'train'?"),
        ("train: {fit: null}", "'train.fit' is null; give it a value, or leave it out"),
        ("refit:\n#  strength: 0.2\n", "'refit' is null; give it a value, or leave it out"),
        ("sweep: {rates: [0.2]}", "there is no 'sweep' any more: 'prune.rate: auto' tries"),
        ("train: 5", "'train'"),
        ("extract: {frames: many}", "'extract.frames'"),
        ("- train", "must hold settings by section"),
        ("tank", "must hold settings by section"),
        ("train: [", "is not valid YAML"),
    ],
)
def test_what_does_not_fit_names_the_file_and_the_setting(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_recipe(path)
    assert str(error.value).startswith(str(path)) and said in str(error.value)
    assert "\n" not in str(error.value)
