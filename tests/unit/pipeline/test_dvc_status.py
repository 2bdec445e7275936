"""What a change makes run again, asked of DVC itself in a small copy of the project."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.dvc_runner import environment

ROOT = Path(__file__).parents[3]
CHANGES = {
    "a limit of the gate": ("params.yaml", "min_macro_f1: 0.5", "min_macro_f1: 0.6"),
    "a default of the gate": ("src/slimstream/registry/params.py", "Field(0.02, ge=0", "Field(0.03, ge=0"),
    "a section that is added": ("src/slimstream/pipeline/params.py", '"""The whole', '"""All'),
    "code of pruning": ("src/slimstream/stages/prune/pruning.py", '"""', '"""Anew. '),
    "a setting of pruning": ("params.yaml", "\n  rate: auto\n", "\n  rate: 0.5\n"),
    "a default of evaluate": ("src/slimstream/stages/evaluate/params.py", "Field(1000, ", "Field(2000, "),
    "the seed of the split": ("params.yaml", "given: null\n  seed: 0", "given: null\n  seed: 1"),
}
"""File, text in it (its first place), and what is put there."""

# All in one process: DVC takes longer to start than to answer.
ASK = """
import json, sys
from pathlib import Path
from dvc.repo import Repo

with Repo() as repo:
    repo.commit(force=True)
said = {"nothing": []}
for name, (file, old, new) in json.loads(sys.argv[1]).items():
    before = Path(file).read_text()
    assert old in before, (file, old)
    Path(file).write_text(before.replace(old, new, 1))
    with Repo() as repo:
        said[name] = sorted(repo.status())
    Path(file).write_text(before)
with Repo() as repo:
    said["nothing"] = sorted(repo.status())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """After each change, the stages that `dvc status` finds changed; later ones follow if outs differ."""
    root = tmp_path_factory.mktemp("project")
    for file in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / file, root)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (root / ".dvcignore").write_text("__pycache__\n")
    (root / "source.lock.json").write_text("{}")
    for stage in YAML(typ="safe").load(root / "dvc.yaml")["stages"].values():
        for out in [*stage["outs"], *stage.get("metrics", ())]:
            made = root / (out if isinstance(out, str) else next(iter(out)))
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_text("{}")
    command = [sys.executable, "-c", ASK, json.dumps(CHANGES)]
    answer = subprocess.run(
        command, cwd=root, env=environment(root, {}), capture_output=True, text=True, check=True
    )
    return {name: set(stages) for name, stages in json.loads(answer.stdout.splitlines()[-1]).items()}


def test_nothing_is_stale_when_nothing_has_changed(stale: dict[str, set[str]]) -> None:
    assert stale["nothing"] == set()


def test_the_gate_is_a_matter_of_publish_alone(stale: dict[str, set[str]]) -> None:
    """`publish` is no stage of the graph: it always asks the gate anew."""
    assert stale["a limit of the gate"] == stale["a default of the gate"] == set()


def test_pruning_runs_nothing_that_comes_before_it(stale: dict[str, set[str]]) -> None:
    assert stale["code of pruning"] == stale["a setting of pruning"] == {"prune"}


def test_a_section_is_a_matter_of_the_stages_that_take_it(stale: dict[str, set[str]]) -> None:
    assert stale["a section that is added"] == set()
    assert stale["a default of evaluate"] == {"evaluate"}
    assert stale["the seed of the split"] == {"split", "validate"}
