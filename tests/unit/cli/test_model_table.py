"""`models --evaluated`: the models of the last run."""

import json
from pathlib import Path

import pytest

from slimstream.cli.parser import main
from slimstream.core.paths import Paths
from slimstream.stages.evaluate.report.judged import BEGIN, END


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


def test_a_report_of_another_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As after `dvc repro`, which restored evaluate from its cache: only the page without verdict is new."""
    paths, verdict = Paths(tmp_path), (f"{BEGIN}not yet{END}", f"{BEGIN}version 1 is champion{END}")
    for file in (paths.metrics("evaluate"), paths.report_page, paths.report):
        file.parent.mkdir(exist_ok=True)
    paths.metrics("evaluate").write_text(json.dumps({"original.macro_f1": 0.9}))
    said = []
    for page in ("one", "two"):
        paths.report_page.write_text(f"<p>{page}</p>{verdict[0]}</html>")
        if page == "one":
            paths.report.write_text(f"<p>one</p>{verdict[1]}</html>")
        assert main(["--root", str(tmp_path), "models", "--evaluated"]) == 0
        said.append(capsys.readouterr().out)
    assert "another run" not in said[0]
    assert f"{paths.report} is of another run: `python -m slimstream publish`" in said[1]
