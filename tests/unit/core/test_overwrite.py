"""--out writes over an earlier answer, never over a clip, a log or notes of the user's."""

from pathlib import Path

import pytest

from slimstream.cli.parser import main
from slimstream.core.errors import UserError
from slimstream.core.overwrite import check_overwrite


def test_a_table_of_ours_is_renewed_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    check_overwrite(out, "path,label,")
    for text in ("", "path,label,p_leak,error\na.mp4,leak,1,\n"):
        out.write_text(text)
        check_overwrite(out, "path,label,", "[")
    out.write_text("path;label\n")
    with pytest.raises(UserError, match=r"out\.csv is there already and is no table of ours"):
        check_overwrite(out, "path,label,", "[")
    with pytest.raises(UserError, match="is a folder"):
        check_overwrite(tmp_path, "path")
    check_overwrite(Path("/dev/null"), "path")


def test_predict_writes_over_no_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"\0\0\0\x20ftypisom")
    (tmp_path / "link").symlink_to(clip)
    for out in (clip, tmp_path / "link"):
        assert main(["--root", str(tmp_path), "predict", str(clip), "--out", str(out)]) == 2
        assert "is no table of ours" in capsys.readouterr().err
    assert clip.read_bytes() == b"\0\0\0\x20ftypisom"


def test_process_writes_over_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "monday.csv"
    for name in ("monday.csv", "rows-states.csv"):
        (tmp_path / name).write_text("time,flow,label\n0,1.0,Normal\n")
        assert main(["process", "--log", str(log), "--out", str(tmp_path / name.replace("-states", ""))]) == 2
        assert f"{name} is there already" in capsys.readouterr().err
        assert (tmp_path / name).read_text().startswith("time,flow")
