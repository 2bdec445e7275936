"""Sources of clips: a folder, S3 or a simulated plant, all with the same interface."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

from slimstream.catalog.hidden_files import hidden_part
from slimstream.catalog.listing import FileStat, Item, Listing, find_metadata, label_files
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths, printable_path
from slimstream.stages.ingest.params import IngestParams
from slimstream.stages.ingest.plants.source import PLANTS, PlantSource, near_plant
from slimstream.stages.ingest.reserved_folders import check_source, source_folder

_PLANTS = " or ".join(f"'{name}'" for name in PLANTS)


class FetchError(Exception):
    """One item cannot be fetched; the message is the reason. The other items are still fetched."""


class Source(Protocol):
    """A place with labelled clips."""

    name: str
    """Unique among the sources on this machine."""
    workers: int
    """Number of items that may be fetched in parallel."""

    def list(self) -> Listing:
        """List all files. Raises UserError when the source cannot be listed."""

    def outdated(self, listing: Listing) -> bool:
        """Whether the settings alone show that the source no longer matches `listing`."""

    def fetch(self, key: str, stat: FileStat, target: Path) -> None:
        """Write the item to `target`. Raises FetchError when it is missing or differs from the listing."""


def normalise(uri: str) -> str:
    """The source as given, without spaces around it and without a slash at its end."""
    return uri.strip().rstrip("/") or uri.strip()


def open_source(params: IngestParams, uri: str, paths: Paths) -> Source:
    """The source `uri`: a simulated plant, s3://bucket/prefix, or a folder.

    The path of a folder may be relative to `source_root`.
    Raises UserError for any other `uri`, and for a folder of the project itself (see `reserved_folders`).
    """
    if uri in PLANTS:
        return PlantSource(uri, params)
    if uri.startswith("s3://"):
        from slimstream.stages.ingest.s3 import S3Source

        return S3Source(uri, params.endpoint_url)
    if "://" in uri:
        raise UserError(
            f"{uri.split('://')[0]}://… is no source: give a folder, s3://bucket/prefix or {_PLANTS}."
        )
    check_source(uri, paths)
    return FolderSource(uri, paths.source_root)


@contextmanager
def samples(source: Source, items: Sequence[Item], count: int) -> Iterator[list[Path]]:
    """At most `count` clips of `items`, of middling size, as files on this machine, but unreachable ones.

    Clips of a folder are read where they are, others are fetched and deleted after the block.
    """
    by_size = sorted(items, key=lambda item: (item.stat.size, item.key))
    places = {len(by_size) * (2 * n + 1) // (2 * count) for n in range(count)}
    with TemporaryDirectory() as folder:
        files = []
        for number, item in enumerate(by_size[place] for place in sorted(places)):
            if isinstance(source, FolderSource):
                files.append(source.folder / item.key)
                continue
            file = Path(folder, f"{number}{PurePosixPath(item.key).suffix.lower()}")
            with suppress(FetchError):
                source.fetch(item.key, item.stat, file)
                files.append(file)
        yield files


class FolderSource:
    """A folder on this machine. Links to places outside it are never followed."""

    workers = 1

    def __init__(self, uri: str, root: Path) -> None:
        self.uri = uri
        self.folder = source_folder(uri, root)
        self.name = str(self.folder)

    def list(self, whole: bool = True) -> Listing:
        """See `Source.list`, and `label_files` for `whole`."""
        self.check()
        files = {}
        for folder, folders, names in os.walk(self.folder, onerror=_raise):
            links = [name for name in folders if Path(folder, name).is_symlink()]
            # A hidden folder counts as one file and is not entered: it may not be readable.
            closed = [name for name in folders if hidden_part(Path(name)) and name not in links]
            folders[:] = sorted({*folders} - {*closed})
            for name in sorted([*names, *links, *closed]):
                path = Path(folder, name)
                key = PurePosixPath(path.relative_to(self.folder))
                files[printable_path(key)] = FileStat(0) if hidden_part(key) else self._stat(path)
        table = find_metadata(files, self.uri)
        if table and files[table].fault:
            raise UserError(f"{self.folder / table} is {files[table].fault}; put the file itself there.")
        content = (self.folder / table).read_bytes() if table else None
        return label_files(files, content, self.uri, whole)

    def outdated(self, listing: Listing) -> bool:
        return False

    def fetch(self, key: str, stat: FileStat, target: Path) -> None:
        self.check()
        path = self.folder / key
        if not path.resolve().is_relative_to(self.folder):
            raise FetchError("the path leaves the source")
        if not path.is_file():
            raise FetchError("the file is missing")
        try:
            file = path.open("rb")
        except OSError as error:
            raise FetchError(f"cannot be read: {error.strerror}") from error
        with file, target.open("wb") as copy:
            for part in _parts(file):
                copy.write(part)
        try:
            now = path.stat()
        except OSError as error:
            raise FetchError("changed since the scan; scan again") from error
        if (now.st_size, now.st_mtime_ns) != (stat.size, stat.mtime_ns) or target.stat().st_size != stat.size:
            raise FetchError("changed since the scan; scan again")

    def check(self) -> None:
        if not self.folder.is_dir():
            what = "is not a folder" if self.folder.exists() else "does not exist"
            near = near_plant(self.uri)
            raise UserError(
                f"{self.uri} {what}{f'; do you mean {near!r}' if near else ''}: give a folder of clips, "
                f"s3://bucket/prefix or {_PLANTS} as the source."
            )

    def _stat(self, path: Path) -> FileStat:
        try:
            path.relative_to(self.folder).as_posix().encode()
            if not path.resolve(strict=True).is_relative_to(self.folder):
                return FileStat(0, fault="a link that leaves the source")
            if not path.is_file():
                return FileStat(
                    0,
                    fault="a link to a folder, which is not followed" if path.is_dir() else "no regular file",
                )
            found = path.stat()
            return FileStat(found.st_size, mtime_ns=found.st_mtime_ns)
        except UnicodeEncodeError:
            return FileStat(0, fault="the name is not UTF-8")
        except (OSError, RuntimeError):
            return FileStat(0, fault="a broken link")


def _parts(file: BinaryIO) -> Iterator[bytes]:
    """The content of `file`, a mebibyte at a time. Raises FetchError where the disk cannot read it."""
    try:
        while part := file.read(1 << 20):
            yield part
    except OSError as error:
        raise FetchError(f"cannot be read: {error.strerror}") from error


def _raise(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; the whole source must be readable.")
