from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimstream.catalog.manifest import COLUMNS, clip_id, group_columns, read_manifest, write_manifest
from slimstream.core.errors import UserError


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_an_id_is_safe_as_a_file_name(key: str) -> None:
    name = clip_id(key)
    assert (
        name.isascii()
        and len(name) <= 57
        and set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
    )


def test_an_id_is_stable_and_tells_keys_apart() -> None:
    assert clip_id("a/Überlauf 1.mp4") == "Uberlauf-1-5bb592a3"
    assert clip_id("a/1.mp4") != clip_id("b/1.mp4")
    assert clip_id("視頻.mp4").startswith("clip-")


def test_a_manifest_is_read_as_written_whatever_the_order(tmp_path: Path) -> None:
    rows = [
        {"id": "b-2", "key": "b", "label": "x", "bytes": 7, "camera": "one"},
        {"id": "a-1", "key": "a", "problem": "missing"},
    ]
    write_manifest(rows, tmp_path / "one.parquet")
    write_manifest(rows[::-1], tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    table = read_manifest(tmp_path / "one.parquet")
    assert list(table.columns) == [*COLUMNS, "camera"]
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {**COLUMNS, "camera": "str"}
    assert table["key"].tolist() == ["a", "b"] and table["camera"].tolist() == ["", "one"]
    assert group_columns(table) == ["camera"]


def test_an_empty_manifest_keeps_its_columns(tmp_path: Path) -> None:
    write_manifest([], tmp_path / "m.parquet")
    assert list(read_manifest(tmp_path / "m.parquet").columns) == list(COLUMNS)


def test_two_keys_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="b: its id is that of a"):
        write_manifest([{"id": "1", "key": "a"}, {"id": "1", "key": "b"}], tmp_path / "m.parquet")


def test_a_missing_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run the ingest stage first"):
        read_manifest(tmp_path / "m.parquet")
