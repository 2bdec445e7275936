"""params.yaml from a recipe: whole, with its comments, and no edit is lost."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows import recipe, retrain
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.pipeline.params import load_params
from tests.flows.mini_project import commit, git, repository
from tests.unit.clips.rendered_clips import texture, write_picture


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(repository(tmp_path / "project"))


def test_a_recipe_with_a_source_keeps_its_comments(paths: Paths) -> None:
    recipe.apply_recipe(paths, "tank", "s3://plant/2026")
    assert '  # tank: four cameras\n  source: "s3://plant/2026"' in paths.params.read_text()
    params = load_params(paths.params)
    assert params.recipe == "tank" and params.ingest.source == "s3://plant/2026"


def test_params_then_hold_every_setting(paths: Paths) -> None:
    """What `dvc exp run -S prune.rate=0.3 -S prune.target_params=null` looks up, among others."""
    (paths.root / "recipes/mine.yaml").write_text("prune:\n  target_params: 0.5\n")
    recipe.apply_recipe(paths, "mine", None)
    settings = YAML(typ="safe").load(paths.params.read_text())
    assert settings == load_params(paths.params).model_dump(mode="json", by_alias=True)
    assert settings["prune"]["rate"] is None and settings["prune"]["target_params"] == 0.5


def test_uncommitted_edits_are_never_overwritten(paths: Paths) -> None:
    paths.params.write_text("recipe: mine\n")
    with pytest.raises(UserError, match=r"params\.yaml has uncommitted edits that the recipe 'tank'"):
        recipe.apply_recipe(paths, "tank", None)
    assert paths.params.read_text() == "recipe: mine\n"
    commit(paths.root)
    recipe.apply_recipe(paths, "tank", None)
    assert "tank" in paths.params.read_text()


def test_without_git_edits_are_safe_too(paths: Paths) -> None:
    shutil.rmtree(paths.root / ".git")
    recipe.apply_recipe(paths, "tank", "../Bob's clips #1")
    assert load_params(paths.params).ingest.source == "../Bob's clips #1"
    paths.params.write_text("recipe: mine\n")
    with pytest.raises(UserError, match="has edits that the recipe 'tank' would overwrite; save them as"):
        recipe.apply_recipe(paths, "tank", None)


def test_what_an_earlier_run_wrote_is_no_edit(paths: Paths) -> None:
    recipe.apply_recipe(paths, "tank", "../a")
    recipe.apply_recipe(paths, "tank", "../b")
    recipe.apply_recipe(paths, None, "../a rather long name")
    shutil.rmtree(paths.cache)
    recipe.apply_recipe(paths, "rig", None)
    assert load_params(paths.params).recipe == "rig"


def test_a_copied_recipe_is_no_edit(paths: Paths) -> None:
    shutil.copy(paths.root / "recipes/tank.yaml", paths.params)
    recipe.apply_recipe(paths, "rig", None)
    assert load_params(paths.params).recipe == "rig"


def test_a_recipe_may_be_edited_and_applied_again(paths: Paths) -> None:
    own = paths.root / "recipes/own.yaml"
    for frames in (8, 12):
        own.write_text(f"extract: {{frames: {frames}}}\n")
        recipe.apply_recipe(paths, "own", "../a")
        assert load_params(paths.params).extract.frames == frames
    with paths.params.open("a") as file:
        file.write("# mine\n")
    with pytest.raises(UserError, match="uncommitted edits"):
        recipe.apply_recipe(paths, "own", "../a")


def test_a_recipe_with_a_mistake_is_told_and_is_in_nobodys_way(paths: Paths) -> None:
    before = paths.params.read_bytes()
    (paths.root / "recipes/odd.yaml").write_text("train: {epochs: 3}\n")
    with pytest.raises(UserError, match=r"recipes/odd\.yaml: unknown setting 'train\.epochs'"):
        recipe.apply_recipe(paths, "odd", None)
    assert paths.params.read_bytes() == before
    paths.params.write_text("recipe: mine\n")
    with pytest.raises(UserError, match="uncommitted edits"):
        recipe.apply_recipe(paths, "tank", None)
    for text in (b"<<<<<<< HEAD\nrecipe: mine\n", "recipe: Prüfstand".encode("latin-1"), b"- a list\n"):
        paths.params.write_bytes(text)
        with pytest.raises(UserError, match="uncommitted edits"):
            recipe.apply_recipe(paths, "tank", None)


def test_a_source_alone_changes_only_the_source(paths: Paths) -> None:
    paths.params.write_text("# mine\nrecipe: mine\nprune:\n  rate: 0.4\n")
    recipe.apply_recipe(paths, None, "../c")
    assert paths.params.read_text().startswith("# mine\nrecipe: mine\nprune:\n  rate: 0.4\n")
    assert load_params(paths.params).ingest.source == "../c"
    paths.params.write_text("split: {group_by:  [part]}\ningest: {source: '../a' }  # here\n")
    recipe.apply_recipe(paths, None, "../c")
    assert paths.params.read_text() == "split: {group_by:  [part]}\ningest: {source: ../c }  # here\n"
    before = paths.params.stat().st_mtime_ns
    recipe.apply_recipe(paths, None, None)
    recipe.apply_recipe(paths, None, "../c")
    assert paths.params.stat().st_mtime_ns == before


def test_params_that_lack_what_dvc_looks_up_are_refused_before_it_does(paths: Paths) -> None:
    """As a recipe does that was copied there."""
    (paths.root / "dvc.yaml").write_text("stages: {ingest: {cmd: x, params: [ingest.source, split]}}\n")
    paths.params.write_text("split: {group_by: [part]}\n")
    for source in (None, "../c"):
        with pytest.raises(UserError, match=r"params\.yaml lacks 'ingest\.source', which DVC looks up there"):
            recipe.apply_recipe(paths, None, source)
    shutil.copy(paths.params, paths.root / "recipes/mine.yaml")  # what it says that one should do
    recipe.apply_recipe(paths, "mine", None)
    recipe.apply_recipe(paths, None, None)


def test_a_source_that_is_another_value_too_changes_alone(paths: Paths) -> None:
    text = "publish: {name: &name plant}\ningest:\n  source: *name\n"
    found = YAML(typ="safe").load(recipe.with_source(text, "../c"))
    assert found == {"publish": {"name": "plant"}, "ingest": {"source": "../c"}}


def test_the_command_writes_params_and_runs_nothing(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipe, "ROOT", paths.root)
    assert recipe.main(["tank", "--source", "../b"]) == 0
    assert load_params(paths.params).ingest.source == "../b"
    assert git(paths.root, "status", "--porcelain") == "M params.yaml"
    assert recipe.main(["tanc"]) == 2
    assert "recipe: There is no recipe 'tanc'; there are: auto, rig, tank." in capsys.readouterr().err


def test_an_unknown_recipe_is_told_with_those_there_are(paths: Paths) -> None:
    with pytest.raises(UserError, match="There is no recipe 'tanc'"):
        recipe.apply_recipe(paths, "tanc", None)


@pytest.mark.parametrize("source", ["zeta", ".", "../project", ".slimstream/store", ".git"])
def test_a_source_of_our_own_leaves_params_untouched(paths: Paths, source: str) -> None:
    before = paths.params.read_bytes()
    for name in ("tank", None):
        with pytest.raises(UserError, match="cannot be the source"):
            recipe.apply_recipe(paths, name, source)
    (paths.root / "recipes/own.yaml").write_text("ingest: {source: zeta}\n")
    with pytest.raises(UserError, match="cannot be the source"):
        recipe.apply_recipe(paths, "own", None)
    assert paths.params.read_bytes() == before


@pytest.mark.parametrize("name", ["auto", "tank", None])
def test_credentials_in_a_source_are_refused_and_shown_nowhere(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str | None
) -> None:
    monkeypatch.setattr(retrain, "ROOT", paths.root)
    before = paths.params.read_bytes()
    recipes = ["--recipe", name] if name else []
    assert retrain.main([*recipes, "--source", "s3://KEY:SECRET@bucket/x"]) == 2
    said = capsys.readouterr()
    assert "belong in the environment" in said.err and "SECRET" not in said.out + said.err
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
    recipe.apply_recipe(run, "tank", "../clips", paths)
    with pytest.raises(UserError, match="cannot be the source"):
        recipe.apply_recipe(run, "tank", "zeta", paths)


def clips(root: Path) -> None:
    """A source with a folder per class, beside the project."""
    for number in range(6):
        write_picture(root / f"clips/{'ab'[number % 2]}/{number}.png", texture(32, number))


def test_auto_makes_params_for_the_source_and_edits_of_them_are_used(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    clips(paths.root.parent)
    for name in ("casting", "tank"):
        shutil.copy(recipe.ROOT / f"recipes/{name}.yaml", paths.root / "recipes")
    commit(paths.root)
    recipe.apply_recipe(paths, "auto", "../clips")
    assert "is made for ../clips and gives the reasons" in capsys.readouterr().out
    made = paths.params.read_text()
    assert load_params(paths.params).recipe == "auto"
    recipe.apply_recipe(paths, "auto", "../clips")
    assert capsys.readouterr().out == "", "the same again"
    edited = made.replace("epochs: 0", "epochs: 1")
    paths.params.write_text(edited)
    recipe.apply_recipe(paths, "auto", "../clips")
    assert paths.params.read_text() == edited and "edits of yours" in capsys.readouterr().out
    commit(paths.root)
    recipe.apply_recipe(paths, "auto", "../clips")
    assert paths.params.read_text() == edited, "a scheduled run needs the commit"
    paths.params.write_text(edited.replace("epochs: 1", "epochs: 2"))
    with pytest.raises(UserError, match=r"To run with them as they are: python -m flows\.retrain"):
        recipe.apply_recipe(paths, "tank", "../clips")
    shutil.copytree(paths.root.parent / "clips", paths.root.parent / "others")
    with pytest.raises(UserError, match="uncommitted edits"):
        recipe.apply_recipe(paths, "auto", "../others")


def test_a_missing_column_is_told_before_a_server_is_started(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrain, "ROOT", paths.root)
    clips(paths.root.parent)
    table = "path,label,site\n" + "".join(f"{'ab'[n % 2]}/{n}.png,{'ab'[n % 2]},x\n" for n in range(6))
    (paths.root.parent / "clips/metadata.csv").write_text(table)
    (paths.root / "recipes/mine.yaml").write_text("split: {group_by: [camera]}\n")
    assert retrain.main(["--recipe", "mine", "--source", "../clips"]) == 2
    said = capsys.readouterr()
    assert "there are site: name one of them" in said.err and "recipe auto chooses" in said.err
    assert "Prefect server" not in said.out
