"""Threads that wait for work sleep, unless the user has said otherwise."""

import subprocess
import sys
from pathlib import Path

import pytest

from slimstream.core.threads import PASSIVE_WAITING, use_passive_waiting


def test_what_the_user_has_set_stays() -> None:
    environ = {"OMP_WAIT_POLICY": "active", "PATH": "/bin"}
    use_passive_waiting(environ)
    ours = {name: value for name, value in PASSIVE_WAITING.items() if name != "GOMP_SPINCOUNT"}
    assert environ == ours | {"OMP_WAIT_POLICY": "active", "PATH": "/bin"}  # it would have priority
    empty: dict[str, str] = {}
    use_passive_waiting(empty)
    assert empty == PASSIVE_WAITING


LOAD_OPENMP = """
import ctypes, importlib.metadata
for file in importlib.metadata.files("torch"):
    if file.name.startswith("libgomp"):
        ctypes.CDLL(str(file.locate()))
"""
"""What `import torch` does to OpenMP, without the seconds that the rest of PyTorch takes."""
COMMAND = "from slimstream.__main__ import main; main(['--root', 'nowhere', 'train'])"


@pytest.mark.parametrize("begins", [COMMAND, "import flows"])
@pytest.mark.parametrize(("user", "policy"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_it_is_set_before_pytorch_is_loaded(
    begins: str, user: str | None, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenMP itself writes, when PyTorch loads it, how its threads will wait."""
    for name in PASSIVE_WAITING:
        monkeypatch.delenv(name, raising=False)
    if user:
        monkeypatch.setenv("OMP_WAIT_POLICY", user)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "verbose")
    monkeypatch.setenv("PYTHONPATH", "src")
    done = subprocess.run(
        [sys.executable, "-c", f"{begins}\n{LOAD_OPENMP}"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this PyTorch's OpenMP does not write its settings")
    assert f"OMP_WAIT_POLICY = '{policy}'" in done.stderr
    assert ("GOMP_SPINCOUNT = '3000'" in done.stderr) == (user is None)
