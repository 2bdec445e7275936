"""The MLflow run of a stage, recorded by a process of its own.

MLflow takes seconds to import and to open its store. In a second process this happens while the stage imports
its own libraries and works, and nothing that tracking does can stop the stage.
"""

import logging
import multiprocessing
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from slimstream.core.paths import Paths
from slimstream.pipeline.params import Params
from slimstream.tracking.run import Run, open_run, recorded

_log = logging.getLogger(__name__)


class ChildRun:
    """Sends what a stage logs to the process that records it."""

    run_id: str | None = None
    """Known when the run has ended; None if MLflow did not answer."""

    def __init__(self, stage: str, params: Params, paths: Paths) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(target=_record, args=(theirs, stage, params, paths), daemon=True)
        process.start()
        theirs.close()  # so that the pipe closes when either process ends

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        with suppress(OSError):  # the process has ended; `close` says so
            self._pipe.send(("log", {name: float(value) for name, value in metrics.items()}, step))

    def results(self, metrics: Mapping[str, float]) -> None:
        with suppress(OSError):
            self._pipe.send(("results", {name: float(value) for name, value in metrics.items()}))

    def artifact(self, path: Path) -> None:
        with suppress(OSError):
            self._pipe.send(("artifact", path.resolve()))

    def nested(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        texts, values = {k: str(v) for k, v in params.items()}, {k: float(v) for k, v in metrics.items()}
        with suppress(OSError):
            self._pipe.send(("nested", name, texts, values))

    def close(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED when everything is sent; see `MlflowRun.close`."""
        try:
            self._pipe.send(("close", status))
            self.run_id = self._pipe.recv()
        except (EOFError, OSError):
            _log.warning("The process that records this run in MLflow has ended: metrics are in metrics/.")
        finally:
            self._pipe.close()


def child_run(stage: str, params: Params, paths: Paths) -> AbstractContextManager[Run]:
    """Like `stage_run`, but recorded by a process of its own; `run_id` is known after the block."""
    return recorded(partial(ChildRun, stage, params, paths))


def _record(pipe: Connection, stage: str, params: Params, paths: Paths) -> None:
    """Record a run until the stage closes it; a stage that was killed closes the pipe."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both reach the stage too, which then closes the run
        signal.signal(number, signal.SIG_IGN)
    run = open_run(stage, params, paths, wait=False)
    status = "KILLED"
    with suppress(EOFError, OSError):
        while (message := pipe.recv())[0] != "close":
            getattr(run, message[0])(*message[1:])
        status = message[1]
    run.close(status)
    with suppress(OSError):
        pipe.send(run.run_id)
