"""Prefect runs the stages; this package holds no mathematics.

Prefect reads its settings when it is imported, so the project's own defaults come first: its files stay in
`.prefect/`, nothing is reported home, and a slow machine may take its time to start the server that lives as
long as the flow when PREFECT_API_URL names no other. A proxy is not asked for it.
"""

import os
from pathlib import Path

from slimstream.core.proxy import bypass_for_loopback
from slimstream.core.threads import use_passive_waiting
from slimstream.tracking.database import sqlite_uri

bypass_for_loopback()
use_passive_waiting()
for _name, _value in {
    "PREFECT_HOME": str(Path(__file__).resolve().parent.parent / ".prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
}.items():
    os.environ.setdefault(_name, _value)

if "?" in os.environ["PREFECT_HOME"]:  # Prefect would put its database beside that folder
    os.environ.setdefault(
        "PREFECT_SERVER_DATABASE_CONNECTION_URL",
        sqlite_uri(Path(os.environ["PREFECT_HOME"]) / "prefect.db", "aiosqlite"),
    )
