"""Rules for retrying tasks."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flows import dvc_runner

DELAYS: list[float] = [5, 30, 120]
"""Seconds before each retry: enough time for a server to restart."""
NETWORKED = frozenset({"scan", "ingest", "push"})
"""Tasks that may fail for a temporary reason without status 3, such as an interrupted fetch or push."""


def is_worth_retrying(task: "Task[..., Any]", run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure may be temporary: a service did not answer or was busy (status 3), or NETWORKED.

    Mistakes of the user (status 2) are never retried. Bugs are not retried, because they would fail again.
    """
    error = state.result(raise_on_failure=False)
    if task.name in NETWORKED:
        return not isinstance(error, dvc_runner.UserMistake)
    return isinstance(error, dvc_runner.StageUnavailable)
