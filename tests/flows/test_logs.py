import logging

import pytest

from flows.dvc_runner import UserMistake
from flows.logs import hide_tracebacks
from slimstream.core.errors import UserError


@pytest.mark.parametrize(
    ("error", "tracebacks"),
    [(UserMistake("too large"), 0), (UserError("too large"), 0), (ValueError("bug"), 1)],
)
def test_a_mistake_is_logged_without_a_traceback_and_a_bug_with_one(
    error: Exception, tracebacks: int, caplog: pytest.LogCaptureFixture
) -> None:
    hide_tracebacks()
    hide_tracebacks()
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(caplog.handler)
    try:
        raise error
    except Exception as raised:
        logger.exception("Encountered exception during execution: %r", raised)
    finally:
        logger.removeHandler(caplog.handler)
    assert str(error) in caplog.text and caplog.text.count("Traceback") == tracebacks * caplog.text.count(
        "ERROR"
    )
