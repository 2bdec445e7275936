"""A file is whole or as it was."""

from pathlib import Path

import pytest

from slimstream.core.files import atomic_write, make_once


def test_a_file_takes_its_place_when_all_is_written(tmp_path: Path) -> None:
    file = tmp_path / "new" / "row.json"
    with atomic_write(file) as half:
        half.write_text("[1]")
        assert not file.exists()
    assert file.read_text() == "[1]" and list(file.parent.iterdir()) == [file]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "row.json"
    file.write_text("old")
    with pytest.raises(OSError, match="full"), atomic_write(file) as half:
        half.write_text("n")
        raise OSError("full")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_folder_is_made_once_and_whole(tmp_path: Path) -> None:
    folder, asked = tmp_path / "cache" / "model", []

    def make(half: Path) -> Path:
        asked.append(half)
        (half / "made").mkdir()
        (half / "made" / "row.json").write_text("[1]")
        assert not folder.exists()
        return half / "made"

    assert make_once(folder, make) == make_once(folder, make) == folder and len(asked) == 1
    assert (folder / "row.json").read_text() == "[1]" and list(folder.parent.iterdir()) == [folder]
