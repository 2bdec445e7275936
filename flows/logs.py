"""Errors with a message of one sentence are logged as that sentence, without Prefect's traceback."""

import logging

from flows.dvc_runner import StageFailed
from slimstream.core.errors import UserError


class _HideTracebacks(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], UserError | StageFailed):
            record.exc_info = None
        return True


_FILTER = _HideTracebacks()


def hide_tracebacks() -> None:
    """Remove the tracebacks of UserError and StageFailed from the logs of Prefect's runs."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_FILTER)  # adding it twice has no effect
