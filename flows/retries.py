"""Which tasks are tried again, and when."""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flows import dvc_runner

DELAYS: list[float] = [5, 30, 120]
"""Seconds before each further try: a server that is started anew is back within them."""
NETWORKED = frozenset({"scan", "ingest", "push"})
"""Tasks that may fail without status 3 for a reason that passes: a fetch or a push that broke off."""


def is_worth_retrying(task: "Task[..., Any]", run: TaskRun, state: State[Any]) -> bool:
    """Whether the failure may pass: what the task needs was away or busy (status 3), or it is in NETWORKED.

    What the user has to mend (status 2) is never tried again, and a fault of the code fails again anyway.
    """
    error = state.result(raise_on_failure=False)
    if task.name in NETWORKED:
        return not isinstance(error, dvc_runner.UserMistake)
    return isinstance(error, dvc_runner.StageUnavailable)
