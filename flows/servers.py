"""The servers of this checkout, for a flow that was started by hand."""

import os

from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL

from slimstream.core.paths import Paths
from slimstream.tracking.address import found_servers, store_sentence, tracking_off
from slimstream.tracking.servers import check_running


def use_own_servers(paths: Paths) -> None:
    """Let this process and its children use the servers that `make up` started, and say so in a line.

    Nothing changes where `make up` was never called, or where the environment names other servers. MLflow is
    left out where tracking is off. Raises Unavailable when a server that is used does not run.
    """
    left_out = [*(["PREFECT_"] if PREFECT_API_URL.value() else []), *(["MLFLOW_"] if tracking_off() else [])]
    found = {k: v for k, v in found_servers(paths).items() if not k.startswith(tuple(left_out))}
    if not found:
        return
    check_running(found)
    if sentence := store_sentence(paths):
        print(sentence, flush=True)
    os.environ.update(found)
    refresh_global_settings_context()
