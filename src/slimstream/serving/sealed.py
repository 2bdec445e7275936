"""A bundle: one zip file with a list of hashes, which is checked before anything in it is used.

It needs nothing but Python's own library, and `cryptography` where a signature is checked.
"""

import hashlib
import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile, ZipInfo, is_zipfile

from slimstream.core.errors import UserError
from slimstream.core.files import make_once

MANIFEST, SIGNATURE = "manifest.json", "model.sig"
MODEL, WHEELS = "model/", "wheels/"
"""Beginnings of the names of the deployed network's files, and of the packages that go along."""
LOCK, CARD = "requirements.lock", "CARD.md"
FORMAT = 1
"""Number of the form of a bundle."""
LARGEST = 16_000_000
"""Bytes of the manifest and of the signature at most; they are read as a whole."""


class Sealed:
    """A bundle whose content is what its manifest lists and, where a key is given, what was signed."""

    def __init__(self, file: Path, public_key: Path | None = None) -> None:
        """Check the bundle `file`: its names, the signature if there is a `public_key`, and all hashes.

        Raises UserError when it is no bundle, when anything in it is not what the manifest says, and when it
        is not signed with the private key of `public_key`, a PEM file.
        """
        self.file = file
        if not file.is_file() or not is_zipfile(file):
            raise UserError(f"{file} is no bundle: `python -m slimstream bundle NAME/VERSION` makes one.")
        try:
            with ZipFile(file) as archive:
                self._check(archive, public_key)
        except UserError:
            raise
        except Exception as error:  # a damaged zip raises whatever its reader comes across
            if isinstance(error, OSError) and error.filename is not None:
                raise  # it may not be read, or is away
            raise self._refused(f"it cannot be read ({type(error).__name__})") from error

    def _check(self, archive: ZipFile, public_key: Path | None) -> None:
        infos = {info.filename: info for info in archive.infolist()}
        if len(infos) != len(archive.infolist()) or not all(map(_is_plain, infos.values())):
            raise self._refused("a name in it occurs twice or leads out of its folder")
        if MANIFEST not in infos:
            raise UserError(f"{self.file} is no bundle: it has no {MANIFEST}.")
        text = self._small(archive, infos[MANIFEST])
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise UserError(f"{self.file} has the form {content['format']}; this program reads {FORMAT}.")
        self.content: dict[str, Any] = content
        """manifest.json."""
        self.hashes: dict[str, str] = {str(name): str(digest) for name, digest in content["files"].items()}
        """SHA-256 of each file in it, but for the manifest and the signature."""
        self.digest = hashlib.sha256(text).hexdigest()
        """SHA-256 of the manifest, which stands for all files."""
        if infos.keys() - {MANIFEST, SIGNATURE} != self.hashes.keys():
            raise self._refused(f"its files are not those of {MANIFEST}")
        self.signed = SIGNATURE in infos
        """Whether there is a signature, right or wrong."""
        if public_key is not None:
            from slimstream.serving.signature import check_signature

            if not self.signed:
                raise UserError(f"{self.file} is not signed, and a public key asks for a signature.")
            signature = self._small(archive, infos[SIGNATURE])
            check_signature(self.file, signature, {**self.hashes, MANIFEST: self.digest}, public_key)
        for name, expected in self.hashes.items():
            with archive.open(name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:  # type: ignore[arg-type]
                    raise self._refused(f"{name} is not what {MANIFEST} says")

    def _small(self, archive: ZipFile, info: ZipInfo) -> bytes:
        if info.file_size > LARGEST:
            raise self._refused(f"{info.filename} is too large")
        return archive.read(info)

    def _refused(self, why: str) -> UserError:
        return UserError(f"{self.file} is damaged or was changed: {why}. Do not use it; copy it again.")

    @property
    def name(self) -> str:
        """Of the network, such as "tank 3"."""
        return str(self.content["name"])

    @property
    def tags(self) -> dict[str, str]:
        """Of the version in the registry that it was made from, such as `gate`."""
        return {str(key): str(value) for key, value in self.content["tags"].items()}

    def read(self, name: str) -> bytes:
        """The content of the file `name` in it. Raises UserError when it is not what was checked."""
        with ZipFile(self.file) as archive:
            content = archive.read(name)
        if hashlib.sha256(content).hexdigest() != self.hashes[name]:
            raise self._refused(f"{name} has changed just now")
        return content

    def unpack(self, folder: Path, *beginnings: str) -> None:
        """Write the files whose names begin so into `folder`, below their names."""
        for name in self._names(*beginnings):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.read(name))

    def model(self, cache: Path) -> Path:
        """The folder of its network, which is unpacked to `cache` once.

        Raises UserError when what was unpacked before is not what it was.
        """

        def make(half: Path) -> Path:
            self.unpack(half / "made", MODEL)
            return half / "made"

        folder = make_once(cache / self.digest[:16], make)
        if hashes(folder) != {name: self.hashes[name] for name in self._names(MODEL)}:
            raise UserError(f"{folder} is not what was unpacked from {self.file}: delete that folder.")
        return folder / MODEL

    def _names(self, *beginnings: str) -> Iterator[str]:
        return (name for name in self.hashes if name.startswith(beginnings))


def write_sealed(folder: Path, file: Path) -> None:
    """Write all files below `folder` into the zip `file`, the same bytes for the same files."""
    with ZipFile(file, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            # Not compressed: networks and wheels gain nothing, and Python starts faster.
            info = ZipInfo(path.relative_to(folder).as_posix())
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            with path.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below `folder`, by its name there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_plain(info: ZipInfo) -> bool:
    """Whether it is a file whose name leads nowhere but into the folder that it is unpacked to."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    path = PurePosixPath(name)
    return (
        kind in (0, stat.S_IFREG)
        and not path.is_absolute()
        and path.as_posix() == name != "."
        and ".." not in path.parts
        and not set(name) & set("\\:\0")
    )
