"""Tracking of a stage in MLflow: a run with its settings, its data set and its curves.

It is nested in the run of its pipeline (`tracking.pipeline`) and goes to the store that `tracking.address`
names. Tracking must never stop a training: metrics go to a buffer, and a thread sends them in batches. If the
server does not answer, they are sent later.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES
from slimstream.tracking import pipeline
from slimstream.tracking.address import tracking_off, tracking_uri
from slimstream.tracking.entities import dataset, log_settings, metric
from slimstream.tracking.errors import explain_error
from slimstream.tracking.pipeline import AFTER_SPLIT, PARENT_TAG
from slimstream.tracking.repository import git
from slimstream.tracking.store import connect, experiment_id

TRAINING = {stage.name for stage in STAGES.values() if stage.trains}
"""Stages for which system metrics are recorded too."""
CURVES = "epoch/"
"""Prefix of metrics with one value an epoch; MLflow shows their charts together. Results have none."""
SEND_EVERY = 2.0
"""Seconds between batches."""
BATCH = 1000
"""Metrics in one request; MLflow takes no more."""
CLOSE_TIMEOUT = 15.0
"""Seconds that the end of a run waits for a server that does not answer."""

_log = logging.getLogger(__name__)


class Run(Protocol):
    """The interface of tracking for a stage."""

    @property
    def run_id(self) -> str | None: ...

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics of the epoch `step`; returns at once and never raises."""

    def results(self, metrics: Mapping[str, float]) -> None:
        """Record what the stage returned, once."""

    def artifact(self, path: Path) -> None:
        """Upload a file with the run, at its end."""

    def nested(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Record a finished run inside this one, such as one candidate of a search, at its end."""


class OpenRun(Run, Protocol):
    """A run that has to be ended."""

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""


class NullRun:
    """A run that records nothing."""

    run_id: str | None = None

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        pass

    def results(self, metrics: Mapping[str, float]) -> None:
        pass

    def artifact(self, path: Path) -> None:
        pass

    def nested(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        pass


@dataclass(frozen=True)
class Opened:
    """A run in MLflow that has begun."""

    client: Any
    run_id: str
    end: Callable[[str, Mapping[str, float]], None]
    """Called last, with the status and what the stage returned: ends the run and its pipeline."""


class MlflowRun:
    """A run whose metrics are buffered and sent by a thread."""

    def __init__(
        self, create: Callable[[], Opened], uri: str, monitored: bool = False, wait: bool = True
    ) -> None:
        """`create` opens the run in the store `uri`.

        It is called again until it succeeds, the first time before this returns, or without `wait` by the
        thread. With `monitored`, system metrics are recorded."""
        self._create, self._uri, self._monitored = create, uri, monitored
        self._opened: Opened | None = None
        self._monitor: Any = None
        self._results: dict[str, float] = {}
        self._metrics: list[Any] = []
        self._artifacts: list[Path] = []
        self._nested: list[tuple[str, Mapping[str, Any], Mapping[str, float]]] = []
        self._warned = False
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._sender = threading.Thread(target=self._send_until_done, daemon=True)
        if wait:
            self._send()
        self._sender.start()

    @property
    def run_id(self) -> str | None:
        return self._opened.run_id if self._opened else None

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._buffer({CURVES + name: value for name, value in metrics.items()}, step)

    def results(self, metrics: Mapping[str, float]) -> None:
        self._results = dict(metrics)
        self._buffer(metrics, 0)

    def _buffer(self, metrics: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        with self._lock:
            self._metrics += [(name, float(value), now, step) for name, value in metrics.items()]

    def artifact(self, path: Path) -> None:
        self._artifacts.append(path)

    def nested(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        self._nested.append((name, params, metrics))

    def close(self, status: str) -> None:
        """Send the rest of the buffer within CLOSE_TIMEOUT seconds; end as FINISHED, FAILED or KILLED."""
        self._done.set()
        self._sender.join()
        if self._monitor:
            self._monitor.finish()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not (sent := self._send(status)) and time.monotonic() < deadline:
            time.sleep(SEND_EVERY)
        if not sent:
            _log.warning(
                "MLflow did not accept %d metrics of this run: they are only in metrics/.", len(self._metrics)
            )

    def _send_until_done(self) -> None:
        if self._opened is None:
            self._send()
        while not self._done.wait(SEND_EVERY):
            self._send()

    def _send(self, end: str | None = None) -> bool:
        """Send the buffer; keep what could not be sent. True when the server took everything."""
        try:
            if self._opened is None:
                self._opened = self._create()
                self._start_system_metrics(self._opened)
            client, run_id = self._opened.client, self._opened.run_id
            while self._metrics:
                batch = self._metrics[:BATCH]
                client.log_batch(run_id, metrics=[metric(*row) for row in batch])
                with self._lock:
                    del self._metrics[: len(batch)]
            if end:
                while self._nested:
                    _create_nested(client, run_id, *self._nested[0])
                    del self._nested[0]
                while self._artifacts:
                    client.log_artifact(run_id, str(self._artifacts[0]))
                    del self._artifacts[0]
                self._opened.end(end, self._results)
            return True
        except Exception as error:  # tracking must not stop the work
            if not self._warned:
                _log.warning(
                    "%s The stage continues; metrics are sent later.", explain_error(error, self._uri)
                )
                self._warned = True
            return False

    def _start_system_metrics(self, opened: Opened) -> None:
        if self._monitored:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(
                opened.run_id, sampling_interval=5, tracking_uri=opened.client.tracking_uri
            )
            self._monitor.start()


def stage_run(stage: str, params: Params, paths: Paths) -> AbstractContextManager[Run]:
    """Track one stage: its section of `params`, recipe, commit, data set and logged metrics.

    An exception ends the run as FAILED, an interrupt as KILLED. `run_id` is None until a server has answered.
    """
    return recorded(partial(open_run, stage, params, paths))


def pipeline_run(params: Params, paths: Paths, scores: Mapping[str, float]) -> AbstractContextManager[Run]:
    """Go on with the run of the pipeline whose evaluation, `scores`, is published; see `stage_run`."""

    def create() -> Opened:
        joined = pipeline.join(connect(paths), "publish", params, paths)
        joined.record_evaluation(params, scores)
        return Opened(joined.client, joined.run_id, lambda status, results: joined.end(status))

    return recorded(lambda: MlflowRun(create, tracking_uri(paths)))


@contextmanager
def recorded(begin: Callable[[], OpenRun]) -> Iterator[Run]:
    """Begin a run, and end it with the block: FINISHED, FAILED by an exception, KILLED by an interrupt.

    Where tracking is off, nothing is begun and recorded.
    """
    if tracking_off():
        yield NullRun()
        return
    run = begin()
    status = "KILLED"
    try:
        yield run
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        run.close(status)


def open_run(stage: str, params: Params, paths: Paths, wait: bool = True) -> MlflowRun:
    """Open the run of a stage; without `wait` its thread does, and `run_id` is None until then."""
    create = partial(_create_run, stage, params, paths)
    return MlflowRun(create, tracking_uri(paths), monitored=stage in TRAINING, wait=wait)


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty when there is no such file."""
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _create_run(stage: str, params: Params, paths: Paths) -> Opened:
    client = connect(paths)
    parent = pipeline.join(client, stage, params, paths)
    split = read_json(paths.split_info) if stage in AFTER_SPLIT else {}
    tags = {
        "stage": stage,
        "recipe": params.recipe,
        "source": params.ingest.source,
        "mlflow.source.git.commit": (git(paths, "rev-parse", "HEAD") or "").strip(),
        "split_hash": split.get("hash", ""),
        PARENT_TAG: parent.run_id,
    }
    run = client.create_run(
        experiment_id(client), run_name=stage, tags={key: value for key, value in tags.items() if value}
    )
    run_id = str(run.info.run_id)
    with pipeline.failed_on_error(client, run_id):
        log_settings(client, run_id, params.model_dump(mode="json", by_alias=True).get(stage, {}))
        if split:
            client.log_inputs(run_id, [dataset(params, split)])

    def end(status: str, results: Mapping[str, float]) -> None:
        client.set_terminated(run_id, status)
        if stage == "evaluate" and status == "FINISHED":
            parent.record_evaluation(params, results)
        parent.end(status)

    return Opened(client, run_id, end)


def _create_nested(
    client: Any, parent: str, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    """Create a finished run that MLflow shows inside of the run `parent`."""
    experiment, now = client.get_run(parent).info.experiment_id, int(time.time() * 1000)
    run_id = client.create_run(experiment, run_name=name, tags={PARENT_TAG: parent}).info.run_id
    with pipeline.failed_on_error(client, run_id):
        client.log_batch(
            run_id,
            metrics=[metric(key, float(value), now) for key, value in metrics.items()],
        )
        log_settings(client, run_id, params)
    client.set_terminated(run_id, "FINISHED")
