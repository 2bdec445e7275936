"""A file is whole or as it was."""

from pathlib import Path

import pytest

from slimstream.core.files import atomic_write


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
