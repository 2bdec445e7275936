"""From a source as it comes, by the command line, to a split: what README's "Your own video" promises."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from slimstream.cli.parser import main
from slimstream.core.paths import Paths
from slimstream.pipeline.recipes import load_recipe
from slimstream.stages.validate import stage as validate
from tests.unit.clips.rendered_clips import texture, write_picture

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes, no Great Expectations and no runs: none is what is tested."""
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "off")
    monkeypatch.setattr(validate, "parallel_map", lambda work, items: enumerate(map(work, items)))
    monkeypatch.setattr(validate.checks, "run_expectations", lambda *_: [])


def pictures(folder: Path, *classes: str, count: int = 4, seed: int = 0) -> None:
    for number in range(count * len(classes)):
        name = f"{classes[number % len(classes)]}/{number:02d}.png"
        write_picture(folder / name, texture(64, seed + number))


def project(root: Path, recipe: str, **split: Any) -> Paths:
    """A project below `root` with a recipe's settings and the source `root/plant`."""
    settings = load_recipe(ROOT / "recipes" / f"{recipe}.yaml").model_dump(mode="json", by_alias=True)
    settings["ingest"]["source"] = "plant"
    settings["split"] |= split
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(settings, file)
    return Paths(root)


def run(paths: Paths, *stages: str) -> int:
    return next((rc for stage in stages if (rc := main(["--root", str(paths.root), stage]))), 0)


ALL = ("scan", "ingest", "validate", "split")


def test_a_folder_per_class_is_split_by_near_twins_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path / "plant", "ok", "bad")
    paths = project(tmp_path, "casting")  # which groups by a column
    assert run(paths, *ALL) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "near-twin sets are the groups" in line]
    assert [line.split(":")[0] for line in said] == ["scan", "split"]
    info = json.loads(paths.split_info.read_text())
    assert info["group_by"] == [] and info["without"] == ["part"]
    assert all(sum(counts.values()) for counts in info["counts"].values())


@pytest.mark.parametrize("recipe", ["rig", "casting"])
def test_a_column_that_is_not_there_stops_the_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], recipe: str
) -> None:
    pictures(tmp_path / "plant", "ok", "bad", count=2)
    (tmp_path / "plant/metadata.csv").write_text("path,label,line\nok/00.png,ok,1\nbad/01.png,bad,2\n")
    assert run(project(tmp_path, recipe), "scan") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "there are line: name one of them" in said


def given(root: Path, **split: Any) -> tuple[Paths, int]:
    """train and test folders; a copy of a test picture and a near twin of another lie in train."""
    pictures(root / "plant/train", "ok", "bad", count=6)
    pictures(root / "plant/test", "ok", "bad", count=3, seed=50)
    write_picture(root / "plant/train/ok/copy.png", texture(64, 50))
    write_picture(root / "plant/train/bad/twin.png", texture(64, 51) + 1)
    paths = project(root, "casting", **split)
    return paths, run(paths, *ALL)


def test_a_given_split_is_honoured_and_its_leaks_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, status = given(tmp_path, given="given")
    said = capsys.readouterr().err
    assert status == 0
    parts = pd.read_parquet(paths.clips).merge(pd.read_parquet(paths.split), on="id").set_index("key")["part"]
    assert (parts[parts.index.str.startswith("test/")] == "test").all()
    assert set(parts[parts.index.str.startswith("train/")]) == {"train", "val"}
    assert "train/bad/twin.png" in parts.index, "a near twin is told, not moved"
    quarantine = pd.read_csv(paths.validation / "quarantine.csv").set_index("key")["reason"]
    assert quarantine.to_dict() == {"train/ok/copy.png": "byte-identical to test/ok/00.png"}
    assert "1 clips are byte-identical to a clip of another given part" in said
    assert "1 of 6 test clips have a near twin in an earlier part" in said
    info = json.loads(paths.split_info.read_text())
    assert info["given"] == "given" and len(info["leaks"]["test"]) == 1
    assert json.loads(paths.metrics("split").read_text())["leaks"] == 1
    assert json.loads(paths.metrics("validate").read_text())["copies_across_parts"] == 1
    assert json.loads((paths.validation / "summary.json").read_text())["copies_across_parts"] == 1


def test_without_the_setting_folders_of_a_split_are_parted_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, status = given(tmp_path)
    assert status == 0 and "set split.given to 'given' to use it" in capsys.readouterr().err
    clips = pd.read_parquet(paths.clips).merge(pd.read_parquet(paths.split), on="id").set_index("key")
    assert set(clips["given"]) == {"train", "test"}
    assert clips.loc["train/bad/twin.png", "part"] == clips.loc["test/bad/01.png", "part"]
    assert "leaks" not in json.loads(paths.metrics("split").read_text())


def test_a_given_split_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One camera in train and in test: told, since no new camera is judged."""
    pictures(tmp_path / "plant", "ok", "bad", count=8)
    files = sorted((tmp_path / "plant").glob("*/*.png"))
    parts = ["Training", "Training", "valid", "test"] * 4
    rows = [
        f"{file.parent.name}\\{file.name};{file.parent.name};{part};c{int(file.stem) % 3}"
        for file, part in zip(files, parts, strict=True)
    ]
    (tmp_path / "plant/metadata.csv").write_text(
        "\n".join(["sep=;", "Path;Label;Set;camera", *rows]), "utf-16"
    )
    paths = project(tmp_path, "casting", given="Set", group_by=["camera"])
    assert run(paths, *ALL) == 0
    assert "3 groups by camera lie in several parts (c0 first)" in capsys.readouterr().err
    counts = json.loads(paths.split_info.read_text())["counts"]
    assert counts == {"train": {"bad": 4, "ok": 4}, "val": {"bad": 2, "ok": 2}, "test": {"bad": 2, "ok": 2}}


def test_test_clips_of_before_that_a_given_split_releases_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, _ = given(tmp_path, given="given")
    clips = pd.read_parquet(paths.clips)
    clips.assign(held_out=clips["key"].str.startswith("train/bad")).to_parquet(paths.clips)
    assert run(paths, "split") == 0
    assert "7 clips of earlier test parts are not test under split.given" in capsys.readouterr().err
