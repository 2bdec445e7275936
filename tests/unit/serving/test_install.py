"""The environment of a bundle is made of the packages that it brings, if their hashes are right."""

import hashlib
import json
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

from slimstream.core.errors import UserError
from slimstream.serving.install import install
from slimstream.serving.sealed import FORMAT, LOCK, MANIFEST, Sealed, hashes, write_sealed


def with_a_package(folder: Path, digest: str = "") -> Sealed:
    """A bundle that brings a package of one module; `digest` stands in its lock instead of the right one."""
    made = folder / "tank"
    (made / "wheels").mkdir(parents=True)
    wheel = made / "wheels/toy-1.0-py3-none-any.whl"
    about = "toy-1.0.dist-info"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("toy.py", "WORD = 'hello'\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    (made / LOCK).write_text(f"toy==1.0 --hash=sha256:{digest}\n")
    told = {"format": FORMAT, "name": "tank 3", "tags": {}, "files": hashes(made)}
    (made / MANIFEST).write_text(json.dumps(told))
    write_sealed(made, folder / "tank.pyz")
    return Sealed(folder / "tank.pyz")


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        install(with_a_package(tmp_path), tmp_path)


@pytest.mark.box
def test_packages_come_from_the_bundle(tmp_path: Path) -> None:
    said = install(with_a_package(tmp_path), tmp_path / "env")
    assert f"{tmp_path / 'env/bin/python'} {tmp_path / 'tank.pyz'} predict CLIP" in said
    told = subprocess.check_output(
        [tmp_path / "env/bin/python", "-c", "import toy; print(toy.WORD)"], text=True
    )
    assert told == "hello\n"


@pytest.mark.box
def test_a_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pip could not install"):
        install(with_a_package(tmp_path, "0" * 64), tmp_path / "env")
