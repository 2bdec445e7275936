"""A camera over days: what is told of it, once; what is known survives a restart."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from slimstream.runtimes.seen import MEASURES, Seen
from slimstream.watch.drift.known import DAY
from slimstream.watch.events import Event
from tests.unit.watch.drift.streams import RNG, Stream, model


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path / "drift/gate.safetensors")


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_days_of_nothing_are_days_of_silence(stream: Stream) -> None:
    assert stream.show(72) == []
    assert [day.day for day in stream.days] == ["2026-01-01", "2026-01-02"]
    assert stream.days[1].compared == ["its first day"] and not stream.days[1].unlike_first_day
    assert stream.days[1].hours == 24 and stream.days[1].shares == pytest.approx(
        {"normal": 0.8, "other": 0.2}
    )
    known = stream.monitor._known
    assert known is not None and len(known.pictures) == DAY  # and no more, however long it runs


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"shift": 3}, "moved"),
        ({"brightness": -0.3}, "light"),
        ({"unlikeness": 0.8}, "drift"),
        ({"sharpness": -0.9, "shift": 30}, "covered"),
    ],
)
def test_a_disturbance_is_told_within_the_hour_and_so_is_its_end(
    stream: Stream, change: dict[str, float], wanted: str
) -> None:
    assert stream.show(12) == []
    (event,) = stream.show(1, **change)  # type: ignore[arg-type]
    assert event.kind == wanted and stream.monitor.disturbed == wanted and stream.monitor.notice == event.text
    assert "instead of" in event.reason and event.version == "rig 1"
    assert stream.show(5, **change) == []  # type: ignore[arg-type]
    (event,) = stream.show(1.5)
    assert event.kind == "as_before" and stream.monitor.disturbed == "" == stream.monitor.notice


def test_what_lasts_is_told_once_a_day_and_what_is_worse_at_once(stream: Stream) -> None:
    stream.show(12)
    assert kinds(stream.show(50, brightness=0.3)) == ["light"] * 3
    assert kinds(stream.show(1, shift=3, brightness=0.3)) == ["moved"]
    assert stream.days[0].unlike_first_day == []  # the first day was not over


def test_a_restart_forgets_nothing(stream: Stream) -> None:
    stream.show(12)
    stream.restart()
    assert kinds(stream.show(1, shift=3)) == ["moved"]
    stream.restart()
    assert stream.monitor.disturbed == "moved" and stream.monitor.notice == "gate has moved."
    assert stream.show(1, shift=3) == []


def test_whoever_deletes_the_file_makes_the_present_normal(stream: Stream) -> None:
    stream.show(12)
    assert kinds(stream.show(2, shift=3)) == ["moved"]
    stream.file.unlink()
    assert stream.show(6, shift=3) == [] and stream.monitor.disturbed == ""
    assert kinds(stream.show(1)) == ["moved"]  # back to where it was


def test_a_damaged_file_is_said_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "gate.safetensors"
    file.write_bytes(b"not ours")
    stream = Stream(file)
    assert "delete it" in stream.monitor.problem
    assert stream.monitor.see(0.0, None, stream.model) == [] and file.read_bytes() == b"not ours"  # type: ignore[arg-type]


def test_answers_of_another_network_are_learnt_anew_but_pictures_are_not(stream: Stream) -> None:
    stream.show(12)
    stream.model = model("rig 2")
    assert stream.show(3, unlikeness=0.8) == []
    assert kinds(stream.show(1, unlikeness=1.9)) == ["drift"]
    stream.model = model("rig 3")
    assert kinds(stream.show(1, shift=3)) == ["moved"]


def test_answers_are_compared_with_those_of_the_same_state(stream: Stream) -> None:
    stream.show(12, unlikeness=1)
    stream.show(12, state="leak")
    assert stream.show(3, unlikeness=1) == []
    assert stream.show(3, state="leak") == []
    assert stream.show(3, state="unknown", unlikeness=3) == []  # never seen before; `unknown` is told as such
    assert kinds(stream.show(2, state="leak", unlikeness=1)) == ["drift"]


def test_a_day_is_compared_with_what_was_learnt(stream: Stream) -> None:
    group, truth = np.arange(120) % 8, np.arange(120) // 60
    values = 0.5 + 0.02 * RNG.normal(size=(120, len(MEASURES)))
    stream.model = model(seen=Seen(values, truth, group))
    values[:, MEASURES.index("contrast")] -= 0.4  # in the summary, and no event
    assert stream.show(25) == []
    assert [d.name for d in stream.days[0].unlike_learnt["normal"]] == ["contrast"]
    values[truth == 1, MEASURES.index("unlikeness")] -= 0.9
    stream.model = model(seen=Seen(values, truth, group))
    (event,) = stream.show(24)
    assert event.kind == "drift" and "on 2026-01-02 it was unlike what was learnt: unlikeness" in event.reason
    assert stream.show(24) == []  # told once
    assert list(stream.days[1].unlike_learnt) == ["normal"] == list(stream.days[2].unlike_learnt)
    names = [found["name"] for found in asdict(stream.days[2])["unlike_learnt"]["normal"]]
    assert names == ["contrast", "unlikeness"]


def test_the_share_of_states_of_a_day_is_compared(stream: Stream) -> None:
    stream.show(48)
    events = stream.show(24, state="leak") + stream.show(1)
    assert kinds(events) == ["drift"] and "share of leak 0.80 instead of 0.00" in events[0].reason
