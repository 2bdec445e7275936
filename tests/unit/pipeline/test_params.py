"""params.yaml: what fits, and what is said of what does not."""

from pathlib import Path

import pytest

from slimstream.core.errors import UserError
from slimstream.pipeline.params import load_params

ROOT = Path(__file__).parents[3]


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_params(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_is_valid_and_carries_its_name(path: Path) -> None:
    assert load_params(path).recipe == path.stem


def test_a_misspelt_setting_gets_its_near_one(tmp_path: Path) -> None:
    assert "unknown setting 'train.fit.epoch'; did you mean 'epochs'?" in refusal(
        tmp_path, "train: {fit: {epoch: 3}}"
    )
    assert "unknown setting 'teachers.vgg.fit.epoch'; did you mean 'epochs'?" in refusal(
        tmp_path, "teachers: {vgg: {fit: {epoch: 3}}}"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("split: {train: 0.5}", "train + val + test must be 1"),
        ("prune: {rate: 0.5, target_params: 0.6}", "exactly one of 'rate' and 'target_params'"),
        ("prune: {rate: 1.5}", "'prune.rate'"),
        (
            "train: {fit: {epochs: 6, cycles: 3, warmup_epochs: 2}}",
            "'train.fit': each of its cycles must have",
        ),
        ("teachers: {vgg/16: {}}", "'teachers.vgg/16"),
        ("extract: {frames: 8, fraction: 0.2}", "exactly one of 'fraction' and 'frames'"),
        ("extract: {frames: 8, size: [4, 4]}", "at least 16"),
        ("train: {fit: {lr: quick}}", "'train.fit.lr'"),
        ("train: [", "not valid YAML"),
        ("- a list", "the file"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_a_missing_file_says_where_to_stand(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run in the project's root"):
        load_params(tmp_path / "params.yaml")
