"""A disk that fills up under a stage: one sentence, and with more room it goes on where it was."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slimstream.core.paths import Paths
from tests.pipeline.tiny_study import PARAMS, study

pytestmark = pytest.mark.box


class Disk:
    """A file system of its own, as large as it is told to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)

    def leave(self, kilobytes: int) -> None:
        used = int(subprocess.check_output(["df", "-k", "--output=used", self.folder]).split()[-1])
        size = f"remount,size={used + kilobytes}k"
        subprocess.run(["mount", "-o", size, self.folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        found = Disk(tmp_path)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a file system")
    yield found
    subprocess.run(["umount", tmp_path], check=True)


def stage(paths: Paths, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slimstream", "--root", str(paths.root), name]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def paths(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "off")
    monkeypatch.delenv("SLIMSTREAM_CACHE", raising=False)
    paths = study(disk.folder / "study", extract={**PARAMS["extract"], "frames": 6})
    for left in paths.packs.iterdir():
        left.unlink()
    return paths


def test_extract_and_train_go_on_when_there_is_room_again(disk: Disk, paths: Paths) -> None:
    pack = 6 * 64 * 64 * 5 // 1024
    disk.leave(5 * pack)
    full = stage(paths, "extract")
    assert full.returncode == 2 and "Traceback" not in full.stderr, full.stderr
    assert "space left" in full.stderr and str(paths.root) in full.stderr
    disk.leave(8000)
    again = stage(paths, "extract")
    assert again.returncode == 0, again.stderr
    assert "clips are already packed" in again.stdout
    assert len(list(paths.packs.glob("*.npy"))) == 24

    disk.leave(1000)  # less than the state of a training
    full = stage(paths, "train")
    assert full.returncode == 2 and "Traceback" not in full.stderr, full.stderr
    assert "No space left on device" in full.stderr and not list(paths.cache.rglob("temporary-*"))
    disk.leave(200_000)
    again = stage(paths, "train")
    assert again.returncode == 0, again.stderr
    assert (paths.model("original") / "weights.safetensors").exists()
