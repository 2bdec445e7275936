"""The packages of a bundle as files, for an edge box without a network."""

import subprocess
import sys
from pathlib import Path

from slimstream.core.errors import UserError

MACHINES = ("x86_64", "aarch64")
GLIBC = range(17, 36)
"""Minor versions of glibc 2 that packages may ask for: up to that of Debian 12 and Ubuntu 22.04."""


def check_machine(machine: str) -> None:
    """Raise UserError unless there are packages for `machine`."""
    if machine not in MACHINES:
        raise UserError(f"--wheels {machine}: there are packages for {' and '.join(MACHINES)}.")


def download(lock: Path, folder: Path, machine: str) -> None:
    """Download the packages of `lock` into `folder`, for Linux on `machine` and this version of Python.

    pip checks all hashes. Raises UserError when it fails.
    """
    systems = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)]
    systems += [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command += [part for system in systems for part in ("--platform", system)]
    if subprocess.run([*command, "-r", str(lock)]).returncode:
        raise UserError("pip could not download the packages; see above. Without --wheels none are needed.")
