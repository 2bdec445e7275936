"""The key of a stage's code follows what dvc.yaml lists for the stage, and nothing else."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimstream.core import fingerprint
from slimstream.core.errors import UserError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of this checkout's code and dvc.yaml, which may be edited."""
    copy = tmp_path / "src/slimstream"
    shutil.copytree(fingerprint.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(fingerprint.GRAPH, tmp_path / "dvc.yaml")
    monkeypatch.setattr(fingerprint, "PACKAGE", copy)
    monkeypatch.setattr(fingerprint, "GRAPH", tmp_path / "dvc.yaml")
    forget()
    yield copy
    forget()


def forget() -> None:
    """As a new process begins."""
    fingerprint.stage_code.cache_clear()
    fingerprint.stages_of_graph.cache_clear()


def changed(edited: Path) -> set[str]:
    """The stages that have another key after a line was added to the file `edited`."""
    forget()
    stages = list(fingerprint.stages_of_graph())
    before = {stage: fingerprint.stage_code(stage) for stage in stages}
    edited.write_text(edited.read_text() + "# changed\n")
    forget()
    return {stage for stage in stages if fingerprint.stage_code(stage) != before[stage]}


def test_a_change_reaches_the_stages_that_depend_on_it(package: Path) -> None:
    assert changed(package / "stages/evaluate/report/page.py") == {"evaluate"}
    assert changed(package / "registry/gate.py") == set()
    prune = changed(package / "stages/prune/pruning.py")
    assert "prune" in prune and not prune & {"extract", "baseline", "train", "teachers"}
    loop = changed(package / "training/loop.py")
    assert {"train", "teachers", "prune", "distill"} <= loop and not loop & {"extract", "evaluate"}


def test_new_renamed_and_deleted_files_count(package: Path) -> None:
    keys = [fingerprint.stage_code("train")]

    def again() -> None:
        forget()
        keys.append(fingerprint.stage_code("train"))

    (package / "training/more.py").write_text("")
    again()
    (package / "training/more.py").rename(package / "training/other.py")
    again()
    (package / "training/other.py").unlink()
    again()
    assert keys[0] == keys[-1] and len(set(keys)) == 3


def test_what_is_no_code_does_not_count(package: Path) -> None:
    before = fingerprint.stage_code("train")
    compiled = package / "training/__pycache__/loop.cpython-311.pyc"
    compiled.parent.mkdir()
    for file in (compiled, package / "training/.loop.py.swp", package / "training/loop.py~"):
        file.write_bytes(b"\xff")
    forget()
    assert fingerprint.stage_code("train") == before


def test_settings_and_files_are_part_of_the_key(tmp_path: Path) -> None:
    file = tmp_path / "index"
    keys = {fingerprint.fingerprint("train", ["a"], [file]), fingerprint.fingerprint("train", ["b"], [file])}
    file.write_text("clips")
    keys |= {fingerprint.fingerprint(stage, ["a"], [file]) for stage in ("train", "prune")}
    assert len(keys) == 4 and all(len(key) == 16 for key in keys)


def test_without_a_graph_the_whole_package_counts(package: Path) -> None:
    (package.parents[1] / "dvc.yaml").unlink()
    forget()
    assert fingerprint.declared_code("train") == [package]
    assert len(fingerprint.stage_code("train")) == 16


def test_a_broken_graph_is_one_sentence(package: Path) -> None:
    for text in ("stages: [", "train: {}", "- train"):
        (package.parents[1] / "dvc.yaml").write_text(text)
        forget()
        with pytest.raises(UserError, match=r"dvc.yaml is not a dvc.yaml with stages"):
            fingerprint.stage_code("train")


def test_the_key_is_quick_and_remembered() -> None:
    forget()
    fingerprint.stage_code("evaluate")
    start = time.perf_counter()
    fingerprint.stage_code("evaluate")
    assert time.perf_counter() - start < 0.001
