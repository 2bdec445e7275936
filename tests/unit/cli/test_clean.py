"""`make clean` and `make setup` delete what is ours, and nothing of the user's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slimstream.cli.clean import clean
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.stages.ingest.reserved_folders import stage_outputs

CHECKOUT = Path(__file__).parents[3]
BESIDE = (
    *("data/mine/on/1.mp4", "reports/mine.pdf", "models/my-teacher/weights", "plots/notes.txt"),
    *("runs/publish.json", ".slimstream/store/x", "mlflow.db", "my-clips/1.mp4"),
)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A copy of the project's outside, with every out made and files of a user's beside them."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("dvc.yaml", "Makefile", "requirements.lock"):
        shutil.copy(CHECKOUT / name, root)
    (root / "src").symlink_to(CHECKOUT / "src")
    (root / "infra").mkdir()
    (root / "infra/uv.lock").touch()
    for out in stage_outputs(root):
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix:
            out.write_text("made")
        else:
            out.mkdir()
            (out / "made-01234567.mp4").write_text("made")
    for name in BESIDE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine")
    return Paths(root)


def make(paths: Paths, target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", target, *arguments], cwd=paths.root, capture_output=True, text=True)


def test_exactly_the_outs_and_the_report_go(paths: Paths) -> None:
    paths.report.write_text("a verdict on models that go")
    done = make(paths, "clean", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert f"{len(stage_outputs(paths.root)) + 1} of the files" in done.stdout and not paths.report.exists()
    assert not [out for out in stage_outputs(paths.root) if out.exists()]
    assert all((paths.root / name).read_text() == "mine" for name in BESIDE)
    assert clean(paths) == ([], [])


def test_links_go_and_what_they_lead_to_stays(paths: Paths) -> None:
    disk = paths.root.parent / "disk"
    (disk / "plots").mkdir(parents=True)
    (disk / "clip.mp4").write_text("mine")
    (disk / "plots/original.csv").write_text("mine")
    shutil.rmtree(paths.packs)
    paths.packs.symlink_to(disk)  # an out that is a link
    (paths.ingested / "on-01234567.mp4").symlink_to(disk / "clip.mp4")  # DVC's cache type symlink
    shutil.rmtree(paths.root / "plots")
    (paths.root / "plots").symlink_to(disk / "plots")  # an out behind a link
    deleted, left = clean(paths)
    assert paths.packs in deleted and paths.ingested in deleted and not paths.packs.is_symlink()
    assert left == [paths.root / "plots/original.csv"]
    assert (disk / "clip.mp4").read_text() == "mine" == (disk / "plots/original.csv").read_text()


def test_an_out_elsewhere_stays(paths: Paths) -> None:
    elsewhere = paths.root.parent / "elsewhere"
    elsewhere.mkdir()
    named = f"[., ../elsewhere, {elsewhere}]"
    (paths.root / "dvc.yaml").write_text(f"stages: {{a: {{cmd: x, outs: {named}}}}}\n")
    deleted, left = clean(paths)
    assert deleted == [] and len(left) == 3 and elsewhere.is_dir() and paths.ingested.is_dir()


def test_clips_of_a_users_in_data_raw_stop_it(paths: Paths) -> None:
    (paths.ingested / "monday.mp4").write_text("the only copy")
    with pytest.raises(UserError, match=r"data/ingested holds 'monday\.mp4'"):
        clean(paths)
    assert all(out.exists() for out in stage_outputs(paths.root))


def test_without_an_environment_clean_says_what_it_needs(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "bare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bare").chmod(0o755)
    done = make(paths, "clean", f"PYTHON={tmp_path / 'bare'}")
    assert done.returncode and "run `make setup` first" in done.stderr and paths.ingested.is_dir()


PYTHON = """#!/bin/sh
# Stands for python3: checks its version, makes an environment whose pip and uv only note that they ran.
case "$1 $2" in
  "-m venv") [ -z "$STOP" ] || exit 1
    mkdir -p .venv/bin
    for tool in python uv; do
      printf '#!/bin/sh\\ncase "$1" in -c) echo .venv ;; esac\\n' > .venv/bin/$tool; chmod +x .venv/bin/$tool
    done ;;
esac
"""


@pytest.fixture
def python(tmp_path: Path) -> str:
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return f"PYTHON={tmp_path / 'python'}"


def test_setup_makes_resumes_and_renews_its_own_environment(
    paths: Paths, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv = paths.root / ".venv"
    monkeypatch.setenv("STOP", "1")
    assert make(paths, "setup", python).returncode and not (venv / "bin").exists()
    (venv / "half").touch()
    monkeypatch.delenv("STOP")
    done = make(paths, "setup", python)
    assert done.returncode == 0, done.stderr
    assert (venv / "bin/.ready").exists() and not (venv / "half").exists()
    (venv / "old").touch()
    os.utime(venv / "bin/.ready", (0, 0))  # a newer lock file
    assert make(paths, "setup", python).returncode == 0 and not (venv / "old").exists()
    # One that was made before there was a mark.
    (venv / ".made-by-slimstream").unlink()
    os.utime(venv / "bin/.ready", (0, 0))
    assert make(paths, "setup", python).returncode == 0 and (venv / ".made-by-slimstream").exists()


def test_setup_empties_no_environment_of_somebody_else(paths: Paths, python: str) -> None:
    venv, mine = paths.root / ".venv", paths.root.parent / "mine"
    for folder in (venv, mine):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/tool").write_text("mine")
    done = make(paths, "setup", python)
    assert done.returncode and ".venv is a link, or was not made by `make setup`" in done.stderr
    assert (venv / "bin/tool").read_text() == "mine"
    shutil.rmtree(venv)
    venv.symlink_to(mine)
    (mine / "bin/.ready").touch()
    os.utime(mine / "bin/.ready", (0, 0))
    assert make(paths, "setup", python).returncode and (mine / "bin/tool").read_text() == "mine"
    venv.unlink()
    venv.mkdir()  # nothing to lose
    assert make(paths, "setup", python).returncode == 0
