"""The servers of this checkout, for a flow that was started by hand."""

import os

from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL

from slimstream.core.paths import Paths
from slimstream.tracking.address import found_servers, store_sentence, tracking_off
from slimstream.tracking.servers import HEARTBEAT, check_running


def use_own_servers(paths: Paths) -> None:
    """Let this process and its children use the servers that `make up` started, and say so in a line.

    No address changes where `make up` was never called, or where the environment names other servers. MLflow
    is left out where tracking is off. Flow runs of this process give the signs of life that `make up` expects
    of all: without them it takes a run for crashed. Raises Unavailable when a server that is used is down.
    """
    for name, value in HEARTBEAT.items():
        os.environ.setdefault(name, value)
    refresh_global_settings_context()
    left_out = [*(["PREFECT_"] if PREFECT_API_URL.value() else []), *(["MLFLOW_"] if tracking_off() else [])]
    found = {k: v for k, v in found_servers(paths).items() if not k.startswith(tuple(left_out))}
    if not found:
        return
    check_running(found)
    if sentence := store_sentence(paths):
        print(sentence, flush=True)
    os.environ.update(found)
    refresh_global_settings_context()
