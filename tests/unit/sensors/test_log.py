"""What is read of a log, and the one sentence said of each that cannot be used."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from slimstream.core.errors import UserError
from slimstream.sensors.log import read_logs
from tests.unit.sensors.simulated_logs import read_log, settings, simulated_table, write_log

Frame = pd.DataFrame


def refusal(files: list[Path], **changes: object) -> str:
    with pytest.raises(UserError) as error:
        read_logs(files, settings(**changes))
    said = str(error.value)
    assert "\n" not in said and said.endswith(".")
    return said


def test_sensors_are_all_numeric_columns_that_change(tmp_path: Path) -> None:
    frame = simulated_table(["a", "b"]).assign(alarm=0, note="text")
    logs = read_log(frame, tmp_path, settings(ignore=["note"]))
    assert logs.sensors == ("s0", "s1", "s2", "s3") and logs.constant == ("alarm",)
    assert logs.logs[0].values.shape == (400, 4) and logs.period == 1


def test_a_label_is_text_even_when_pandas_would_call_it_missing(tmp_path: Path) -> None:
    frame = simulated_table(["None", "1"])
    assert set(read_log(frame, tmp_path, settings()).logs[0].label) == {"None", "1"}


def test_times_may_be_stamps_and_breaks_are_counted(tmp_path: Path) -> None:
    frame = simulated_table(["a", "b"])
    seconds = frame["t"] * 2 + np.where(frame["t"] >= 100, 600, 0)
    stamps = (pd.Timestamp("2024-05-31T08:00:00") + pd.to_timedelta(seconds, unit="s")).astype(str)
    logs = read_log(frame.assign(t=stamps), tmp_path, settings())
    assert logs.period == 2 and logs.broken == 1
    assert logs.logs[0].piece.tolist() == [0] * 100 + [1] * 300


def test_decimal_commas_and_semicolons(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    simulated_table(["a", "b"]).to_csv(path, index=False, sep=";", decimal=",")
    logs = read_logs([path], settings(separator=";", decimal=","))
    np.testing.assert_allclose(logs.logs[0].values, simulated_table(["a", "b"])[["s0", "s1", "s2", "s3"]])
    assert "cannot be read as CSV in UTF-8, set `separator`" in refusal([path])


def test_short_gaps_are_bridged_by_the_value_before(tmp_path: Path) -> None:
    frame = simulated_table(["a", "b"])
    frame.loc[10:11, "s1"] = np.nan
    logs = read_log(frame, tmp_path, settings(fill=2))
    assert (logs.logs[0].values[10:12, 1] == frame["s1"][9]).all()
    assert "line 12: sensor s1 has no value (2 of 400 rows, the longest gap 2)" in refusal(
        [tmp_path / "log.csv"]
    )
    assert "line 13: sensor s1 has no value" in refusal([tmp_path / "log.csv"], fill=1)


@pytest.mark.parametrize(
    ("change", "settings_", "said"),
    [
        (lambda f: f.drop(columns="state"), {}, "there is no column 'state', only t, s0"),
        (lambda f: f, {"sensors": ["s0", "s9"]}, "there is no column 's9'"),
        (lambda f: f, {"time": "clock"}, "there is no column 'clock'"),
        (lambda f: f[["t", "state"]], {}, "sensors are needed"),
        (
            lambda f: f.assign(s1=f["s1"].astype(object).where(f.index != 5, "Bad")),
            {},
            "line 7: sensor s1 reads 'Bad'",
        ),
        (
            lambda f: f.assign(s1=f["s1"].where(f.index != 5)),
            {},
            "line 7: sensor s1 has no value (1 of 400 rows",
        ),
        (lambda f: f.assign(s1=f["s1"].where(f.index != 5, np.inf)), {}, "line 7: sensor s1 has no value"),
        (lambda f: f.assign(s1=1.5), {"sensors": ["s0", "s1"]}, "sensor s1 never changes"),
        (lambda f: f.assign(s0=0, s1=0, s2=0, s3=0), {}, "no sensor ever changes"),
        (lambda f: f, {"states": ["a", "c"]}, "line 202: label 'b' is unknown; `states` has a, c"),
        (lambda f: f.assign(state=f["state"].where(f.index != 3, "")), {}, "line 5: no label"),
        (lambda f: f.assign(t=f["t"].where(f.index != 7, 2.0)), {}, "line 9: time 2.0 goes back from 6.0"),
        (lambda f: f.assign(t=f["t"].where(f.index != 7, 6.0)), {}, "line 9: time 6.0 repeats the one"),
        (lambda f: f.assign(t="noon"), {}, "line 2: time 'noon' is neither a number of seconds nor ISO 8601"),
        (lambda f: f.assign(t=f["t"] ** 2), {}, "is not regular"),
        (lambda f: f[:2], {}, "2 rows are too few"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    tmp_path: Path, change: Callable[[Frame], Frame], settings_: dict[str, object], said: str
) -> None:
    assert said in refusal([write_log(change(simulated_table(["a", "b"])), tmp_path)], **settings_)


def test_files_that_do_not_go_together(tmp_path: Path) -> None:
    one = write_log(simulated_table(["a", "b"]), tmp_path)
    copy = write_log(simulated_table(["a", "b"]), tmp_path, "copy.csv")
    assert f"{copy}: the same log as {one}" in refusal([one, copy])
    fewer = write_log(simulated_table(["a", "b"]).drop(columns="s3"), tmp_path, "fewer.csv")
    assert f"{fewer}: there is no column 's3', which {one} has" in refusal([one, fewer])
    assert f"{fewer}: there is no column 's3', which {one} has" in refusal([fewer, one])
    slow = write_log(
        simulated_table(["a", "b"], seed=1).assign(t=lambda f: f["t"] * 10), tmp_path, "slow.csv"
    )
    assert "a row every 10 s, but" in refusal([one, slow])
    clock = pd.Timestamp("2024-05-31T08:00:00") + pd.to_timedelta(simulated_table(["a", "b"])["t"], unit="s")
    for name, hour in (("early.csv", 0), ("late.csv", 0.1)):
        frame = simulated_table(["a", "b"]).assign(t=(clock + pd.Timedelta(hours=hour)).astype(str))
        write_log(frame, tmp_path, name)
    both = [tmp_path / "late.csv", tmp_path / "early.csv"]
    assert f"{both[0]}: begins at 2024-05-31 08:06:00+00:00, before {both[1]} ends" in refusal(both)
    assert "there is no such log" in refusal([tmp_path / "absent.csv"])
    (tmp_path / "empty.csv").touch()
    assert "the log is empty" in refusal([tmp_path / "empty.csv"])
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 10)
    assert "cannot be read as CSV in UTF-8" in refusal([tmp_path / "binary.csv"])


def test_a_time_or_row_number_is_no_sensor(tmp_path: Path) -> None:
    """pandas saves a table with its row numbers; by them any state could be told."""
    frame = simulated_table(["a", "b"])
    path = write_log(frame.assign(number=range(400)), tmp_path)
    assert "column number rises or falls from every row to the next" in refusal([path])
    assert "number" in read_logs([path], settings(sensors=["s0", "number"])).sensors, (
        "if it is said to be one"
    )
    assert "number" not in read_logs([path], settings(ignore=["number"])).sensors


def test_files_that_share_time_are_refused_by_unix_seconds_too(tmp_path: Path) -> None:
    frame = simulated_table(["a", "b"])
    files = [
        write_log(frame.assign(t=frame["t"] + start), tmp_path, f"{start}.csv")
        for start in (1_700_000_000, 1_700_000_370)
    ]
    assert "begins at 2023-11-14 22:19:30+00:00, before" in refusal(files)


def test_a_value_does_not_reach_across_a_break(tmp_path: Path) -> None:
    frame = simulated_table(["a", "b"])
    frame["t"] += np.where(frame["t"] >= 100, 9000, 0)
    frame.loc[100, "s1"] = np.nan
    assert "line 102: sensor s1 has no value" in refusal([write_log(frame, tmp_path)], fill=2)


def test_a_point_beside_decimal_commas_is_refused(tmp_path: Path) -> None:
    """1.234 with a decimal comma is a thousand and more, and would be read as 1.234."""
    frame = simulated_table(["a", "b"])
    frame = frame.assign(s1=[f"{value:.3f}".replace(".", ",") for value in frame["s1"]])
    frame.loc[7, "s1"] = "1.234,5"
    frame.loc[8, "s1"] = "1.234"
    path = tmp_path / "log.csv"
    frame.to_csv(path, index=False, sep=";", decimal=",")
    said = refusal([path], separator=";", decimal=",")
    assert "line 9: sensor s1 reads '1.234,5'" in said
