"""A promotion or rollback is taken over while watch runs; what does not load changes nothing."""

import shutil
from pathlib import Path

import pytest

from slimstream.core.errors import Unavailable, UserError
from slimstream.core.paths import Paths
from slimstream.watch import champion as module
from slimstream.watch.champion import Champion
from tests.unit.watch import tiny


class Registry:
    """In place of MLflow: versions are folders, one is champion."""

    name = "plant"

    def __init__(self, root: Path) -> None:
        self.root, self.leads, self.away = root, 1, False

    def find(self, name: str, paths: Paths) -> tuple["Registry", int]:
        if self.away:
            raise Unavailable("MLflow does not answer.")
        return self, self.leads

    def fetch(self, version: int, cache: Path) -> Path:
        if not cache.exists() or not (cache / str(version)).exists():
            shutil.copytree(self.root / str(version), cache / str(version))
        return cache / str(version)

    def tags(self) -> dict[int, dict[str, str]]:
        return {number: {"gate": "passed", "macro_f1": f"0.{number}"} for number in range(10)}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry(tmp_path)
    monkeypatch.setattr(module, "find_version", registry.find)
    for number in (1, 2):
        tiny.export(tmp_path / str(number))
    tiny.export(tmp_path / "4", seconds=None)
    (tmp_path / "3").mkdir()
    return registry


def test_a_new_champion_takes_over(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    champion = Champion("plant", Paths(registry.root), None, None)
    before = champion.model
    champion.look()
    assert champion.model is before and before.name == "plant 1" and before.tags["macro_f1"] == "0.1"
    registry.leads = 2
    champion.look()
    assert champion.model.name == "plant 2" and not champion.problem
    registry.leads = 1
    champion.look()
    assert champion.model.name == "plant 1"
    assert "plant 2 answers now instead of plant 1" in capsys.readouterr().err


@pytest.mark.parametrize(("version", "why"), [(3, "no deployed network"), (4, "set `window`")])
def test_one_that_does_not_load_leaves_the_old_one_and_says_so_once(
    registry: Registry, version: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    champion = Champion("plant", Paths(registry.root), None, None)
    registry.leads = version
    for _ in range(3):
        champion.look()
    assert champion.model.name == "plant 1" and why in champion.problem
    assert capsys.readouterr().err.count(why) == 1
    registry.leads = 1
    champion.look()
    assert not champion.problem


def test_a_registry_that_is_away_changes_nothing(registry: Registry) -> None:
    champion = Champion("plant", Paths(registry.root), None, None)
    registry.away = True
    champion.look()
    assert champion.model.name == "plant 1" and "does not answer" in champion.problem
    registry.away, registry.leads = False, 2
    champion.look()
    assert champion.model.name == "plant 2" and not champion.problem


def test_with_the_registry_away_at_the_start_the_last_version_goes_on(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.leads, paths = 2, Paths(registry.root)
    Champion("plant", paths, None, None)
    registry.away = True
    champion = Champion("plant", paths, None, None)
    assert champion.model.name == "plant 2" and champion.model.tags["macro_f1"] == "0.2"
    assert "does not answer" in champion.problem
    assert capsys.readouterr().err.count("plant 2, which answered last, goes on") == 1
    registry.away = False
    champion.look()
    assert champion.model.name == "plant 2" and not champion.problem
    registry.leads = 1
    champion.look()
    assert champion.model.name == "plant 1" and champion.model.tags["macro_f1"] == "0.1"


@pytest.mark.parametrize("kept", ["nothing", "another", "damaged", "gone"])
def test_without_a_version_of_before_there_is_no_start(registry: Registry, kept: str) -> None:
    paths = Paths(registry.root)
    if kept != "nothing":
        Champion("tank" if kept == "another" else "plant", paths, None, None)
    if kept == "damaged":
        (paths.cache / "served" / module.LAST).write_text("[1]")
    if kept == "gone":
        shutil.rmtree(paths.cache / "served/1")
    registry.away = True
    with pytest.raises(Unavailable, match="does not answer"):
        Champion("plant", paths, None, None)


def test_a_folder_is_not_followed_and_needs_a_length(registry: Registry) -> None:
    champion = Champion(str(registry.root / "1"), Paths(registry.root), None, None)
    assert champion.model.seconds == pytest.approx(0.32) and not champion._follows
    with pytest.raises(UserError, match="set `window`"):
        Champion(str(registry.root / "4"), Paths(registry.root), None, None)
    assert Champion(str(registry.root / "4"), Paths(registry.root), None, 2.0).model.seconds == 2
