"""Every command that README and docs show is run here, or by the test that is named beside it.

A command is a line of a fenced block, or code within a sentence that begins with a program's name. What is
new in the text and in no list below makes a test fail. Whatever a command does, its options must be those
that the program has: command lines of ours are read by the parsers themselves, targets of make looked up.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from infra.services.__main__ import _parser as services_parser
from slimstream.cli.parser import _parser as slimstream_parser
from slimstream.pipeline.params import load_params
from slimstream.pipeline.params_file import from_recipe
from slimstream.pipeline.recipes import load_recipe
from tests.flows.conftest import PROJECT
from tests.flows.mini_project import commit, git
from tests.ports import free_port

TEXTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")), PROJECT / "benchmarks/README.md"]
PROGRAMS = (
    *("make", "dvc", "python", "prefect", "mlflow", "git", "docker", "docker-compose", "kubectl", "dask"),
    *(
        "torchrun",
        "systemd-analyze",
        "pip",
        "curl",
        "tar",
        "cp",
        "mv",
        "rm",
        "chmod",
        "echo",
        "export",
        "sha256sum",
    ),
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
ASSIGNMENT = re.compile(r"^[A-Z_]+=\S*$")

TRIED = "dvc exp run -S prune.rate=0.3 -S prune.target_params=null"
SHOWN = "dvc exp show --only-changed --drop '.*/|exports'"
HERE = {
    "dvc repro": "test_what_a_reader_does_with_dvc",
    TRIED: "test_trying_something_works_with_every_recipe",
    "dvc metrics diff": "test_what_a_reader_does_with_dvc",
    "dvc plots show": "test_what_a_reader_does_with_dvc",
    "dvc params diff": "test_what_a_reader_does_with_dvc",
    "dvc status": "test_what_a_reader_does_with_dvc",
    SHOWN: "test_what_a_reader_does_with_dvc",
    "dvc exp": "test_what_a_reader_does_with_dvc",
    "python -m slimstream": "test_options_are_those_that_there_are",
    "dvc gc --workspace --all-commits --dry": "test_what_a_reader_does_with_dvc",
    "dvc gc --workspace --all-commits": "test_what_a_reader_does_with_dvc",
    "mlflow ui --backend-store-uri sqlite:///mlflow.db": "test_mlflow_shows_the_runs",
    "python -m slimstream --help": "test_options_are_those_that_there_are",
}
"""Run by this file."""

ELSEWHERE = {
    "dvc dag": "tests/flows/test_dvc_runner.py::test_order_comes_from_the_graph_and_dvc_skips",
    "dvc repro search": "tests/pipeline/test_search.py",
    "make demo": "tests/flows/test_retrain.py::test_one_task_a_stage_then_nothing_to_do",
    "make run": "tests/flows/test_recipe.py::test_a_recipe_with_a_source_keeps_its_comments",
    "python -m flows.retrain": "tests/flows/test_retrain.py::test_one_task_a_stage_then_nothing_to_do",
    "python -m flows.recipe": "tests/flows/test_recipe.py::test_the_command_writes_params_and_runs_nothing",
    "make folds": "tests/unit/experiments/test_folds.py",
    "make tables": "tests/pipeline/test_tables.py",
    "make up": "tests/flows/test_services.py::test_up_starts_what_is_missing_and_nothing_else",
    "make watch": "tests/unit/test_makefile.py::test_watch_looks_at_the_rig_where_nothing_is_named",
    "python -m slimstream watch": "tests/unit/watch/test_command.py",
    "python -m slimstream inbox": "tests/unit/watch/inbox/test_handoff.py",
    "make status": "tests/flows/test_services.py::test_all_are_well_and_secrets_stay_secret",
    "make down": "tests/flows/test_services.py::test_down_leaves_no_process",
    "make bench": "tests/unit/test_benchmarks.py",
    "python -m infra.services": "tests/flows/test_services.py",
    "python -m slimstream predict": "tests/unit/serving/test_predict.py",
    "python -m slimstream bundle": "tests/unit/bundle/test_make.py",
    "python -m slimstream verify": "tests/unit/bundle/test_make.py",
    "python -m slimstream publish": "tests/unit/registry/test_versions.py",
    "python -m slimstream tables": "tests/pipeline/test_tables.py",
    "python -m slimstream process": "tests/unit/sensors/test_table.py",
    "python -m slimstream gc": "tests/unit/registry/test_retention.py",
    "python -m slimstream folds": "tests/unit/experiments/test_folds.py",
    "python -m slimstream models": "tests/unit/models/test_models.py",
    "python -m benchmarks.front": "tests/unit/test_benchmarks.py",
    "python -m benchmarks.plants": "tests/unit/test_benchmarks.py",
    "python -m slimstream models --evaluated": "tests/unit/cli/test_model_table.py",
    "python -m slimstream scan": "tests/unit/stages/ingest/test_scan.py",
    "dvc config --local core.no_scm": "tests/flows/test_dvc_runner.py",
    "make clean": "tests/unit/cli/test_clean.py",
    "make setup": "tests/unit/cli/test_clean.py",
    "mlflow experiments restore": "tests/unit/tracking/test_store.py",
    "prefect deploy --all": "tests/flows/conftest.py",
    "prefect work-pool create slimstream --type process": "tests/flows/conftest.py",
    "prefect worker start --pool slimstream": "tests/flows/test_services.py",
    "prefect server start": "tests/flows/test_services.py",
    "dask": "tests/pipeline/test_cluster.py",
    "torchrun": "tests/pipeline/test_processes.py",
    "SLIMSTREAM_PROCESSES=4 dvc repro": "tests/pipeline/test_processes.py",
    "SLIMSTREAM_DASK=tcp://box:8786 dvc repro": "tests/pipeline/test_cluster.py",
    "git clone": "tests/flows/test_reproduce.py::test_a_version_is_made_again_from_git_and_remote_alone",
    "git checkout": "tests/flows/test_reproduce.py::test_a_version_is_made_again_from_git_and_remote_alone",
    "dvc pull": "tests/flows/test_reproduce.py::test_a_version_is_made_again_from_git_and_remote_alone",
    "dvc push": "tests/flows/test_reproduce.py::test_a_push_that_fails_is_seen_and_loses_nothing",
    "sha256sum": "tests/flows/test_reproduce.py::test_a_version_is_made_again_from_git_and_remote_alone",
}
"""Beginning of a command → the test, or the file of tests, that runs the same."""

NOT_RUN = {
    "make test": "it is what runs this",
    "make test-all": "the same",
    "make lint": "a part of it",
    "dvc exp run -S prune.rate=0.3": "what failed before; with the other goal set to null it is run above",
    "make audit": "asks PyPI",
    "python -m benchmarks slim": "takes a minute; tests/unit/test_benchmarks.py runs small comparisons",
    "python -m benchmarks diagnosis slim": "takes minutes; tests/unit/test_benchmarks.py has small ones",
    "python -m benchmarks pruned": "takes minutes; tests/unit/test_benchmarks.py runs small comparisons",
    "python -m benchmarks watch": "takes minutes; tests/flows/test_watching.py looks at streams",
    "python -m benchmarks endurance": "takes minutes; tests/unit/test_benchmarks.py runs small comparisons",
    "python -m benchmarks drift": "takes many minutes; tests/unit/watch/drift has the tests",
    "python -m benchmarks.watch_page": "needs a champion; tests/flows/test_watching.py looks at the page",
    "python -m benchmarks.screens": "a quarter of an hour with servers and a browser",
    "python -m tests.faults": "an hour or two; docs/faults.md holds what came of it",
    "mlflow gc": "MLflow's own; docs/operations.md says how it was tried",
    "dvc checkout": "DVC's own; the sentence says how to go on from it",
    "dvc gc": "the name of what is run above with its options",
    "make PYTHON": "sets an environment up",
    "docker": "no docker daemon where tests run; test_infra and test_compose hold the files",
    "docker-compose": "the same",
    "systemd-analyze": "needs systemd",
    "tar": "the system's own, on the folder of servers that are down",
    "cp": "the system's own",
    "mv": "the system's own",
    "rm": "the system's own",
    "chmod": "the system's own",
    "echo": "the system's own",
    "export": "the shell's own",
    "git pull": "needs where this came from",
    "git push": "the same",
    "dvc remote": "needs a bucket of the reader's",
    "mlflow db": "in a container",
}
"""Beginning of a command → why no test runs it."""


def commands() -> Iterator[tuple[str, str]]:
    """(file, command) for all there are, without comments, each once a file."""
    for text in TEXTS:
        said = text.read_text()
        found = [
            line for _, block in FENCE.findall(said) if _ in ("", "bash", "sh") for line in block.splitlines()
        ]
        found += INLINE.findall(FENCE.sub("", said))
        for line in dict.fromkeys(found):
            for command in re.split(r" ; | && ", re.sub(r"\s+#.*|^#.*", "", line)):
                words = [word for word in command.split() if not ASSIGNMENT.match(word)]
                if len(words) > 1 and words[0] in PROGRAMS:
                    yield text.name, command.strip()


ALL = sorted(set(commands()))


def listed(command: str) -> bool:
    """Whether a list above knows it; `python -m infra.services exec` hands a command on."""
    bare = " ".join(w for w in command.split() if not ASSIGNMENT.match(w))
    bare = bare.removeprefix("python -m infra.services exec ")
    begins = (*ELSEWHERE, *NOT_RUN)
    return any(c in HERE or any(c == b or c.startswith(f"{b} ") for b in begins) for c in (command, bare))


@pytest.mark.parametrize(("file", "command"), ALL)
def test_it_is_known_who_runs_it(file: str, command: str) -> None:
    assert listed(command), (
        f"{file}: say in tests/flows/test_readme.py which test runs `{command}`, or why none"
    )


def test_the_tests_that_are_named_are_there() -> None:
    for name in ELSEWHERE.values():
        file, _, test = name.partition("::")
        assert (PROJECT / file).is_file(), name
        assert not test or f"def {test}(" in (PROJECT / file).read_text(), name
    assert {name for name in HERE.values()} <= set(globals())


@pytest.mark.parametrize(("file", "command"), ALL)
def test_options_are_those_that_there_are(
    file: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)
    while ASSIGNMENT.match(words[0]):
        words = words[1:]
    parsers = {"slimstream": slimstream_parser, "infra.services": services_parser}
    while words[:2] == ["python", "-m"] and words[2] in parsers:
        given = [word.split("|")[0] for word in words[3:]]  # p1|p2: one of them
        if not given or (len(given) == 1 and not given[0].startswith("-")):
            given.append("--help")  # a command that is named, not called
        try:
            parsers[words[2]]().parse_args(given)
        except SystemExit as end:
            assert end.code == 0, f"{file}: {command}: {capsys.readouterr().err}"
        words = words[4:] if words[3:4] == ["exec"] else []
    if words[:1] == ["make"]:
        makefile = (PROJECT / "Makefile").read_text()
        for word in words[1:]:
            name, equals, _ = word.partition("=")
            taken = rf"\$\((value )?{name}\)" if equals else rf"^{name}:"
            there = re.search(taken, makefile, re.MULTILINE)
            assert there, f"{file}: {command}: {word}"


@pytest.mark.parametrize("recipe", sorted((PROJECT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_trying_something_works_with_every_recipe(recipe: Path, tmp_path: Path) -> None:
    """What `dvc exp run` does with its -S before it runs anything."""
    assert ("usage.md", TRIED) in ALL
    overrides = [word for word in shlex.split(TRIED)[3:] if word != "-S"]
    (tmp_path / "params.yaml").write_text(from_recipe(recipe))
    apply_overrides(tmp_path / "params.yaml", overrides)
    params = load_params(tmp_path / "params.yaml")
    assert (params.prune.rate, params.prune.target_params) == (0.3, None)


STAGE = """
stages:
  prune:
    cmd: python work.py
    params: [prune]
    outs: [model]
    metrics: [metrics.json]
    plots: [curve.csv: {x: epoch}]
"""
WORK = """
import json, pathlib
from slimstream.pipeline.params import load_params
rate = load_params(pathlib.Path("params.yaml")).prune.rate or 0.0
pathlib.Path("model").write_text(str(rate))
pathlib.Path("metrics.json").write_text(json.dumps({"rate": rate}))
pathlib.Path("curve.csv").write_text(f"epoch,loss\\n0,{rate}\\n1,0\\n")
"""


PRIVATE = shutil.ignore_patterns("cache", "tmp", "config.local")


def ask(root: Path, command: str) -> str:
    """What `command` says in `root`, typed with the environment's programs on the path."""
    where = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT / "src"),
    }
    done = subprocess.run(
        shlex.split(command), cwd=root, env={**os.environ, **where}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_a_reader_does_with_dvc(tmp_path: Path) -> None:
    """In a project of one stage: the commands are DVC's, what they have to fit are our settings."""
    (tmp_path / "params.yaml").write_text(from_recipe(PROJECT / "recipes/p3.yaml"))
    (tmp_path / "dvc.yaml").write_text(STAGE)
    (tmp_path / "work.py").write_text(WORK)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "t")
    git(tmp_path, "config", "user.email", "t@localhost")
    ask(tmp_path, "dvc init -q")
    shutil.copytree(PROJECT / ".dvc", tmp_path / ".dvc", dirs_exist_ok=True, ignore=PRIVATE)
    commit(tmp_path)
    ask(tmp_path, "dvc repro")
    commit(tmp_path)
    ask(tmp_path, TRIED)
    assert "prune.target_params" in ask(tmp_path, "dvc params diff")
    assert "0.3" in ask(tmp_path, "dvc metrics diff")
    columns = ask(tmp_path, f"{SHOWN} --csv").splitlines()[0].split(",")
    assert {"rate", "prune.rate", "prune.target_params"} < set(columns) and len(columns) < 12
    assert "file://" in ask(tmp_path, "dvc plots show")
    page = (tmp_path / "dvc_plots/index.html").read_text()
    assert "vegaEmbed('#curve_csv'" in page and "<script src" not in page  # nothing comes from a network
    assert "up to date" in ask(tmp_path, "dvc status")
    ask(tmp_path, "dvc gc --workspace --all-commits --dry -f")
    ask(tmp_path, "dvc gc --workspace --all-commits -f")
    settings = YAML(typ="safe").load((tmp_path / "params.yaml").read_text())
    assert settings["prune"]["rate"] == 0.3 and settings["recipe"] == "p3"


@pytest.mark.box
def test_mlflow_shows_the_runs(tmp_path: Path) -> None:
    port = free_port()
    (command,) = (c for _, c in ALL if c.startswith("mlflow ui"))
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "mlflow"), *shlex.split(command)[1:], "--port", str(port)],
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        for _ in range(600):  # its four workers import MLflow, on a busy box for more than a minute
            try:
                with urlopen(f"http://127.0.0.1:{port}/health") as answer:
                    assert answer.read() == b"OK"
                    break
            except (URLError, ConnectionError):
                assert server.poll() is None
                time.sleep(0.5)
        else:
            pytest.fail("it does not answer")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_the_example_in_python_names_what_its_recipe_registers() -> None:
    name, block = example()
    compile(block, "usage.md", "exec")
    assert load_recipe(PROJECT / f"recipes/{name}.yaml").publish.name == name


def example() -> tuple[str, str]:
    """The lines of Python in docs/usage.md, and the model that they ask for."""
    text = (PROJECT / "docs/usage.md").read_text()
    (block,) = (body for language, body in FENCE.findall(text) if language == "python")
    (name,) = re.findall(r"models:/(\w+)@champion", block)
    return name, block


@pytest.mark.box
@pytest.mark.timeout(1800)  # six minutes on two busy cores
def test_from_the_first_run_to_the_use_of_the_model(tmp_path: Path) -> None:
    """The real graph on a plant that takes minutes, then what docs/usage.md shows next, but for names."""
    for name in ("src", "recipes", "dvc.yaml", ".gitignore", ".dvcignore"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, tmp_path / name)
    (tmp_path / "params.yaml").write_text(from_recipe(PROJECT / "tests/faults/plant.yaml"))
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "t")
    git(tmp_path, "config", "user.email", "t@localhost")
    ask(tmp_path, "dvc init -q")
    ask(tmp_path, "python -m slimstream scan")
    commit(tmp_path)
    ask(tmp_path, "dvc repro")
    commit(tmp_path)
    assert "prune" in ask(tmp_path, TRIED)
    assert "metrics/summary.json" in ask(tmp_path, "dvc metrics diff")
    assert "file://" in ask(tmp_path, "dvc plots show")
    said = ask(tmp_path, "python -m slimstream publish")
    assert "version 1" in said
    ask(tmp_path, "python -m slimstream promote 1 --force")
    ask(tmp_path, "python -m slimstream versions")
    clips = sorted((tmp_path / "data/ingested").rglob("*.*"))[:2]
    for options in ("", "--json", "--model exports/pruned --runtime onnx --out labels.csv"):
        ask(tmp_path, f"python -m slimstream predict {clips[0]} {clips[1]} {options}")
    assert (tmp_path / "labels.csv").read_text().count("\n") == 3
    name, block = example()
    mine = load_params(tmp_path / "params.yaml").publish.name
    for word, instead in ((f"models:/{name}@", f"models:/{mine}@"), ("a.mp4", clips[0]), ("b.mp4", clips[1])):
        block = block.replace(str(word), str(instead))
    (tmp_path / "use.py").write_text(
        block.replace("champion.predict", "print(len(champion.predict").replace("])  #", "])))  #")
    )
    assert ask(tmp_path, "python use.py").splitlines()[-1] == "2"
