"""A real Prefect server, and the project in miniature."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.flows.mini_project import repository
from tests.ports import free_port

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server of our own, started once; yields the environment that finds it."""
    port = free_port()
    home = tmp_path_factory.mktemp("prefect")
    url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    environment |= {"PREFECT_SERVER_UI_ENABLED": "false", "PREFECT_LOGGING_SERVER_LEVEL": "ERROR"}
    environment |= {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health")
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.2)
        yield {**environment, "PREFECT_API_URL": url}
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def server(prefect_server: dict[str, str]) -> Iterator[dict[str, str]]:
    """The flows of this file report to the Prefect server; yields the environment that finds it."""
    with temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}):
        yield prefect_server
        EventsWorker.drain_all(timeout=30)  # or what is left of them looks for the server for minutes


@pytest.fixture(scope="module")
def root(server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def deployed(prefect_server: dict[str, str]) -> None:
    """The deployments of prefect.yaml are on the server."""
    with (
        temporary_settings({PREFECT_API_URL: prefect_server["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        client.create_work_pool(WorkPoolCreate(name="slimstream", type="process"), overwrite=True)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run(command, env=prefect_server, cwd=PROJECT, check=True, capture_output=True)


def importing() -> dict[str, str]:
    """The environment of a process that imports this project from wherever it stands."""
    return {**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'src'}"}


def api(method: str, *arguments: Any, **keywords: Any) -> Any:
    with get_client(sync_client=True) as client:
        return getattr(client, method)(*arguments, **keywords)
