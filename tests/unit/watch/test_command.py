"""The command as a user calls it: it watches files to their end, and refuses what cannot be watched."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slimstream.cli.parser import main
from tests.unit.finished_pipeline import render
from tests.unit.watch import tiny


def test_files_are_watched_to_their_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "watch.yaml").write_text("agree: 1\nclips: 0\n")
    render(tmp_path / "a.mp4", "leak", 1.0)
    model = str(tiny.export(tmp_path / "model"))
    asked = ["--root", str(tmp_path), "watch", str(tmp_path / "a.mp4"), "--model", model, "--port", "0"]
    assert main([*asked, "--settings", str(tmp_path / "watch.yaml")]) == 0
    (event,) = (tmp_path / "watched/events.jsonl").read_text().splitlines()
    assert json.loads(event)["state"] == "leak" and json.loads(event)["clip"] is None
    said = capsys.readouterr()
    assert "a is leak (" in said.out and "the page is http://127.0.0.1:" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to watch"),
        (["gone.mp4"], "neither a file nor a folder"),
        (["rig://1", "--settings", "gone.yaml"], "gone.yaml is missing"),
        (["rig://1", "--host", "0.0.0.0"], "SLIMSTREAM_WATCH_PASSWORD"),
        (["rtsp://a:${NO_SUCH}@b/"], "NO_SUCH"),
    ],
)
def test_what_cannot_be_watched_is_one_sentence(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tiny.export(tmp_path / "model"))
    assert main(["--root", str(tmp_path), "watch", *arguments, "--model", model, "--port", "0"]) == 2
    assert said in capsys.readouterr().err


def test_a_signal_ends_live_cameras_and_events_are_kept(tmp_path: Path) -> None:
    model = str(tiny.export(tmp_path / "model"))
    program = [sys.executable, "-m", "slimstream", "watch", "rig://1?fps=10", "--model", model, "--port", "0"]
    (tmp_path / "watch.yaml").write_text("agree: 1\n")
    watch = subprocess.Popen(
        [*program, "--settings", "watch.yaml"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None and "rig-1 is" in watch.stdout.readline()
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(30) == 0
    (event,) = (tmp_path / "watched/events.jsonl").read_text().splitlines()
    assert (tmp_path / "watched/clips" / json.loads(event)["clip"]).is_file()
