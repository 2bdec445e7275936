"""Tracking against a real embedded store, and against a server that is not there."""

import json
import logging
import multiprocessing
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.stages.ingest.params import IngestParams
from slimstream.tracking import run as tracking
from slimstream.tracking.pipeline import PARENT_TAG
from slimstream.tracking.store import Client, connect, experiment_id

PARAMS = Params(recipe="tiny", ingest=IngestParams(source="../clips/plant"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A root whose database is built once: that takes MLflow seconds."""
    paths = Paths(tmp_path_factory.mktemp("project"))
    paths.split_info.parent.mkdir()
    paths.split_info.write_text(json.dumps({"hash": "ab" * 32, "counts": {"train": {"a": 3}}}))
    return paths


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("SLIMSTREAM_TRACKING", raising=False)
    yield


def test_a_run_holds_settings_tags_data_set_and_curves(
    store: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    (tmp_path / "page.html").write_text("seen")
    with tracking.stage_run("train", PARAMS, store) as run:
        started = time.perf_counter()
        for step in range(2500):
            run.log({"loss": 1 / (step + 1)}, step)
        assert time.perf_counter() - started < 1
        run.artifact(tmp_path / "page.html")
        time.sleep(1)
    client = connect(store)
    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params["fit.lr"] == "0.001" and found.data.params["model"] == "two_stream_mobilevit"
    assert found.data.tags["recipe"] == "tiny" and found.data.tags["split_hash"] == "ab" * 32
    (data,) = found.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("plant", "ab" * 18)
    curve = client.get_metric_history(run.run_id, "epoch/loss")
    assert [point.step for point in curve] == list(range(2500)) and curve[-1].value == 1 / 2500
    assert any(name.startswith("system/cpu") for name in found.data.metrics)
    assert [item.path for item in client.list_artifacts(run.run_id)] == ["page.html"]
    assert (store.root / "mlartifacts").is_dir()


def test_candidates_are_runs_inside_the_run_of_their_search(store: Paths) -> None:
    with tracking.stage_run("search", PARAMS, store) as run:
        for frames in (8, 4):
            run.nested(f"rgb-{frames}", {"frames": frames, "size": "96x96"}, {"macro_f1": 0.1 * frames})
    client = connect(store)
    inside = f"tags.`{PARENT_TAG}` = '{run.run_id}'"
    found = client.search_runs([experiment_id(client)], inside, order_by=["metrics.macro_f1"])
    assert [one.info.run_name for one in found] == ["rgb-4", "rgb-8"]
    assert found[0].data.params == {"frames": "4", "size": "96x96"}
    assert found[0].data.metrics == {"macro_f1": 0.4} and found[0].info.status == "FINISHED"


def test_a_stage_before_the_split_has_no_data_set_of_an_old_one(store: Paths) -> None:
    with tracking.stage_run("validate", PARAMS, store) as run:
        pass
    found = connect(store).get_run(run.run_id)
    assert "split_hash" not in found.data.tags and not found.inputs.dataset_inputs
    assert found.data.params["max_quarantined"] == "0.1"


@pytest.mark.parametrize(("raised", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_how_it_ended_is_kept(store: Paths, raised: type[BaseException], status: str) -> None:
    with pytest.raises(raised), tracking.stage_run("split", PARAMS, store) as run:
        run.log({"a": 1}, 0)
        raise raised
    found = connect(store).get_run(run.run_id)
    assert found.info.status == status and found.data.metrics["epoch/a"] == 1


def test_off_means_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMSTREAM_TRACKING", "off")
    with tracking.stage_run("train", PARAMS, Paths(tmp_path)) as run:
        run.log({"a": 1}, 0)
        run.artifact(tmp_path / "nothing")
    assert run.run_id is None and list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_does_not_stop_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_records: list[logging.LogRecord]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "CLOSE_TIMEOUT", 0.1)
    monkeypatch.setattr(tracking, "SEND_EVERY", 0.1)
    with tracking.stage_run("train", PARAMS, Paths(tmp_path)) as run:
        run.log({"a": 1, "b": 2}, 0)
    assert run.run_id is None
    ours = [record.message for record in log_records if record.name == "slimstream.tracking.run"]
    assert len(ours) == 2 and "The stage continues" in ours[0] and "2 metrics" in ours[1]


class Flaky:
    """A client that fails twice at every kind of call, then works."""

    def __init__(self) -> None:
        self.failures = 2
        self.sent: list[float] = []
        self.ended: str | None = None

    def create(self) -> tracking.Opened:
        self._maybe()
        return tracking.Opened(self, "run", self.end)

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        self._maybe()
        self.sent += [metric.value for metric in metrics]

    def end(self, status: str, results: Mapping[str, float]) -> None:
        self._maybe()
        self.ended = status

    def _maybe(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise ConnectionError("away")


def test_what_was_logged_while_the_server_was_away_arrives_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "SEND_EVERY", 0.02)
    server = Flaky()
    run = tracking.MlflowRun(server.create, "http://127.0.0.1:9")
    run.log({"a": 1}, 0)
    while run.run_id is None or not server.sent:
        time.sleep(0.01)
    server.failures = 2
    run.log({"a": 2}, 1)
    run.close("FINISHED")
    assert server.sent == [1, 2] and server.ended == "FINISHED" and run.run_id == "run"


def _log_one(root: str, failed: Any) -> None:
    try:
        with tracking.stage_run("split", PARAMS, Paths(Path(root))) as run:
            run.log({"a": 1}, 0)
        if run.run_id is None:
            failed.put("no run")
    except BaseException as error:
        failed.put(repr(error))


def test_two_processes_may_meet_an_empty_store(
    tmp_path: Path, create_store: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimstream.tracking.store._client", create_store)
    context = multiprocessing.get_context("fork")  # mlflow is imported already: half a minute saved
    connect(Paths(tmp_path / "import-first"))
    failed = context.Queue()
    both = [context.Process(target=_log_one, args=(str(tmp_path), failed)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert failed.empty()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where name = 'split'").fetchone() == (2,)
        assert database.execute("select count(*) from experiments where name = 'slimstream'").fetchone() == (
            1,
        )
