"""dvc.yaml tells the truth: what a stage depends on is what its code reaches and reads."""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import networkx
import pytest
from ruamel.yaml import YAML

from slimstream.experiments.tables.cells import SCORE_CODE

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/slimstream"
UNREACHED = {
    "core/cluster.py": "a cluster: extraction and experiments ask",
    "core/environment.py": "where work is done: extraction and trainings ask",
    "core/fingerprint.py": "names packs and the states of trainings",
    "core/overwrite.py": "what the command line may write over",
    "core/parallel.py": "one process a core: neither split nor a training has any",
    "core/proxy.py": "asked before any stage begins",
    "core/simulated.py": "ingest knows the plants, the report names them",
    "core/threads.py": "set before any stage begins",
    "clips/flow.py": "ingest only looks into files",
    "clips/packs.py": "ingest only looks into files",
    "clips/params.py": "ingest only looks into files",
    "clips/reduce.py": "ingest only looks into files",
    "clips/sampling.py": "ingest only looks into files",
    "training/choice.py": "what search chose is trained and teaches; no other stage reads it",
    "training/cheapest.py": "search and pruning choose among networks",
    "training/inner_folds.py": "search and pruning choose among networks",
    "models/cost.py": "export and evaluate take what the card says",
    "training/metrics/intervals.py": "trainings report no intervals",
    "models/latency.py": "few stages time a network",
    "runtimes/export.py": "evaluate opens what export wrote",
    "runtimes/split_part.py": "prune looks at no deployed form's answers",
}
"""Files that a stage lists with their folder although its code does not reach them, and why it does not."""
DVC = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())
GRAPH = DVC["stages"]


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


@cache
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


@cache
def reached(stage: str) -> set[Path]:
    """The files that a stage's code is made of."""
    return reached_from(files_of(".".join(entry(stage).relative_to(ROOT / "src").with_suffix("").parts)))


def reached_from(files: Iterable[Path]) -> set[Path]:
    """`files` and all that they import; an __init__ that holds a docstring alone is none."""
    open_, seen = set(files), set[Path]()
    while open_:
        path = open_.pop()
        seen.add(path)
        open_ |= imported(path) - seen
    seen |= {page for path in seen for page in path.parent.glob("*.html")}
    return {path for path in seen if holds_code(path)}


@cache
def holds_code(path: Path) -> bool:
    return path.read_text().count("\n") > 1


def closure(stage: str) -> set[str]:
    """What dvc.yaml names for `stage`: the folders whose code it reaches, and single files elsewhere."""
    files = reached(stage)

    def named(folder: Path) -> Iterator[Path]:
        code = {path for kind in ("*.py", "*.html") for path in folder.rglob(kind) if holds_code(path)}
        if not code & files:
            return
        if folder != PACKAGE and code - files <= {PACKAGE / name for name in UNREACHED}:
            yield folder
            return
        yield from (path for path in code & files if path.parent == folder)
        for inner in folder.iterdir():
            if inner.is_dir():
                yield from named(inner)

    return {str(path.relative_to(ROOT)) for path in named(PACKAGE)}


@pytest.mark.parametrize("stage", GRAPH)
def test_deps_are_the_import_closure(stage: str) -> None:
    declared = {dep for dep in GRAPH[stage]["deps"] if dep.startswith("src/")}
    wanted = closure(stage)
    listing = "\n".join(f"      - {path}" for path in sorted(wanted))
    assert declared == wanted, f"deps of {stage} in dvc.yaml should hold\n{listing}"


def test_a_score_of_a_table_depends_on_the_code_it_reaches() -> None:
    """It is no stage of dvc.yaml, but has a list of its code all the same."""
    declared = [PACKAGE / name for name in SCORE_CODE]
    missing = {
        str(path.relative_to(PACKAGE))
        for path in reached_from([PACKAGE / "experiments/tables/score.py"])
        if not any(path.is_relative_to(code) for code in declared)
    }
    assert not missing, f"SCORE_CODE in experiments/tables/cells.py lacks {missing}"


@pytest.mark.parametrize("file", UNREACHED)
def test_a_file_that_some_stage_does_not_reach_is_needed(file: str) -> None:
    """An exception that is none any more goes."""
    listed = [
        stage
        for stage in GRAPH
        if any((PACKAGE / file).is_relative_to(ROOT / dep) for dep in GRAPH[stage]["deps"])
    ]
    assert [stage for stage in listed if PACKAGE / file not in reached(stage)]


@pytest.mark.parametrize("stage", GRAPH)
def test_params_are_those_that_run_takes(stage: str) -> None:
    """Its signature is read without an import, which would bring torch along."""
    (run,) = (
        node
        for node in ast.parse(entry(stage).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "run"
    )
    taken = [argument.arg.replace("__", ".") for argument in run.args.args]
    assert sorted(taken) == sorted([*GRAPH[stage]["params"], "paths", "log"])


@pytest.mark.parametrize("stage", GRAPH)
def test_no_stage_depends_on_another_run(stage: str) -> None:
    assert not [dep for dep in GRAPH[stage]["deps"] if dep.startswith("runs")]
    assert f"runs/{stage}.json" in GRAPH[stage]["outs"]


def test_the_graph_can_be_read_at_a_sitting() -> None:
    """More means that code several stages need is spread over too many places."""
    deps = [dep for stage in GRAPH.values() for dep in stage["deps"] if dep.startswith("src/")]
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) <= 220 and len(deps) <= 80


def test_the_drawing_of_the_graph_is_true_and_leaves_out_what_follows() -> None:
    """Arrows that follow from others (a → c, where a → b → c) are left out: nobody can read all of them."""
    text = (ROOT / "docs/architecture.md").read_text()
    lines = text.split("flowchart LR\n")[1].split("```")[0].splitlines()
    sides = [[side.split(" & ") for side in line.strip().split(" --> ")] for line in lines]
    drawn = {(before, after) for befores, afters in sides for before in befores for after in afters}
    outs = {stage: [*of["outs"], *of.get("metrics", [])] for stage, of in GRAPH.items()}
    # An output with a setting of its own is a mapping with one key.
    made_by = {out if isinstance(out, str) else next(iter(out)): s for s, all in outs.items() for out in all}
    arrows = {(made_by[dep], stage) for stage, of in GRAPH.items() for dep in of["deps"] if dep in made_by}
    assert drawn == set(networkx.transitive_reduction(networkx.DiGraph(sorted(arrows))).edges)
    assert f"all {len(arrows)} arrows" in text


def test_dvc_shows_few_numbers_and_plots_that_say_what_they_are() -> None:
    """Other metrics are outs: `dvc metrics show` was 301 columns wide with them."""
    assert [file for stage in GRAPH.values() for file in stage.get("metrics", [])] == ["metrics/summary.json"]
    outs = {str(out) for stage in GRAPH.values() for out in stage["outs"]}
    for plot in DVC["plots"]:
        ((name, look),) = plot.items()
        files = look["y"] if isinstance(look["y"], dict) else {name: look["y"]}
        assert set(files) <= outs and look["title"]
        assert look["x"] in ("epoch", "predicted") or look["x_label"], name
        assert look["y"] == "actual" or look["y_label"], name


def test_params_have_what_dvc_looks_up() -> None:
    """DVC stops at a parameter that params.yaml leaves to its default."""
    settings = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    for stage in GRAPH.values():
        for name in stage["params"]:
            found = settings
            for part in name.split("."):
                assert part in found, f"params.yaml lacks {name}"
                found = found[part]
