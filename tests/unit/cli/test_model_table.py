"""`models --evaluated`: the models of the last run."""

import json
from pathlib import Path

import pytest

from slimstream.cli.parser import main
from slimstream.core.paths import Paths


def test_models_of_the_last_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = {
        "original.macro_f1": 0.9,
        "original.megabytes": 12.0,
        "slim.macro_f1": 0.9,
        "slim.megabytes": 3.0,
    }
    file = Paths(tmp_path).metrics("evaluate")
    command = ["--root", str(tmp_path), "models", "--evaluated"]
    assert main(command) == 2
    assert f"{file} is not there; run the stage evaluate first" in capsys.readouterr().err
    file.parent.mkdir()
    file.write_text(json.dumps(scores))
    assert main(command) == 0
    assert "0.25 × (3.0 MB)" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    original, slim = json.loads(capsys.readouterr().out)
    assert slim["model"] == "slim" and slim["megabytes_ratio"] == 0.25 and original["megabytes_ratio"] is None
    assert slim["latency_p50_ms_ratio"] is None
