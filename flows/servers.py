"""The servers of this checkout, for a flow that was started by hand."""

import os

from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL

from slimstream.core.paths import Paths
from slimstream.tracking.address import found_servers, store_sentence
from slimstream.tracking.servers import check_running


def use_own_servers(paths: Paths) -> None:
    """Let this process and its children use the servers that `make up` started, and say so in a line.

    Nothing changes where `make up` was never called, or where the environment names other servers. Raises
    Unavailable when the servers do not run.
    """
    found = found_servers(paths)
    if not found:
        return
    check_running(found)
    print(store_sentence(paths), flush=True)
    if PREFECT_API_URL.value():
        found = {name: value for name, value in found.items() if not name.startswith("PREFECT_")}
    os.environ.update(found)
    refresh_global_settings_context()
