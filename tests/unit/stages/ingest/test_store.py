import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slimstream.catalog.listing import FileStat
from slimstream.core.errors import UserError
from slimstream.stages.ingest.store import Store, link

STAT = FileStat(5, "etag")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


def writer(content: bytes) -> Callable[[Path], object]:
    return lambda target: target.write_bytes(content)


def test_a_clip_lies_under_its_hash_and_is_found_again(store: Store) -> None:
    stored = store.put(writer(b"hello"), ".mp4")
    sha256 = hashlib.sha256(b"hello").hexdigest()
    assert stored.path == store.root / sha256[:2] / f"{sha256}.mp4" and stored.bytes == 5
    assert store.get("s", "k", STAT, ".mp4") is None
    store.remember("s", "k", STAT, stored)
    assert store.get("s", "k", STAT, ".mp4") == stored
    assert store.get("s", "k", FileStat(5, "other"), ".mp4") is None
    assert store.get("other", "k", STAT, ".mp4") is None


def test_it_is_found_by_the_next_process(store: Store) -> None:
    store.remember("s", "k", STAT, stored := store.put(writer(b"hello"), ".mp4"))
    again = Store(store.root)
    assert again.get("s", "k", STAT, ".mp4") == stored
    again.close()


def test_what_breaks_off_leaves_nothing(store: Store) -> None:
    def fetch(target: Path) -> None:
        target.write_bytes(b"hel")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put(fetch, ".mp4")
    assert [path for path in store.root.rglob("*") if path.is_file() and path.stem != "index"] == []


def test_a_change_through_a_hard_link_is_noticed(store: Store, tmp_path: Path) -> None:
    store.remember("s", "k", STAT, stored := store.put(writer(b"hello"), ".mp4"))
    link(stored, tmp_path / "raw.mp4")
    assert (tmp_path / "raw.mp4").stat().st_ino == stored.path.stat().st_ino
    assert stored.path.stat().st_mode & 0o222 == 0, "read-only, so that it takes intent"
    (tmp_path / "raw.mp4").chmod(0o644)  # DVC does that too; the bytes are what counts
    assert store.get("s", "k", STAT, ".mp4") == stored
    (tmp_path / "raw.mp4").write_bytes(b"HELLO")
    assert store.get("s", "k", STAT, ".mp4") is None
    assert not stored.path.exists()


def test_a_touched_clip_is_still_good(store: Store) -> None:
    store.remember("s", "k", STAT, stored := store.put(writer(b"hello"), ".mp4"))
    os.utime(stored.path, (1, 1))
    assert store.get("s", "k", STAT, ".mp4") == stored


def test_removing_the_link_leaves_the_store(store: Store, tmp_path: Path) -> None:
    store.remember("s", "k", STAT, stored := store.put(writer(b"hello"), ".mp4"))
    link(stored, tmp_path / "raw.mp4")
    (tmp_path / "raw.mp4").unlink()
    assert store.get("s", "k", STAT, ".mp4") == stored


def test_without_hard_links_a_copy_does(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    stored = store.put(writer(b"hello"), ".mp4")
    link(stored, tmp_path / "raw.mp4")
    assert (tmp_path / "raw.mp4").read_bytes() == b"hello"
    assert (tmp_path / "raw.mp4").stat().st_ino != stored.path.stat().st_ino


def test_threads_may_bring_the_same_clip(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: store.put(writer(b"hello" * 10_000), ".mp4"), range(40)))
    assert (
        len(found) == 1
        and hashlib.sha256(found.pop().path.read_bytes()).digest()
        == hashlib.sha256(b"hello" * 10_000).digest()
    )


def test_a_full_disk_is_one_sentence(store: Store) -> None:
    def fetch(target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    with pytest.raises(UserError, match="No space left on device; make room"):
        store.put(fetch, ".mp4")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match="file/store/tmp: Not a directory; make room or give permission there"
    ):
        Store(tmp_path / "file/store")


def test_a_broken_index_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "index.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UserError, match=r"index\.db: file is not a database"):
        Store(tmp_path)
