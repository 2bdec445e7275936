"""What `watch` remembers of a folder."""

import errno
from pathlib import Path

import pytest

from slimstream.watch import read_files
from slimstream.watch.read_files import ReadFiles

ONE, TWO = (1_000, 10), (2_000, 20)


def test_files_are_known_after_a_restart_by_name_time_and_bytes(tmp_path: Path) -> None:
    note = tmp_path / "watched/in.progress"
    read = ReadFiles(note)
    read.add("a.mp4", TWO)
    read.add("deeper/ä\n\udcff.mp4", ONE)  # a name may hold anything
    again = ReadFiles(note)
    assert again.holds("a.mp4", TWO) and again.holds("deeper/ä\n\udcff.mp4", ONE)
    assert not again.holds("a.mp4", ONE) and not again.holds("b.mp4", TWO)


@pytest.mark.parametrize("half", [b'["b.mp4", 20', b"1030.0", b"[1, 2]", b"\xff"])
def test_a_damaged_line_costs_its_own_file_alone(
    half: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "in.progress"
    ReadFiles(note).add("a.mp4", ONE)
    note.write_bytes(note.read_bytes() + half)
    read = ReadFiles(note)
    assert "a line of" in capsys.readouterr().err
    read.add("b.mp4", TWO)
    again = ReadFiles(note)
    assert again.holds("a.mp4", ONE) and again.holds("b.mp4", TWO) and not capsys.readouterr().err


def test_on_a_full_disk_it_goes_on_and_writes_all_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = tmp_path / "in.progress"
    read = ReadFiles(note)
    read.add("a.mp4", ONE)
    with monkeypatch.context() as full:

        def no_space(*_: object) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

        full.setattr(read_files, "_line", no_space)
        read.add("b.mp4", ONE), read.add("c.mp4", ONE)
    assert capsys.readouterr().err.count("cannot be written: No space") == 1
    read.add("d.mp4", ONE)
    assert all(ReadFiles(note).holds(f"{name}.mp4", ONE) for name in "abcd")


def test_many_missing_files_are_forgotten_but_not_by_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_files, "SLACK", 2)
    read = ReadFiles(tmp_path / "in.progress")
    for name in "abcde":
        read.add(name, ONE)
    read.forget_missing({})  # a drive that is not mounted
    read.forget_missing({"x": ONE})
    assert read.holds("a", ONE)
    read.forget_missing({"e": ONE})
    read.add("f", TWO)
    assert (tmp_path / "in.progress").read_text() == '["e", 1000, 10]\n["f", 2000, 20]\n'
