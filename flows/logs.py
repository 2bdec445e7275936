"""What ends a flow in one sentence is logged as that sentence, without the engine's traceback around it."""

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
    """Let Prefect's loggers of runs leave out tracebacks of UserError and StageFailed."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_FILTER)  # a second time it adds nothing
