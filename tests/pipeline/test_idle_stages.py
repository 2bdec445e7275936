"""A stage that the recipe gives nothing to do is over before torch or MLflow would be imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slimstream.core.paths import Paths

CODE = """
import sys
from slimstream.cli.parser import main
status = main(["--root", sys.argv[1], sys.argv[2]])
print(status, "torch" in sys.modules)
"""


@pytest.mark.parametrize("stage", ["search", "teachers"])
def test_a_stage_without_work_imports_no_torch_and_records_no_run(
    tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLIMSTREAM_TRACKING", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    paths = Paths(tmp_path)
    paths.params.write_text("recipe: idle\n")
    for folder in (paths.teachers, paths.teacher_curves):  # of an earlier recipe
        (folder / "dropped").mkdir(parents=True)
    command = [sys.executable, "-c", CODE, str(tmp_path), stage]
    assert subprocess.check_output(command, text=True).split() == ["0", "False"]
    assert json.loads(paths.metrics(stage).read_text()) == {}
    assert json.loads(paths.run(stage).read_text()) == {"run_id": None}
    assert not (tmp_path / "mlflow.db").exists()
    if stage == "teachers":
        assert not [*paths.teachers.iterdir(), *paths.teacher_curves.iterdir()]
    else:
        assert json.loads(paths.search.read_text())["chosen"] is None
        assert paths.curves("search").read_text().startswith("candidate,")
