"""What the monitors find reaches the sinks, the page and a file; what fails stops no answer."""

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimstream.watch.drift.observer import Drift
from slimstream.watch.events import Event
from slimstream.watch.looks import Look
from slimstream.watch.notices import Notices
from slimstream.watch.windows import Window
from tests.unit.watch import tiny
from tests.unit.watch.drift.streams import Stream
from tests.unit.watch.test_events import Kept, outbox_of, reel


def look(folder: Path, time: float = 0.0) -> Look:
    window = Window(tiny.model(folder), [tiny.flat(tiny.RED)] * 3, [0.0, 0.1, 0.2], time, 0.0)
    return Look(
        "gate", window, {"label": "leak", "p_leak": 0.9, "p_normal": 0.1}, np.zeros(0), lambda: reel(8)
    )


def test_a_disturbance_is_an_event_with_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Kept()
    outbox = outbox_of(tmp_path / "clips", sink)
    drift = Drift(["gate"], tmp_path, outbox, Notices())
    told = Event("gate", "moved", "2026-01-02T03:04:05.678+00:00", reason="alike 0.10 instead of 0.90")
    monkeypatch.setattr(drift._monitors["gate"], "see", lambda *_: [told])
    drift.see(look(tmp_path))
    outbox.close()
    (event,) = sink.events
    assert event.kind == "moved" and event.clip is not None
    assert event.text == "gate has moved: alike 0.10 instead of 0.90."


def test_an_error_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox = outbox_of(tmp_path / "clips")
    drift = Drift(["gate"], tmp_path, outbox, Notices())

    def full(*_: object) -> list[Event]:
        raise OSError("No space left on device")

    monkeypatch.setattr(drift._monitors["gate"], "see", full)
    for _ in range(3):
        drift.see(look(tmp_path))
    outbox.close()
    assert capsys.readouterr().err == "watch: gate is not compared: No space left on device\n"
    assert drift.shown("gate") == {"drift": "", "notice": ""} == drift.shown("other")


def test_without_scipy_all_else_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("scipy"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    outbox = outbox_of(tmp_path / "clips")
    drift = Drift(["gate"], tmp_path, outbox, Notices())
    monkeypatch.undo()
    drift.see(look(tmp_path))
    outbox.close()
    assert "SciPy is not installed" in capsys.readouterr().err and not (tmp_path / "drift").exists()


def test_a_line_a_day(tmp_path: Path) -> None:
    outbox = outbox_of(tmp_path / "clips")
    drift = Drift(["gate"], tmp_path, outbox, Notices())
    outbox.close()
    stream = Stream(tmp_path / "drift/gate.safetensors")
    stream.monitor = drift._monitors["gate"]
    stream.show(25)
    (line,) = (tmp_path / "drift.jsonl").read_text().splitlines()
    day = json.loads(line)
    assert (day["camera"], day["day"], day["hours"]) == ("gate", "2026-01-01", 24.0)
    assert day["medians"]["brightness"] == pytest.approx(0.5, abs=0.01)
