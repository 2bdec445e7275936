"""dvc.yaml tells the truth: what a stage depends on is what its code reaches and reads."""

import ast
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/slimstream"
GRAPH = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def entry(stage: str) -> Path:
    """The file that holds a stage's `run`: the stage is a file or a folder."""
    file = PACKAGE / "stages" / f"{stage}.py"
    return file if file.exists() else file.with_suffix("") / "stage.py"


def files_of(module: str) -> list[Path]:
    """The file of a module of ours, and the __init__ of every package around it."""
    parts = module.split(".")
    found = []
    for end in range(2, len(parts) + 1):
        path = ROOT / "src" / Path(*parts[:end])
        found += [p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()]
    return found


def imported(path: Path) -> set[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {file for name in names if name.startswith("slimstream.") for file in files_of(name)}
    return found


def closure(stage: str) -> set[str]:
    open_, seen = set(files_of(".".join(entry(stage).relative_to(ROOT / "src").with_suffix("").parts))), set()
    while open_:
        path = open_.pop()
        seen.add(path)
        open_ |= imported(path) - seen
    seen |= {page for path in seen for page in path.parent.glob("*.html")}
    return {str(path.relative_to(ROOT)) for path in seen if path.read_text().count("\n") > 1}


@pytest.mark.parametrize("stage", GRAPH)
def test_deps_are_the_import_closure(stage: str) -> None:
    declared = {dep for dep in GRAPH[stage]["deps"] if dep.startswith("src/")}
    wanted = closure(stage)
    listing = "\n".join(f"      - {path}" for path in sorted(wanted))
    assert declared == wanted, f"deps of {stage} in dvc.yaml should hold\n{listing}"


@pytest.mark.parametrize("stage", GRAPH)
def test_params_are_those_the_stage_reads(stage: str) -> None:
    tree = ast.parse(entry(stage).read_text())
    read = {
        node.attr.rstrip("_")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "params"
    }
    assert {name.split(".")[0] for name in GRAPH[stage]["params"]} == read


@pytest.mark.parametrize("stage", GRAPH)
def test_no_stage_depends_on_another_run(stage: str) -> None:
    assert not [dep for dep in GRAPH[stage]["deps"] if dep.startswith("runs")]
    assert f"runs/{stage}.json" in GRAPH[stage]["outs"]


@pytest.mark.parametrize(
    "recipe", ["params.yaml", "tests/faults/plant.yaml", *sorted((ROOT / "recipes").glob("*.yaml"))], ids=str
)
def test_every_recipe_has_what_dvc_looks_up(recipe: str | Path) -> None:
    """DVC stops at a parameter that a recipe leaves to its default; a whole section may be one."""
    settings = YAML(typ="safe").load((ROOT / recipe).read_text())
    for stage in GRAPH.values():
        for name in stage["params"]:
            found = settings
            for part in name.split("."):
                assert part in found, f"{recipe} lacks {name}"
                found = found[part]
