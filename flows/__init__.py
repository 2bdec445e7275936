"""Prefect flows that run the stages.

Prefect reads its settings when it is imported, so the project's defaults are set here first. Its files are in
`.prefect/`, and it sends no telemetry. Without PREFECT_API_URL a temporary server runs as long as the flow;
its timeout is long enough for slow machines, and requests to it use no proxy.
"""

import os
from pathlib import Path

from slimstream.core.proxy import bypass_for_loopback
from slimstream.core.threads import use_passive_waiting
from slimstream.tracking.database import sqlite_uri

SERVER_STARTS = 240
"""Seconds that the temporary server may take to start, unless the environment says otherwise."""

bypass_for_loopback()
use_passive_waiting()
for _name, _value in {
    "PREFECT_HOME": str(Path(__file__).resolve().parent.parent / ".prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(SERVER_STARTS),
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_name, _value)

if "?" in os.environ["PREFECT_HOME"]:  # Prefect would create its database beside that folder
    os.environ.setdefault(
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        sqlite_uri(Path(os.environ["PREFECT_HOME"]) / "prefect.db", "aiosqlite"),
    )
