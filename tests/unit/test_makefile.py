"""The Makefile: what a user gives reaches the commands as it was given, from a folder of any name."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/usr/bin/env bash
printf '%s\\0' "$@" >> {told}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the Makefile and a .venv whose python notes what it is asked."""
    root = tmp_path / "Bob's #1? 50% ä $HOME"
    (root / ".venv/bin").mkdir(parents=True)
    (root / "infra").mkdir()
    shutil.copy(ROOT / "Makefile", root)
    for name in ("requirements.lock", "infra/uv.lock", ".venv/bin/.ready"):
        (root / name).touch()
    python = root / ".venv/bin/python"
    python.write_text(STUB.format(told=f"'{tmp_path / 'told'}'"))
    python.chmod(0o755)
    return root


def asked(project: Path, *arguments: str, **environment: str) -> list[str]:
    """What the stub was told by `make` with these arguments."""
    told = project.parent / "told"
    told.unlink(missing_ok=True)
    make(project, *arguments, **environment)
    return told.read_text().split("\0")[:-1]


def make(project: Path, *arguments: str, **environment: str) -> str:
    answer = tried(project, *arguments, **environment)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def tried(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # `make test`, which may run this, exports what it was given itself.
    given = ("RECIPE", "SOURCE", "PICTURES", "PAPER", "BUDGET", "JOBS", "HOURS", "SETTINGS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", *given))}
    return subprocess.run(
        ["make", *arguments], cwd=project, env=clean | environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "source",
    ["/data/Bob's clips", 'a "b" c', "a$b $(pwd) `pwd`", "back\\slash", "s3://b/run #1", "ä*?", "-x", "$$"],
)
def test_a_source_arrives_as_it_was_given(project: Path, source: str) -> None:
    wanted = ["-m", "flows.retrain", "--recipe", "tank's", "--source", source]
    assert asked(project, "run", f"SOURCE={source}", "RECIPE=tank's") == wanted
    assert asked(project, "run", SOURCE=source, RECIPE="tank's") == wanted  # from the environment
    wanted = ["-m", "slimstream", "tables", "all", "--source", source, "--pictures", source, "--jobs", "2"]
    assert asked(project, "tables", f"SOURCE={source}", f"PICTURES={source}", "JOBS=2") == wanted


def test_what_is_not_given_is_not_passed(project: Path) -> None:
    assert asked(project, "run") == ["-m", "flows.retrain", "--recipe", "rig"]
    wanted = ["-m", "flows.retrain", "--recipe", "auto", "--source", "$(x), y"]
    assert asked(project, "run", "SOURCE=$(x), y") == asked(project, "run", SOURCE="$(x), y") == wanted
    assert asked(project, "tables") == ["-m", "slimstream", "tables", "all"]
    wanted = ["-m", "slimstream", "tables", "p3", "--hours", "2"]
    assert asked(project, "tables", "PAPER=p3", "HOURS=2") == wanted


def test_watch_looks_at_the_rig_where_nothing_is_named(project: Path) -> None:
    watch = ["-m", "slimstream", "watch"]
    assert asked(project, "watch") == [*watch, *(f"rig://{number}" for number in range(40, 44))]
    assert asked(project, "watch", "SOURCE=-x $(y)") == [*watch, "--", "-x $(y)"]
    assert asked(project, "watch", "SETTINGS=my plant.yaml") == [*watch, "--settings", "my plant.yaml", "--"]


@pytest.mark.parametrize(
    ("source", "recipe"),
    [("rig", "rig"), ("bench", "p2"), ("./rig", "auto"), ("my rig", "auto"), ("s3://a=b/%rig", "auto")],
)
def test_a_simulated_plant_has_its_recipe(project: Path, source: str, recipe: str) -> None:
    wanted = ["-m", "flows.retrain", "--recipe", recipe, "--source", source]
    assert asked(project, "run", f"SOURCE={source}") == wanted


@pytest.mark.parametrize("bad", ["nothing", "ruff", "lint-imports", "mypy", "pytest"])
def test_whatever_fails_fails_make_test(project: Path, bad: str) -> None:
    """mypy and pytest run at the same time."""
    for name in ("ruff", "lint-imports", "mypy", "pytest"):
        program = project / ".venv/bin" / name
        program.write_text(f"#!/bin/sh\necho {name} was called\nexit {int(name == bad)}\n")
        program.chmod(0o755)
    answer = tried(project, "test")
    if bad == "nothing":
        assert answer.returncode == 0 and answer.stdout.count("was called") == 5  # ruff twice
    else:
        assert answer.returncode == 2 and f"{bad} was called" in answer.stdout


def test_an_environment_made_for_another_folder_is_built_anew(project: Path) -> None:
    pth = project / ".venv/lib/python3.11/site-packages/slimstream.pth"
    pth.parent.mkdir(parents=True)
    assert "venv" not in make(project, "--dry-run", "setup")
    pth.write_text(f"{project}/src\n")
    assert "venv" not in make(project, "--dry-run", "setup")
    moved = project.with_name("elsewhere")
    project.rename(moved)
    assert "-m venv .venv" in make(moved, "--dry-run", "setup")
    assert "another folder than" in make(moved, "--dry-run", "setup")
    # Shared on purpose, and not ours to empty.
    (moved / ".venv").rename(moved / "shared")
    (moved / ".venv").symlink_to("shared")
    assert "venv" not in make(moved, "--dry-run", "setup")
