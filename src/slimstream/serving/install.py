"""The environment that a bundle runs in. It needs nothing but Python's own library."""

import os
import subprocess
import tempfile
import venv
from pathlib import Path

from slimstream.core.errors import UserError
from slimstream.serving.sealed import LOCK, WHEELS, Sealed


def install(sealed: Sealed, folder: Path) -> str:
    """Make a virtual environment in `folder` with the packages that the bundle locks; returns what to call.

    They are taken from the bundle if it brings them, else from pip's package index. Raises UserError when the
    folder is there already, and when pip fails: packages are missing, or have other hashes.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already: name a new folder, or delete it.")
    try:
        venv.create(folder, with_pip=True)
    except subprocess.CalledProcessError as error:  # Debian has it in a package of its own
        raise UserError(
            "this Python cannot make environments: install python3-venv, or ensurepip."
        ) from error
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    with tempfile.TemporaryDirectory() as unpacked:
        sealed.unpack(Path(unpacked), LOCK, WHEELS)
        wheels = Path(unpacked) / WHEELS
        source = ["--no-index", "--find-links", str(wheels)] if wheels.is_dir() else []
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        # Python compiles what it imports, which is a small part.
        asked = ["install", "--no-compile", "--require-hashes", "--only-binary", ":all:", *source]
        if subprocess.run([*pip, *asked, "-r", f"{unpacked}/{LOCK}"]).returncode:
            raise UserError(f"pip could not install the packages into {folder}; see above, and delete it.")
        # It has done its work, and takes as much as several of the packages.
        subprocess.run([*pip, "uninstall", "--yes", "setuptools", "pip"], capture_output=True)
    return f"Installed. Now: {python} {sealed.file} predict CLIP, or {python} {sealed.file} watch SOURCE"
