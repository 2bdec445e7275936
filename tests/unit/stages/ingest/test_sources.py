import errno
import os
from io import BytesIO
from pathlib import Path

import pytest

from slimstream.catalog.listing import FileStat
from slimstream.core.errors import UserError
from slimstream.core.paths import Paths
from slimstream.stages.ingest.params import IngestParams, RigParams
from slimstream.stages.ingest.sources import FetchError, FolderSource, open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of one 'clip' each; listing never opens them."""
    for key in ("plant/on/1.mp4", "plant/off/2.mp4", "secret/3.mp4"):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(key.encode())
    return tmp_path / "plant"


def listed(folder: Path) -> tuple[list[str], dict[str, str]]:
    listing = FolderSource(str(folder), Path()).list()
    return [item.key for item in listing.items], listing.rejected


def test_a_folder_is_listed_with_size_and_time(folder: Path) -> None:
    listing = FolderSource("plant", folder.parent).list()
    assert [(item.key, item.label) for item in listing.items] == [("off/2.mp4", "off"), ("on/1.mp4", "on")]
    assert listing.items[1].stat == FileStat(14, mtime_ns=(folder / "on/1.mp4").stat().st_mtime_ns)


def test_hidden_files_are_not_clips(folder: Path) -> None:
    (folder / "on/._1.mp4").touch()
    (folder / ".git").mkdir()
    (folder / ".git/x.mp4").touch()
    assert listed(folder) == (["off/2.mp4", "on/1.mp4"], {})


def test_clutter_is_counted_and_its_folders_are_not_entered(folder: Path) -> None:
    for key in ("on/@eaDir/1.mp4", "$RECYCLE.BIN/x.mp4", "$RECYCLE.BIN/y.mp4", "on/._1.mp4", "on/notes.txt"):
        (folder / key).parent.mkdir(exist_ok=True)
        (folder / key).touch()
    (folder / "$RECYCLE.BIN").chmod(0)
    try:
        listing = FolderSource(str(folder), Path()).list()
    finally:
        (folder / "$RECYCLE.BIN").chmod(0o755)
    assert [item.key for item in listing.items] == ["off/2.mp4", "on/1.mp4"] and not listing.rejected
    assert listing.skipped == {"hidden or system": 3, ".txt": 1}


def test_a_table_in_capital_letters_is_the_table(folder: Path) -> None:
    (folder / "Metadata.CSV").write_text("Path;Label\non\\1.mp4;x\n")
    assert listed(folder) == (["on/1.mp4"], {})


def test_unicode_names_are_kept(folder: Path) -> None:
    (folder / "on/Überlauf 視頻.mp4").touch()
    assert "on/Überlauf 視頻.mp4" in listed(folder)[0]


def test_a_name_that_is_no_text_is_put_aside(folder: Path) -> None:
    with open(os.fsencode(folder) + b"/on/\xff.mp4", "wb"):  # noqa: PTH123 - a Path holds text
        pass
    assert listed(folder) == (["off/2.mp4", "on/1.mp4"], {"on/\\udcff.mp4": "the name is not UTF-8"})


def test_links_do_not_leave_the_folder(folder: Path) -> None:
    (folder / "on/file.mp4").symlink_to(folder.parent / "secret/3.mp4")
    (folder / "on/up").symlink_to(folder.parent / "secret")
    (folder / "on/broken.mp4").symlink_to("nowhere")
    (folder / "on/inside").symlink_to(folder / "off")
    (folder / "on/fine.mp4").symlink_to("1.mp4")
    keys, rejected = listed(folder)
    assert keys == ["off/2.mp4", "on/1.mp4", "on/fine.mp4"]
    assert rejected == {
        "on/broken.mp4": "a broken link",
        "on/file.mp4": "a link that leaves the source",
        "on/inside": "a link to a folder, which is not followed",
        "on/up": "a link that leaves the source",
    }


def test_a_table_cannot_reach_through_a_link(folder: Path) -> None:
    (folder / "up").symlink_to(folder.parent / "secret")
    (folder / "file.mp4").symlink_to(folder.parent / "secret/3.mp4")
    (folder / "metadata.csv").write_text("path,label\non/1.mp4,x\nup/3.mp4,x\nfile.mp4,x\n")
    assert listed(folder) == (
        ["on/1.mp4"],
        {"file.mp4": "a link that leaves the source", "up/3.mp4": "no such file in the source"},
    )


@pytest.mark.parametrize("key", ["../secret/3.mp4", "on/../../secret/3.mp4", "/etc/passwd", "on/link.mp4"])
def test_a_tampered_lock_cannot_fetch_from_outside(folder: Path, tmp_path: Path, key: str) -> None:
    (folder / "on/link.mp4").symlink_to(folder.parent / "secret/3.mp4")
    with pytest.raises(FetchError, match="leaves the source"):
        FolderSource(str(folder), Path()).fetch(key, FileStat(12), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_fetched_is_what_was_listed(folder: Path, tmp_path: Path) -> None:
    source = FolderSource(str(folder), Path())
    item = source.list().items[0]
    source.fetch(item.key, item.stat, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"plant/off/2.mp4"
    (folder / item.key).write_bytes(b"something else")
    with pytest.raises(FetchError, match="changed since the scan"):
        source.fetch(item.key, item.stat, tmp_path / "out")
    (folder / item.key).unlink()
    with pytest.raises(FetchError, match="missing"):
        source.fetch(item.key, item.stat, tmp_path / "out")


def test_a_disk_that_cannot_read_a_file_is_the_fault_of_this_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FolderSource(str(folder), Path())
    item = source.list().items[0]

    class Bad(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    opens = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: Bad() if mode == "rb" else opens(path, mode))
    with pytest.raises(FetchError, match="cannot be read: Input/output error"):
        source.fetch(item.key, item.stat, tmp_path / "out")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("nowhere", "nowhere does not exist: give a folder of clips, s3://bucket/prefix or 'rig' or 'bench'"),
        ("pelets", "pelets does not exist; do you mean 'pellets'"),
        ("plant/on/1.mp4", "is not a folder"),
        ("https://host/clips", r"https://… is no source"),
        ("s3://", "an S3 source is s3://bucket/prefix"),
        ("s3://key:word@bucket/x", "credentials belong in the environment"),
        ("s3://key:wo/rd@bucket/x", "credentials belong in the environment"),
        ("s3://bucket/x?X-Amz-Signature=word", "credentials belong in the environment"),
    ],
)
def test_an_impossible_source_is_one_sentence(folder: Path, uri: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        open_source(IngestParams(), uri, Paths(folder.parent)).list()
    assert "word@" not in str(caught.value)


def test_the_rig_is_listed_without_rendering() -> None:
    small, large = (
        open_source(IngestParams(rig=RigParams(recordings=n, clips=2)), "rig", Paths()) for n in (2, 3)
    )
    listing = small.list()
    assert len(listing.items) == 12
    assert listing.items[0].key == "rig/recording_00/air_leakage_0.mp4"
    assert listing.items[0].label == "air_leakage" and listing.items[0].groups == {
        "recording": "recording_00"
    }
    assert listing.items == large.list().items[:12], "more recordings leave the others as they are"
    assert not small.outdated(listing) and large.outdated(listing)


@pytest.mark.shared
def test_real_clips_are_listed_with_their_camera(tank_state: Path) -> None:
    listing = FolderSource(str(tank_state), Path()).list()
    assert len(listing.items) == 426 and not listing.rejected
    assert len({item.groups["camera"] for item in listing.items}) == 4
