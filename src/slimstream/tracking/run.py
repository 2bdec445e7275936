"""Tracking of a stage in MLflow: a run with its settings, its data set and its curves.

Without `MLFLOW_TRACKING_URI` everything goes to `mlflow.db` and `mlartifacts/` in the project's root, without
a server; `SLIMSTREAM_TRACKING=off` tracks nothing. Tracking must never stop a training: metrics go to a
buffer, and a thread sends them in batches. If the server does not answer, they are sent later.
"""

import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.pipeline.stages import STAGES, following
from slimstream.tracking.database import sqlite_uri
from slimstream.tracking.errors import explain_error
from slimstream.tracking.store import experiment_id, open_store

TRAINING = {stage.name for stage in STAGES.values() if stage.trains}
"""Stages for which system metrics are recorded too."""
AFTER_SPLIT = {stage.name for stage in following("split")[1:]} | {"publish"}
"""Stages that use the split. For stages before it, data/split.json is that of an earlier run."""
SEND_EVERY = 2.0
"""Seconds between batches."""
BATCH = 1000
"""Metrics in one request; MLflow takes no more."""
PARAMS = 100
"""Settings in one request; MLflow takes no more."""
PARENT_TAG = "mlflow.parentRunId"
"""MLflow's tag of a nested run: the id of the run that it belongs to."""
CLOSE_TIMEOUT = 15.0
"""Seconds that the end of a run waits for a server that does not answer."""

_log = logging.getLogger(__name__)


class Run(Protocol):
    """The interface of tracking for a stage."""

    @property
    def run_id(self) -> str | None: ...

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Record metrics; returns at once and never raises."""

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

    def artifact(self, path: Path) -> None:
        pass

    def nested(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        pass


class MlflowRun:
    """A run whose metrics are buffered and sent by a thread."""

    def __init__(
        self, create: Callable[[], tuple[Any, str]], uri: str, monitored: bool = False, wait: bool = True
    ) -> None:
        """`create` opens the run in the store `uri` and returns MLflow's client and the run id.

        It is called again until it succeeds, the first time before this returns, or without `wait` by the
        thread. With `monitored`, system metrics are recorded."""
        self._create, self._uri, self._monitored = create, uri, monitored
        self._client: Any = None
        self._monitor: Any = None
        self._metrics: list[Any] = []
        self._artifacts: list[Path] = []
        self._nested: list[tuple[str, Mapping[str, Any], Mapping[str, float]]] = []
        self._warned = False
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._sender = threading.Thread(target=self._send_until_done, daemon=True)
        self.run_id: str | None = None
        if wait:
            self._send()
        self._sender.start()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
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
        if self._client is None:
            self._send()
        while not self._done.wait(SEND_EVERY):
            self._send()

    def _send(self, end: str | None = None) -> bool:
        """Send the buffer; keep what could not be sent. True when the server took everything."""
        try:
            if self._client is None:
                self._client, self.run_id = self._create()
                self._start_system_metrics()
            while self._metrics:
                batch = self._metrics[:BATCH]
                self._client.log_batch(self.run_id, metrics=[_metric(*row) for row in batch])
                with self._lock:
                    del self._metrics[: len(batch)]
            if end:
                while self._nested:
                    _create_nested(self._client, str(self.run_id), *self._nested[0])
                    del self._nested[0]
                while self._artifacts:
                    self._client.log_artifact(self.run_id, str(self._artifacts[0]))
                    del self._artifacts[0]
                self._client.set_terminated(self.run_id, end)
            return True
        except Exception as error:  # tracking must not stop the work
            if not self._warned:
                _log.warning(
                    "%s The stage continues; metrics are sent later.", explain_error(error, self._uri)
                )
                self._warned = True
            return False

    def _start_system_metrics(self) -> None:
        if self._monitored:
            from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

            self._monitor = SystemMetricsMonitor(
                self.run_id, sampling_interval=5, tracking_uri=self._client.tracking_uri
            )
            self._monitor.start()


def stage_run(stage: str, params: Params, paths: Paths) -> AbstractContextManager[Run]:
    """Track one stage: its section of `params`, recipe, commit, data set and logged metrics.

    An exception ends the run as FAILED, an interrupt as KILLED. `run_id` is None until a server has answered.
    """
    return recorded(partial(open_run, stage, params, paths))


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


def tracking_off() -> bool:
    """Whether SLIMSTREAM_TRACKING turns tracking off."""
    return os.environ.get("SLIMSTREAM_TRACKING", "").lower() in {"off", "0", "false"}


def tracking_uri(paths: Paths) -> str:
    """MLFLOW_TRACKING_URI, or the URI of the database in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_uri(paths)


def own_uri(paths: Paths) -> str:
    """The URI of the database in the project's root."""
    return sqlite_uri(paths.root.resolve() / "mlflow.db")


def connect(paths: Paths) -> Any:
    """An `MlflowClient` on the project's store; raises the errors of `open_store`."""
    return open_store(tracking_uri(paths))


def git(paths: Paths, *arguments: str) -> str | None:
    """The output of `git` in the project's root; None without git or a repository, or when it fails."""
    return _git(paths, *arguments) if in_git(paths) else None


def in_git(paths: Paths) -> bool:
    """Whether the project is in a git repository: its own, or a larger one that tracks its dvc.yaml.

    A copy of the project that was unpacked inside an unrelated repository is not in it.
    """
    if (paths.root / ".git").exists():
        return True
    return _git(paths, "ls-files", "--error-unmatch", "dvc.yaml") is not None


def _git(paths: Paths, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=paths.root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty when there is no such file."""
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def _create_run(stage: str, params: Params, paths: Paths) -> tuple[Any, str]:
    client = connect(paths)
    split = read_json(paths.split_info) if stage in AFTER_SPLIT else {}
    tags = {
        "stage": stage,
        "recipe": params.recipe,
        "source": params.ingest.source,
        "mlflow.source.git.commit": (git(paths, "rev-parse", "HEAD") or "").strip(),
        "split_hash": split.get("hash", ""),
    }
    run = client.create_run(
        experiment_id(client), run_name=stage, tags={key: value for key, value in tags.items() if value}
    )
    run_id = str(run.info.run_id)
    settings = params.model_dump(mode="json", by_alias=True)
    # The run of `publish` records all settings, so that comparing two versions shows every difference.
    chosen = settings if stage == "publish" else settings.get(stage, {})
    known = list(flatten(chosen))
    for start in range(0, len(known), PARAMS):
        client.log_batch(run_id, params=[_param(*item) for item in known[start : start + PARAMS]])
    if split:
        client.log_inputs(run_id, [_dataset(params, split)])
    return client, run_id


def _create_nested(
    client: Any, parent: str, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]
) -> None:
    """Create a finished run that MLflow shows inside of the run `parent`."""
    experiment, now = client.get_run(parent).info.experiment_id, int(time.time() * 1000)
    run_id = client.create_run(experiment, run_name=name, tags={PARENT_TAG: parent}).info.run_id
    client.log_batch(
        run_id,
        metrics=[_metric(key, float(value), now, 0) for key, value in metrics.items()],
        params=[_param(key, str(value)) for key, value in params.items()],
    )
    client.set_terminated(run_id, "FINISHED")


def flatten(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """`{"fit": {"lr": 0.1}}` as `("fit.lr", "0.1")`."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)


def _metric(name: str, value: float, timestamp: int, step: int) -> Any:
    from mlflow.entities import Metric

    return Metric(name, value, timestamp, step)


def _param(name: str, value: str) -> Any:
    from mlflow.entities import Param

    return Param(name, value[:6000])


def dataset_name(params: Params) -> str:
    """The name of the data set in MLflow: the last part of its location."""
    return params.ingest.source.rstrip("/").rpartition("/")[-1] or "clips"


def dataset_digest(split: Mapping[str, Any]) -> str:
    """The split hash, cut to the 36 characters of MLflow's field."""
    return str(split["hash"])[:36]


def _dataset(params: Params, split: Mapping[str, Any]) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": params.ingest.source})
    profile = json.dumps({"clips": split.get("counts"), "groups": split.get("groups")})
    return DatasetInput(
        Dataset(dataset_name(params), dataset_digest(split), "local", source, profile=profile[:16_000_000]),
        tags=[InputTag("mlflow.data.context", "split")],
    )
