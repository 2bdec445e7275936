"""A run that a process of its own records: what it gets, and how it ends when the stage does not end it."""

import logging
import multiprocessing
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.tracking import child


class Recorded:
    """Stands for MLflow's run."""

    run_id = "run"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.calls.append((metrics, step))

    def artifact(self, path: Path) -> None:
        self.calls.append((path,))

    def close(self, status: str) -> None:
        self.calls.append((status,))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    run = Recorded()
    monkeypatch.setattr(child, "open_run", lambda *arguments, **keywords: run)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    return run


def test_it_records_what_comes_through_the_pipe(recorded: Recorded, tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    for message in (("log", {"a": 1.0}, 3), ("artifact", tmp_path), ("close", "FINISHED")):
        ours.send(message)
    child._record(theirs, "split", Params(), Paths(tmp_path))
    assert recorded.calls == [({"a": 1.0}, 3), (tmp_path,), ("FINISHED",)]
    assert ours.recv() == "run"


def test_the_run_of_a_stage_that_was_killed_ends_as_killed(recorded: Recorded, tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.send(("log", {"a": 1.0}, 3))
    ours.close()
    child._record(theirs, "split", Params(), Paths(tmp_path))
    assert recorded.calls == [({"a": 1.0}, 3), ("KILLED",)]


def test_a_stage_goes_on_without_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_records: list[logging.LogRecord]
) -> None:
    monkeypatch.delenv("SLIMSTREAM_TRACKING", raising=False)
    monkeypatch.setattr(child, "_record", _end_at_once)
    with child.child_run("split", Params(), Paths(tmp_path)) as run:
        run.log({"a": 1}, 0)
    assert run.run_id is None
    assert ["has ended" in record.message for record in log_records if record.name == child.__name__] == [
        True
    ]


def _end_at_once(*arguments: Any) -> None:
    pass


def test_it_arrives_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes seconds: the process imports MLflow and builds a database."""
    for name in ("MLFLOW_TRACKING_URI", "SLIMSTREAM_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(ValueError, match="broken"),
        child.child_run("split", Params(), Paths(tmp_path)) as run,
    ):
        run.log({"a": 1}, 7)
        run.results({"c": 3})
        run.nested("one", {"frames": 4}, {"b": 2})
        raise ValueError("broken")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        (own, pipeline, inside) = database.execute(
            "select run_uuid, name, status from runs order by name desc"
        ).fetchall()
        assert own == (run.run_id, "split", "FAILED") and inside[1:] == ("one", "FINISHED")
        assert pipeline[1].startswith("rig · ") and pipeline[2] == "FAILED"
        metrics = database.execute("select run_uuid, key, value, step from metrics order by key").fetchall()
        assert metrics == [
            (inside[0], "b", 2.0, 0),
            (run.run_id, "c", 3.0, 0),
            (run.run_id, "epoch/a", 1.0, 7),
        ]
