"""No folder that the pipeline makes, empties or is made of is ever taken as a source."""

import os
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slimstream.cli.parser import main
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.core.progress import null_log
from slimstream.experiments import stage_runs
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.reserved_folders import (
    PROJECT,
    check_ingested,
    check_source,
    dvc_cache,
    stage_outputs,
)
from slimstream.stages.ingest.scan import scan

CHECKOUT = Path(__file__).parents[4]
PARAMS = Params(ingest=IngestParams(source="data/ingested"))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A checkout `project` with the real graph, where every out is a folder, and clips of a user's beside."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(CHECKOUT / "dvc.yaml", root)
    for folder in (
        *stage_outputs(root),
        *(root / name for name in PROJECT),
        root / "data/mine",
        root / "my-clips",
    ):
        folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "clips").mkdir()
    return Paths(root)


@pytest.mark.parametrize("out", [str(path.relative_to(CHECKOUT)) for path in stage_outputs(CHECKOUT)])
def test_every_out_of_the_graph_is_ours(out: str, paths: Paths) -> None:
    with pytest.raises(UserError, match=rf"{out} cannot be the source: it is .*{out}, which the pipeline"):
        check_source(out, paths)


@pytest.mark.parametrize(
    ("source", "how"),
    [
        (".", "contains"),
        ("..", "contains"),
        ("/", "contains"),
        ("", "contains"),
        ("data", "contains"),
        ("data/ingested/deep", "lies in"),
        ("data/../data/ingested", "is"),
        ("my-clips/../data/ingested/", "is"),
        ("models/teachers/", "is"),
        ("reports", "contains"),
        (".slimstream/store", "lies in"),
        (".dvc/cache", "is"),
        *((name, "is|contains") for name in PROJECT),
        (".git/worktrees", "lies in"),
        ("src/slimstream/stages", "lies in"),
    ],
)
def test_what_is_ours_is_refused(source: str, how: str, paths: Paths) -> None:
    with pytest.raises(UserError, match=f"cannot be the source: it ({how}) .*a folder of their own"):
        check_source(source, paths)
    with pytest.raises(UserError, match="cannot be the source"):
        check_source(os.path.normpath(paths.root / source), paths)


@pytest.mark.parametrize(
    "source", ["my-clips", "data/mine", "../clips", "rig", "s3://plant/data/ingested", "gone"]
)
def test_what_is_the_users_is_taken(source: str, paths: Paths) -> None:
    check_source(source, paths)


def test_links_are_resolved_on_both_sides(paths: Paths) -> None:
    clips = paths.root.parent / "clips"
    (clips / "link").symlink_to(paths.root / "data")
    (paths.root / "short").symlink_to(paths.ingested)
    for source in ("../clips/link/ingested", "../clips/link", "short", str(clips / "link/ingested/x")):
        with pytest.raises(UserError, match="cannot be the source"):
            check_source(source, paths)
    # The user's own folder, put where an out lies.
    shutil.rmtree(paths.packs)
    paths.packs.symlink_to(clips)
    with pytest.raises(UserError, match=r"it is .*packs"):
        check_source("../clips", paths)


def test_home_and_other_users_homes(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(paths.root.parent))
    with pytest.raises(UserError, match=r"it is .*data/ingested"):
        check_source("~/project/data/ingested", paths)
    check_source("~/clips", paths)
    with pytest.raises(UserError, match="'~nobody-of-that-name/x' cannot be the source"):
        check_source("~nobody-of-that-name/x", paths)


def test_the_same_folder_by_another_name(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind mount: another path to the same inode, which no link tells."""
    twin = paths.root.parent / "twin"
    twin.mkdir()
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        return real(paths.ingested if path == twin else path, **options)

    monkeypatch.setattr(Path, "stat", stat)
    for source in ("../twin", "../twin/deep"):
        with pytest.raises(UserError, match="cannot be the source"):
            check_source(source, paths)


def test_caches_elsewhere_are_ours_too(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = paths.root.parent / "disk"
    monkeypatch.setenv("SLIMSTREAM_CACHE", str(disk / "slim"))
    (paths.root / ".dvc/config").write_text("[core]\n    remote = nas\n[cache]\n    dir = ../../disk/dvc\n")
    assert dvc_cache(paths.root) == disk / "dvc"
    for source in (disk / "slim/store", disk / "dvc/files", disk):
        with pytest.raises(UserError, match="in which the pipeline keeps its own copies"):
            check_source(str(source), paths)
    (paths.root / ".dvc/config.local").write_text(f"[cache]\n    dir = {disk}/local\n")
    with pytest.raises(UserError, match="its own copies"):
        check_source("../disk/local", paths)
    check_source("../disk/dvc", paths)


def test_an_isolated_run_guards_the_checkout_and_its_own(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Paths(paths.cache / "worktrees/7")
    run.root.mkdir(parents=True)
    shutil.copy(CHECKOUT / "dvc.yaml", run.root)
    monkeypatch.setenv("SLIMSTREAM_SOURCE_ROOT", str(paths.root))
    monkeypatch.setenv("SLIMSTREAM_CACHE", str(paths.cache))
    for source in ("data/ingested", ".", str(run.ingested), str(paths.packs), ".slimstream"):
        with pytest.raises(UserError, match="cannot be the source"):
            check_source(source, run)
    check_source("../clips", run)
    check_source("my-clips", run)


def test_another_checkout_of_ours_is_no_source(paths: Paths) -> None:
    other = paths.root.parent / "other"
    (other / "src/slimstream").mkdir(parents=True)
    shutil.copy(CHECKOUT / "dvc.yaml", other)
    with pytest.raises(UserError, match=r"it is .*other/data/ingested"):
        check_source("../other/data/ingested", paths)
    check_source("../other/my-clips", paths)


def test_a_folder_without_a_graph_knows_its_own(tmp_path: Path) -> None:
    for source in (".", "data", "data/ingested", "models/mine"):
        with pytest.raises(UserError, match="cannot be the source"):
            check_source(source, Paths(tmp_path))
    check_source("plant", Paths(tmp_path))


def test_outs_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    graph = {
        "stages": {
            "a": {"cmd": "x", "outs": ["one", {"two": {"cache": False}}], "wdir": "deep"},
            "b": {
                "foreach": [1],
                "do": {"cmd": "x", "metrics": ["m.json"], "plots": [{"p.csv": {"x": "y"}}]},
            },
        }
    }
    with (tmp_path / "dvc.yaml").open("w") as file:
        YAML(typ="safe").dump(graph, file)
    assert stage_outputs(tmp_path) == [
        tmp_path / name for name in ("deep/one", "deep/two", "m.json", "p.csv")
    ]
    assert stage_outputs(tmp_path / "nowhere") == []
    (tmp_path / "dvc.yaml").write_text("<<<<<<< HEAD\n- {")
    with pytest.raises(UserError, match=r"dvc\.yaml cannot be read"):
        stage_outputs(tmp_path)


def test_the_projects_folders_are_all_named() -> None:
    tracked = {path.name for path in CHECKOUT.iterdir() if path.is_dir()} - {"data"}
    made = {out.relative_to(CHECKOUT).parts[0] for out in stage_outputs(CHECKOUT)}
    caches = {name for name in tracked if name.endswith("_cache") or name in ("__pycache__", ".hypothesis")}
    caches.add(".benchmarks")  # of pytest's plugin of that name, where somebody has it
    assert tracked - made - caches <= set(PROJECT)


def test_scan_ingest_and_tables_refuse_it_before_anything_is_written(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    original = paths.ingested / "on" / "1.mp4"
    original.parent.mkdir()
    original.write_text("the only copy")
    before = sorted(paths.root.rglob("*"))
    for run in (
        lambda: scan(PARAMS.ingest, PARAMS.split.group_by, paths),
        lambda: scan(IngestParams(), [], paths, "data"),
        lambda: stage_runs.prepare_source(PARAMS, Paths(paths.cache / "fresh"), "data/ingested", paths),
    ):
        with pytest.raises(UserError, match="cannot be the source"):
            run()
    shutil.copy(CHECKOUT / "params.yaml", paths.root)
    shutil.copytree(CHECKOUT / "recipes", paths.root / "recipes", dirs_exist_ok=True)
    for arguments in (["p3", "--source"], ["all", "--source", "../clips", "--pictures"]):
        assert main(["--root", str(paths.root), "tables", *arguments, "data/ingested"]) == 2
        assert "cannot be the source" in capsys.readouterr().err
    kept = [path for path in sorted(paths.root.rglob("*")) if path in before]
    assert kept == before and original.read_text() == "the only copy"
    # A lock that was edited by hand.
    text = '{"source": "data/ingested", "items": [], "rejected": []}'
    paths.source_lock.write_text(text)
    with pytest.raises(UserError, match="cannot be the source"):
        STAGES["ingest"].run(PARAMS, paths, null_log)
    assert original.exists()


def test_clips_that_somebody_put_into_data_raw_stop_the_run(paths: Paths) -> None:
    params = Params(ingest=IngestParams(source="my-clips"))
    (paths.root / "my-clips/on").mkdir()
    (paths.root / "my-clips/on/1.mp4").write_text("clip")
    (paths.ingested / "mp4-0123abcd.mp4").touch()
    (paths.ingested / ".DS_Store").touch()
    scan(params.ingest, params.split.group_by, paths)
    (paths.ingested / "monday.mp4").write_text("the only copy")
    for run in (
        lambda: scan(params.ingest, params.split.group_by, paths),
        lambda: STAGES["ingest"].run(params, paths, null_log),
    ):
        with pytest.raises(UserError, match=r"data/ingested holds 'monday\.mp4', which the"):
            run()
    assert (paths.ingested / "monday.mp4").exists()
    (paths.ingested / "monday.mp4").unlink()
    check_ingested(paths)
    (paths.ingested / "ok-01234567").mkdir()  # a class of somebody's
    with pytest.raises(UserError, match="did not make"):
        check_ingested(paths)
