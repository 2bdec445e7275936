"""params.yaml from a recipe: comments stay, and no edit is lost."""

import shutil
from pathlib import Path

import pytest

from flows import recipe, retrain
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import load_params
from tests.flows.mini import commit, git, repository


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(repository(tmp_path / "project"))


def test_a_recipe_with_a_source_keeps_its_comments(paths: Paths) -> None:
    recipe.apply(paths, "tank", "s3://plant/2026")
    assert paths.params.read_text() == "recipe: tank\ningest:\n  source: s3://plant/2026 # four cameras\n"
    assert load_params(paths.params).ingest.source == "s3://plant/2026"


def test_uncommitted_edits_are_never_overwritten(paths: Paths) -> None:
    paths.params.write_text("recipe: mine\n")
    with pytest.raises(UserError, match=r"params\.yaml has uncommitted edits that the recipe 'tank'"):
        recipe.apply(paths, "tank", None)
    assert paths.params.read_text() == "recipe: mine\n"
    commit(paths.root)
    recipe.apply(paths, "tank", None)
    assert "tank" in paths.params.read_text()


def test_without_git_edits_are_safe_too(paths: Paths) -> None:
    shutil.rmtree(paths.root / ".git")
    recipe.apply(paths, "tank", "../Bob's clips #1")
    assert load_params(paths.params).ingest.source == "../Bob's clips #1"
    paths.params.write_text("recipe: mine\n")
    with pytest.raises(UserError, match="has edits that the recipe 'tank' would overwrite; save them as"):
        recipe.apply(paths, "tank", None)


def test_what_an_earlier_run_wrote_is_no_edit(paths: Paths) -> None:
    recipe.apply(paths, "tank", "../a")
    recipe.apply(paths, "tank", "../b")
    recipe.apply(paths, "rig", None)
    assert paths.params.read_text() == "recipe: rig  # the default\n"


def test_a_source_alone_changes_only_the_source(paths: Paths) -> None:
    paths.params.write_text("# mine\nrecipe: mine\nprune:\n  rate: 0.4\n")
    recipe.apply(paths, None, "../c")
    assert paths.params.read_text().startswith("# mine\nrecipe: mine\nprune:\n  rate: 0.4\n")
    assert load_params(paths.params).ingest.source == "../c"
    before = paths.params.stat().st_mtime_ns
    recipe.apply(paths, None, None)
    recipe.apply(paths, None, "../c")
    assert paths.params.stat().st_mtime_ns == before


def test_an_unknown_recipe_is_told_with_those_there_are(paths: Paths) -> None:
    with pytest.raises(UserError, match="There is no recipe 'tanc'"):
        recipe.apply(paths, "tanc", None)


@pytest.mark.parametrize("source", ["zeta", ".", "../project", ".slimstream/store", ".git"])
def test_a_source_of_our_own_leaves_params_untouched(paths: Paths, source: str) -> None:
    before = paths.params.read_bytes()
    for name in ("tank", None):
        with pytest.raises(UserError, match="cannot be the source"):
            recipe.apply(paths, name, source)
    (paths.root / "recipes/own.yaml").write_text("ingest: {source: zeta}\n")
    with pytest.raises(UserError, match="cannot be the source"):
        recipe.apply(paths, "own", None)
    assert paths.params.read_bytes() == before


def test_make_run_refuses_it_before_anything_is_touched(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrain, "ROOT", paths.root)
    assert retrain.main(["--recipe", "tank", "--source", "zeta"]) == 2
    assert "retrain: zeta cannot be the source: it is" in capsys.readouterr().err
    paths.ingested.mkdir(parents=True)
    (paths.ingested / "monday.mp4").write_text("the only copy")
    assert retrain.main(["--recipe", "tank", "--source", "../clips"]) == 2
    assert "holds 'monday.mp4', which the pipeline did not make" in capsys.readouterr().err
    assert git(paths.root, "status", "--porcelain", "params.yaml", "source.lock.json") == ""


def test_an_isolated_run_reads_beside_the_checkout_it_came_from(paths: Paths) -> None:
    run = Paths(repository(paths.cache / "worktrees/7"))
    recipe.apply(run, "tank", "../clips", paths)
    with pytest.raises(UserError, match="cannot be the source"):
        recipe.apply(run, "tank", "zeta", paths)
